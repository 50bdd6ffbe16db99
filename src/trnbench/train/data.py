"""Synthetic data `trnbench-synth-1`: the same on every backend, with a known entropy.

Each next symbol follows from the last by a fixed rule, except with probability `noise`, when it is
drawn anew. A counter-based generator of integers draws any sequence by its number alone, so that it
has the same bits on every machine. Encoders predict masked tokens of that stream; vision
transformers learn the classes of images.

Source: docs/metrics.md, "The token stream"; Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC'11, for Philox4x32-10 and its known answers.
"""

import math
from dataclasses import dataclass

import torch

from trnbench.protocol.model import ExternalModel, Image, ModelShape, masked_positions
from trnbench.protocol.orders import StreamSettings
from trnbench.train.models import family_class

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_STEP, _OFFSET = 5, 3
"""The rule x -> (5x + 3) mod K visits all K symbols before it repeats, for K a power of two."""

_POSITION, _IMAGE, _LABEL = 1 << 8, 2 << 8, 3 << 8
"""Set in the counter's last word: tokens, masked positions, images and labels share no number."""

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of one pass, on the CPU: inputs and targets, both (sequences, tokens) int64.

    An encoder has fewer targets than tokens, and `positions` says where they are. Images are bytes,
    and their targets are classes, (images,).
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    oracle_loss: float
    """Mean loss in nats, on these targets, of a model that knows the stream."""
    positions: torch.Tensor | None = None


class Stream:
    """Draws sequences by their number; their symbols are spread evenly over a vocabulary."""

    def __init__(self, settings: StreamSettings, vocabulary_size: int, split: int) -> None:
        self._alphabet_size = settings.alphabet_size
        self._spread = vocabulary_size // settings.alphabet_size
        self._noise_threshold = math.floor(settings.noise * 2**32 + 0.5)
        self._noise = self._noise_threshold / 2**32
        self._key = (settings.seed & _MASK, settings.seed >> 32)
        self._split = split

    def batch(self, first: int, sequences: int) -> Batch:
        """Return sequences `first` to `first + sequences - 1`."""
        return self.numbered(torch.arange(first, first + sequences))

    def numbered(self, numbers: torch.Tensor) -> Batch:
        """Return the sequences of these numbers, int64, in their order."""
        raise NotImplementedError

    def _draw(self, places: torch.Tensor, numbers: torch.Tensor, last: int) -> Words:
        """Draw four words for each place in each of the numbered sequences."""
        return philox((places, numbers & _MASK, numbers >> 32, torch.tensor(last)), self._key)

    def _symbol(self, words: torch.Tensor) -> torch.Tensor:
        return (words * self._alphabet_size) >> 32

    def _loss_of_rule(self, is_miss: torch.Tensor) -> float:
        """Return the mean loss of a model that knows the rule, by where targets depart from it."""
        share = int(is_miss.sum()) / is_miss.numel()
        of_hit = -math.log(1 - self._noise + self._noise / self._alphabet_size)
        of_miss = -math.log(self._noise / self._alphabet_size) if share else 0.0
        return (1 - share) * of_hit + share * of_miss


class TokenStream(Stream):
    """Next tokens; split 0 is for training and 1 for evaluation: they share no random number."""

    def __init__(
        self, settings: StreamSettings, vocabulary_size: int, sequence_length: int, split: int = 0
    ) -> None:
        super().__init__(settings, vocabulary_size, split)
        self._positions = torch.arange(sequence_length + 1)[None, :]
        self._powers, self._offsets = _rule_powers(settings.alphabet_size)

    def numbered(self, numbers: torch.Tensor) -> Batch:
        """Return the sequences of these numbers."""
        symbols = self._symbols(numbers)
        oracle = self._loss_of_rule(symbols[:, 1:] != self._next(symbols[:, :-1]))
        tokens = symbols * self._spread
        return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), oracle)

    def _symbols(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return the symbols, (sequences, tokens + 1), without walking along the sequence.

        Since the last noisy position the rule has been applied a known number of times, and its
        powers are in a table.
        """
        r0, r1, _, _ = self._draw(self._positions, numbers[:, None], self._split)
        is_drawn = r1 < self._noise_threshold
        is_drawn[:, 0] = True
        last_drawn = torch.where(is_drawn, self._positions, 0).cummax(dim=1).values
        applied = (self._positions - last_drawn) % self._alphabet_size
        start = self._symbol(r0).gather(1, last_drawn)
        return (self._powers[applied] * start + self._offsets[applied]) % self._alphabet_size

    def _next(self, symbols: torch.Tensor) -> torch.Tensor:
        return (_STEP * symbols + _OFFSET) % self._alphabet_size


class MaskedTokenStream(TokenStream):
    """Masked tokens; the vocabulary's last token is the mask.

    The sequence is cut into as many stretches as there are masked tokens, and one is drawn from
    each but its last token: each masked token has two visible neighbours. What a model can know at
    best is then exact: the token before says what comes next, the one after what came before.
    """

    def __init__(
        self, settings: StreamSettings, vocabulary_size: int, sequence_length: int, split: int = 0
    ) -> None:
        super().__init__(settings, vocabulary_size, sequence_length - 1, split)
        self._mask_token = vocabulary_size - 1
        count = masked_positions(sequence_length)
        edges = torch.arange(count + 1) * (sequence_length - 2) // count + 1
        self._starts, self._lengths = edges[:-1], edges[1:] - edges[:-1] - 1

    def numbered(self, numbers: torch.Tensor) -> Batch:
        """Return the sequences of these numbers."""
        symbols = self._symbols(numbers)
        stretches = torch.arange(len(self._starts))[None, :]
        r0, _, _, _ = self._draw(stretches, numbers[:, None], self._split | _POSITION)
        positions = self._starts + ((r0 * self._lengths) >> 32)
        before, right, after = (symbols.gather(1, positions + d) for d in (-1, 0, 1))
        oracle = self._loss_of_neighbours(before, right, after)
        inputs = (symbols * self._spread).scatter(1, positions, self._mask_token)
        return Batch(inputs, right * self._spread, oracle, positions)

    def _loss_of_neighbours(
        self, before: torch.Tensor, right: torch.Tensor, after: torch.Tensor
    ) -> float:
        """Return the mean loss of a model that knows the rule and sees both neighbours.

        It weighs each symbol by how likely it follows the one before and is followed by the one
        after; the rule leads from each symbol to one, and to each from one.
        """
        size, miss = self._alphabet_size, self._noise / self._alphabet_size
        hit = 1 - miss * (size - 1)
        if not miss:
            return 0.0
        follows, is_followed = self._next(before) == right, self._next(right) == after
        of_right = torch.where(follows, math.log(hit), math.log(miss))
        of_right = of_right + torch.where(is_followed, math.log(hit), math.log(miss))
        agreeing = math.log(hit**2 + (size - 1) * miss**2)
        apart = math.log(2 * hit * miss + (size - 2) * miss**2)
        agree = self._next(self._next(before)) == after
        return float((torch.where(agree, agreeing, apart).double() - of_right.double()).mean())


class ImageStream(Stream):
    """Images with their labels; each class has one image of random bytes.

    A label is the image's class, except with probability `noise`, when it is drawn anew: what a
    model can know at best is that of the token stream.
    """

    def __init__(
        self, settings: StreamSettings, classes: int, image: Image, split: int = 0
    ) -> None:
        super().__init__(settings, classes, split)
        size = (image.channels, image.size, image.size)
        wanted = self._alphabet_size * math.prod(size)
        words = self._draw(torch.tensor(0), torch.arange(math.ceil(wanted / 4)), _IMAGE)
        values = torch.stack(words, dim=1).flatten()[:wanted] >> 24
        self._images = values.to(torch.uint8).view(self._alphabet_size, *size)

    def numbered(self, numbers: torch.Tensor) -> Batch:
        """Return the images of these numbers: bytes, (images, C, size, size)."""
        r0, r1, r2, _ = self._draw(torch.tensor(0), numbers, self._split | _LABEL)
        kind = self._symbol(r0)
        label = torch.where(r1 < self._noise_threshold, self._symbol(r2), kind)
        oracle = self._loss_of_rule(label != kind)
        return Batch(self._images[kind], label * self._spread, oracle)


def stream_of(
    model: ModelShape | ExternalModel, sequence_length: int, settings: StreamSettings
) -> Stream:
    """Return the stream of next tokens, of masked ones for an encoder, or of images."""
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


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Apply Philox4x32-10 to int64 tensors of 32-bit words, which broadcast.

    Two words multiplied overflow int64 and wrap: the low word is right, and the high word after the
    mask has removed the copies of the sign.
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
    """Return the factor and the offset of the rule applied m times, m = 0 to size - 1."""
    powers, offsets = [1], [0]
    for _ in range(size - 1):
        powers.append(_STEP * powers[-1] % size)
        offsets.append((_STEP * offsets[-1] + _OFFSET) % size)
    return torch.tensor(powers), torch.tensor(offsets)
