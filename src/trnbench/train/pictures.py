"""Synthetic pictures for vision transformers: as many as there are classes, with a known entropy.

Each class has one picture of random bytes. A label is the picture's class, except with probability
`noise`, when it is drawn anew: what a model can know at best is that of the token stream.

Source: docs/metrics.md, "The token stream".
"""

import math

import torch

from trnbench.train.data import Batch, philox
from trnbench.wire import Image, StreamSettings

_PICTURE, _LABEL = 2 << 8, 3 << 8
"""Set in the counter's last word: pictures, labels and tokens share no number."""


class PictureStream:
    """Makes any pictures of the stream with their labels, by their number."""

    def __init__(
        self, settings: StreamSettings, classes: int, image: Image, split: int = 0
    ) -> None:
        """Prepare for one number of classes, over which labels are spread, and one size."""
        self._alphabet_size = settings.alphabet_size
        self._spread = classes // settings.alphabet_size
        self._noise_threshold = math.floor(settings.noise * 2**32 + 0.5)
        self._key = (settings.seed & 0xFFFFFFFF, settings.seed >> 32)
        self._split = split
        noise = self._noise_threshold / 2**32
        self._loss_of_hit = -math.log(1 - noise + noise / settings.alphabet_size)
        self._loss_of_miss = -math.log(noise / settings.alphabet_size) if noise else math.inf
        self._pictures = self._draw_pictures(image)

    def batch(self, first: int, sequences: int) -> Batch:
        """Make pictures `first` to `first + sequences - 1`: bytes, (pictures, C, size, size)."""
        numbers = torch.arange(first, first + sequences, dtype=torch.int64)
        r0, r1, r2, _ = self._words(numbers, self._split | _LABEL)
        kind = (r0 * self._alphabet_size) >> 32
        drawn = (r2 * self._alphabet_size) >> 32
        label = torch.where(r1 < self._noise_threshold, drawn, kind)
        misses = int((label != kind).sum())
        share = misses / sequences
        oracle = (1 - share) * self._loss_of_hit + (share * self._loss_of_miss if misses else 0.0)
        return Batch(self._pictures[kind], label * self._spread, oracle)

    def _draw_pictures(self, image: Image) -> torch.Tensor:
        """Return one picture of random bytes for each class, four from each draw."""
        size = (image.channels, image.size, image.size)
        wanted = self._alphabet_size * math.prod(size)
        words = self._words(torch.arange(math.ceil(wanted / 4), dtype=torch.int64), _PICTURE)
        values = torch.stack(words, dim=1).flatten()[:wanted] >> 24
        return values.to(torch.uint8).view(self._alphabet_size, *size)

    def _words(self, numbers: torch.Tensor, last: int) -> tuple[torch.Tensor, ...]:
        zero = torch.zeros_like(numbers)
        return philox(
            (zero, numbers & 0xFFFFFFFF, numbers >> 32, torch.full_like(numbers, last)), self._key
        )
