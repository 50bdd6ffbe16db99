"""The token stream `trnbench-synth-1`: the same tokens on every backend, with a known entropy.

Each next symbol follows from the last by a fixed rule, except with probability `noise`, when it is
drawn anew. Tokens are made from integers alone, by a counter-based generator, so any sequence can
be made by itself, in any order, on any machine, to the same bits.

Source: docs/metrics.md, "The token stream"; Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC'11, for Philox4x32-10 and its known answers.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from trnbench.wire import StreamSettings

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_STEP, _OFFSET = 5, 3
"""The rule x -> (5x + 3) mod K visits all K symbols before it repeats, for K a power of two."""

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of one pass, on the CPU: inputs and targets, both (sequences, tokens) int64.

    An encoder's targets are fewer than its tokens: `positions` says where. A picture's inputs are
    bytes, and its target is one class.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    oracle_loss: float
    """Mean loss in nats, on these targets, of a model that knows the stream."""
    positions: torch.Tensor | None = None


class Stream(Protocol):
    """Whatever makes sequences by their number."""

    def batch(self, first: int, sequences: int) -> Batch:
        """Make sequences `first` to `first + sequences - 1`."""
        ...


class TokenStream:
    """Makes any sequences of the stream, by their number."""

    def __init__(
        self, settings: StreamSettings, vocabulary_size: int, sequence_length: int, split: int = 0
    ) -> None:
        """Prepare for one vocabulary and length.

        Args:
            settings: alphabet, noise and seed.
            vocabulary_size: tokens are spread over it evenly.
            sequence_length: targets in each sequence.
            split: 0 for training, 1 for evaluation; the two share no random number.
        """
        size = settings.alphabet_size
        self._alphabet_size = size
        self._spread = vocabulary_size // size
        self._noise_threshold = math.floor(settings.noise * 2**32 + 0.5)
        self._key = (settings.seed & _MASK, settings.seed >> 32)
        self._split = split
        self._positions = torch.arange(sequence_length + 1, dtype=torch.int64)
        self._powers, self._offsets = _rule_powers(size)
        noise = self._noise_threshold / 2**32
        self._loss_of_hit = -math.log(1 - noise + noise / size)
        self._loss_of_miss = -math.log(noise / size) if noise else math.inf

    def batch(self, first: int, sequences: int) -> Batch:
        """Make sequences `first` to `first + sequences - 1`."""
        symbols = self._symbols(first, sequences)
        predicted = (_STEP * symbols[:, :-1] + _OFFSET) % self._alphabet_size
        misses = int((symbols[:, 1:] != predicted).sum())
        share = misses / predicted.numel()
        oracle = (1 - share) * self._loss_of_hit + (share * self._loss_of_miss if misses else 0.0)
        tokens = symbols * self._spread
        return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), oracle)

    def _symbols(self, first: int, sequences: int) -> torch.Tensor:
        """Return the symbols, (sequences, tokens + 1), without walking along the sequence.

        From the last noisy position on, the rule has been applied a known number of times, and
        its powers are in a table.
        """
        numbers = torch.arange(first, first + sequences, dtype=torch.int64)[:, None]
        t = self._positions[None, :].expand(sequences, -1)
        split = torch.full_like(t, self._split)
        counter = (t, (numbers & _MASK).expand_as(t), (numbers >> 32).expand_as(t), split)
        r0, r1, _, _ = philox(counter, self._key)
        drawn = (r0 * self._alphabet_size) >> 32
        is_drawn = r1 < self._noise_threshold
        is_drawn[:, 0] = True
        last_drawn = torch.where(is_drawn, t, 0).cummax(dim=1).values
        applied = (t - last_drawn) % self._alphabet_size
        start = drawn.gather(1, last_drawn)
        return (self._powers[applied] * start + self._offsets[applied]) % self._alphabet_size


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Apply Philox4x32-10 to int64 tensors that hold 32-bit words.

    A product of two words overflows int64 and wraps; its low word is right as it stands, and its
    high word after the mask takes the sign's copies off.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _rule_powers(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return, for m = 0 to size - 1, the factor and the offset of the rule applied m times."""
    powers, offsets = [1], [0]
    for _ in range(size - 1):
        powers.append(_STEP * powers[-1] % size)
        offsets.append((_STEP * offsets[-1] + _OFFSET) % size)
    return torch.tensor(powers), torch.tensor(offsets)
