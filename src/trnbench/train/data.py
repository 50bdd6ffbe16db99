"""Synthetic data `trnbench-synth-1`: the same on every backend, with a known entropy.

Each next symbol follows from the last by a fixed rule, except with probability `noise`, when it is
drawn anew. All is made from integers alone, by a counter-based generator, so any sequence can be
made by itself, in any order, on any machine, to the same bits. Encoders fill in masked tokens of
that stream; vision transformers learn the classes of images.

Source: docs/metrics.md, "The token stream"; Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC'11, for Philox4x32-10 and its known answers.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from trnbench.protocol.model import ExternalModel, Image, ModelShape, masked_positions
from trnbench.protocol.orders import StreamSettings
from trnbench.train.models import family_class

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_STEP, _OFFSET = 5, 3
"""The rule x -> (5x + 3) mod K visits all K symbols before it repeats, for K a power of two."""

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

_MASK_DRAW = 1 << 8
"""Set in the counter's last word, so that the draw of positions shares no number with tokens."""
_IMAGE, _LABEL = 2 << 8, 3 << 8
"""Set in the counter's last word: images, labels and tokens share no number."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of one pass, on the CPU: inputs and targets, both (sequences, tokens) int64.

    An encoder's targets are fewer than its tokens: `positions` says where. An image's inputs are
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
    """Makes any sequences of the stream, by their number, spread evenly over a vocabulary."""

    def __init__(
        self, settings: StreamSettings, vocabulary_size: int, sequence_length: int, split: int = 0
    ) -> None:
        """Split 0 is for training and 1 for evaluation: they share no random number."""
        self._alphabet_size = settings.alphabet_size
        self._spread = vocabulary_size // settings.alphabet_size
        self._noise_threshold = math.floor(settings.noise * 2**32 + 0.5)
        self._key = (settings.seed & _MASK, settings.seed >> 32)
        self._split = split
        self._positions = torch.arange(sequence_length + 1, dtype=torch.int64)
        self._powers, self._offsets = _rule_powers(settings.alphabet_size)

    def batch(self, first: int, sequences: int) -> Batch:
        """Make sequences `first` to `first + sequences - 1`."""
        symbols = self._symbols(first, sequences)
        predicted = (_STEP * symbols[:, :-1] + _OFFSET) % self._alphabet_size
        noise = self._noise_threshold / 2**32
        oracle = _oracle_loss(symbols[:, 1:] != predicted, noise, self._alphabet_size)
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


class MaskedTokenStream(TokenStream):
    """Makes any sequences of the stream with their masked tokens, by their number.

    The sequence is cut into as many stretches as there are masked tokens, and one is drawn from
    each but its last, so that each masked token stands between two that are seen. What a model can
    know at best is then exact: the token before says what comes next, the one after what came
    before.
    """

    def __init__(
        self, settings: StreamSettings, vocabulary_size: int, sequence_length: int, split: int = 0
    ) -> None:
        """Take the vocabulary's last token for the mask."""
        super().__init__(settings, vocabulary_size, sequence_length - 1, split)
        self._mask_token = vocabulary_size - 1
        count = masked_positions(sequence_length)
        edges = torch.arange(count + 1) * (sequence_length - 2) // count + 1
        self._starts, self._lengths = edges[:-1], edges[1:] - edges[:-1] - 1
        e = self._noise_threshold / 2**32 / settings.alphabet_size
        self._hit, self._miss = 1 - e * (settings.alphabet_size - 1), e

    def batch(self, first: int, sequences: int) -> Batch:
        """Make sequences `first` to `first + sequences - 1`."""
        symbols = self._symbols(first, sequences)
        positions = self._masked_positions(first, sequences)
        before, right, after = (symbols.gather(1, positions + d) for d in (-1, 0, 1))
        oracle = self._loss_of_oracle(before, right, after)
        inputs = (symbols * self._spread).scatter(1, positions, self._mask_token)
        return Batch(inputs, right * self._spread, oracle, positions)

    def _masked_positions(self, first: int, sequences: int) -> torch.Tensor:
        """Draw which tokens are masked, (sequences, masked tokens), in rising order."""
        numbers = torch.arange(first, first + sequences, dtype=torch.int64)[:, None]
        stretch = torch.arange(len(self._starts))[None, :].expand(sequences, -1)
        draw = torch.full_like(stretch, self._split | _MASK_DRAW)
        low, high = (numbers & _MASK).expand_as(stretch), (numbers >> 32).expand_as(stretch)
        r0, _, _, _ = philox((stretch, low, high, draw), self._key)
        return self._starts + ((r0 * self._lengths) >> 32)

    def _loss_of_oracle(
        self, before: torch.Tensor, right: torch.Tensor, after: torch.Tensor
    ) -> float:
        """Return the mean loss of a model that knows the stream and sees both neighbours.

        It weighs each symbol by how likely it follows the one before and is followed by the one
        after; the rule leads from each symbol to one, and to each from one.
        """
        size, hit, miss = self._alphabet_size, self._hit, self._miss
        follows, is_followed = self._next(before) == right, self._next(right) == after
        agree = self._next(self._next(before)) == after
        if not miss:
            return 0.0
        of_right = torch.where(follows, math.log(hit), math.log(miss))
        of_right = of_right + torch.where(is_followed, math.log(hit), math.log(miss))
        agreeing = math.log(hit**2 + (size - 1) * miss**2)
        apart = math.log(2 * hit * miss + (size - 2) * miss**2)
        return float((torch.where(agree, agreeing, apart).double() - of_right.double()).mean())

    def _next(self, symbols: torch.Tensor) -> torch.Tensor:
        return (self._powers[1] * symbols + self._offsets[1]) % self._alphabet_size


class ImageStream:
    """Makes any images with their labels, by their number.

    Each class has one image of random bytes. A label is the image's class, except with probability
    `noise`, when it is drawn anew: what a model can know at best is that of the token stream.
    """

    def __init__(
        self, settings: StreamSettings, classes: int, image: Image, split: int = 0
    ) -> None:
        """Spread labels evenly over the classes."""
        self._alphabet_size = settings.alphabet_size
        self._spread = classes // settings.alphabet_size
        self._noise_threshold = math.floor(settings.noise * 2**32 + 0.5)
        self._key = (settings.seed & _MASK, settings.seed >> 32)
        self._split = split
        self._images = self._draw_images(image)

    def batch(self, first: int, sequences: int) -> Batch:
        """Make images `first` to `first + sequences - 1`: bytes, (images, C, size, size)."""
        numbers = torch.arange(first, first + sequences, dtype=torch.int64)
        r0, r1, r2, _ = self._words(numbers, self._split | _LABEL)
        kind = (r0 * self._alphabet_size) >> 32
        drawn = (r2 * self._alphabet_size) >> 32
        label = torch.where(r1 < self._noise_threshold, drawn, kind)
        oracle = _oracle_loss(label != kind, self._noise_threshold / 2**32, self._alphabet_size)
        return Batch(self._images[kind], label * self._spread, oracle)

    def _draw_images(self, image: Image) -> torch.Tensor:
        """Return one image of random bytes for each class, four from each draw."""
        size = (image.channels, image.size, image.size)
        wanted = self._alphabet_size * math.prod(size)
        words = self._words(torch.arange(math.ceil(wanted / 4), dtype=torch.int64), _IMAGE)
        values = torch.stack(words, dim=1).flatten()[:wanted] >> 24
        return values.to(torch.uint8).view(self._alphabet_size, *size)

    def _words(self, numbers: torch.Tensor, last: int) -> tuple[torch.Tensor, ...]:
        zero = torch.zeros_like(numbers)
        counter = (zero, numbers & _MASK, numbers >> 32, torch.full_like(numbers, last))
        return philox(counter, self._key)


def stream_of(
    model: ModelShape | ExternalModel, sequence_length: int, settings: StreamSettings
) -> Stream:
    """Return the stream of next tokens, of masked ones for an encoder, or of images.

    Raises:
        ValueError: the external model has not been described.
    """
    if model.vocabulary_size is None:
        raise ValueError("the external model's vocabulary is not known")
    if isinstance(model, ModelShape) and model.image is not None:
        return ImageStream(settings, model.vocabulary_size, model.image)
    if isinstance(model, ExternalModel):
        is_masked = model.task == "masked_token"
    else:
        is_masked = family_class(model.family).is_masked
    kind = MaskedTokenStream if is_masked else TokenStream
    return kind(settings, model.vocabulary_size, sequence_length)


def _oracle_loss(is_miss: torch.Tensor, noise: float, alphabet_size: int) -> float:
    """Return the mean loss of a model that knows the rule, by which targets depart from it."""
    share = int(is_miss.sum()) / is_miss.numel()
    of_hit = -math.log(1 - noise + noise / alphabet_size)
    of_miss = -math.log(noise / alphabet_size) if share else 0.0
    return (1 - share) * of_hit + share * of_miss


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
