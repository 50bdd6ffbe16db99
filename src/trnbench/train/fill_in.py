"""The token stream for encoders: some tokens are masked, and the model fills them in.

The sequence is cut into as many stretches as there are masked tokens, and one is drawn from each
but its last, so that each masked token stands between two that are seen. What a model can know at
best is then exact: the token before says what comes next, the one after what came before.

Source: docs/metrics.md, "The token stream".
"""

import math

import torch

from trnbench.train.data import Batch, TokenStream, philox
from trnbench.wire import StreamSettings, masked_positions

_MASK_DRAW = 1 << 8
"""Set in the counter's last word, so that the draw of positions shares no number with tokens."""


class FillInStream(TokenStream):
    """Makes any sequences of the stream with their masked tokens, by their number."""

    def __init__(
        self, settings: StreamSettings, vocabulary_size: int, sequence_length: int, split: int = 0
    ) -> None:
        """Prepare for one vocabulary and length; its last token stands for a masked one."""
        super().__init__(settings, vocabulary_size, sequence_length - 1, split)
        self._mark = vocabulary_size - 1
        count = masked_positions(sequence_length)
        edges = torch.arange(count + 1) * (sequence_length - 2) // count + 1
        self._starts, self._lengths = edges[:-1], edges[1:] - edges[:-1] - 1
        e = self._noise_threshold / 2**32 / settings.alphabet_size
        self._hit, self._miss = 1 - e * (settings.alphabet_size - 1), e

    def batch(self, first: int, sequences: int) -> Batch:
        """Make sequences `first` to `first + sequences - 1`."""
        symbols = self._symbols(first, sequences)
        positions = self._positions_of(first, sequences)
        before, right, after = (symbols.gather(1, positions + d) for d in (-1, 0, 1))
        oracle = self._loss_of_oracle(before, right, after)
        inputs = (symbols * self._spread).scatter(1, positions, self._mark)
        return Batch(inputs, right * self._spread, oracle, positions)

    def _positions_of(self, first: int, sequences: int) -> torch.Tensor:
        """Draw which tokens are masked, (sequences, masked tokens), in rising order."""
        numbers = torch.arange(first, first + sequences, dtype=torch.int64)[:, None]
        stretch = torch.arange(len(self._starts))[None, :].expand(sequences, -1)
        draw = torch.full_like(stretch, self._split | _MASK_DRAW)
        low, high = (numbers & 0xFFFFFFFF).expand_as(stretch), (numbers >> 32).expand_as(stretch)
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
