"""Masked tokens and pictures: made by their number, and what a model can know of them at best."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pure.train.orders import BERT, LLAMA, STREAM, VIT
from trnbench.analysis.checks.training import fill_in_entropy, stream_entropy
from trnbench.protocol.model import Image, masked_positions
from trnbench.protocol.orders import StreamSettings
from trnbench.train.data import ImageStream, MaskedTokenStream, TokenStream, stream_of

LENGTH, VOCABULARY = 64, 2048
IMAGE = Image(size=8, patch_size=4)
FEW = StreamSettings(alphabet_size=16, noise=0.1, seed=42)


def test_each_family_has_its_stream() -> None:
    kinds = [type(stream_of(shape, 16, STREAM)) for shape in (LLAMA, BERT, VIT)]
    assert kinds == [TokenStream, MaskedTokenStream, ImageStream]


# --- masked tokens --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.integers(8, 300), st.integers(0, 2**40), st.integers(0, 2**63 - 1))
def test_masked_tokens_stand_alone_between_two_that_are_seen(
    length: int, first: int, seed: int
) -> None:
    settings_ = StreamSettings(alphabet_size=64, noise=0.1, seed=seed)
    batch = MaskedTokenStream(settings_, VOCABULARY, length).batch(first, 3)
    assert batch.positions is not None
    count = masked_positions(length)
    assert batch.positions.shape == batch.targets.shape == (3, count)
    assert (batch.positions[:, 0] >= 1).all()
    assert (batch.positions[:, -1] <= length - 2).all()
    assert (batch.positions.diff(dim=1) >= 2).all()
    is_mark = batch.inputs == VOCABULARY - 1
    assert (is_mark.sum(1) == count).all(), "nothing else is the mark"
    assert is_mark.gather(1, batch.positions).all()


def test_what_is_not_masked_is_the_token_stream_and_the_targets_are_its_tokens() -> None:
    plain = TokenStream(STREAM, VOCABULARY, LENGTH - 1).batch(7, 4)
    tokens = torch.cat((plain.inputs, plain.targets[:, -1:]), 1)
    batch = MaskedTokenStream(STREAM, VOCABULARY, LENGTH).batch(7, 4)
    assert batch.positions is not None
    assert torch.equal(tokens.gather(1, batch.positions), batch.targets)
    seen = batch.inputs != VOCABULARY - 1
    assert torch.equal(batch.inputs[seen], tokens[seen])


def test_a_sequence_does_not_depend_on_its_batch() -> None:
    stream = MaskedTokenStream(STREAM, VOCABULARY, LENGTH)
    whole, part = stream.batch(0, 8), stream.batch(5, 2)
    assert whole.positions is not None
    assert part.positions is not None
    for a, b in (
        (whole.inputs, part.inputs),
        (whole.targets, part.targets),
        (whole.positions, part.positions),
    ):
        assert torch.equal(a[5:7], b)


def chances(before: int, after: int, size: int, noise: float) -> list[float]:
    """Weigh every symbol by how likely the stream goes from the one, through it, to the other."""

    def step(a: int, b: int) -> float:
        return noise / size + (1 - noise if (5 * a + 3) % size == b else 0.0)

    weights = [step(before, x) * step(x, after) for x in range(size)]
    return [w / sum(weights) for w in weights]


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_oracle_knows_what_can_be_known_of_both_neighbours(noise: float) -> None:
    size, vocabulary = 8, 33
    settings_ = StreamSettings(alphabet_size=size, noise=noise, seed=1)
    batch = MaskedTokenStream(settings_, vocabulary, LENGTH).batch(0, 5)
    assert batch.positions is not None
    expected = []
    for row, positions, targets in zip(
        batch.inputs.tolist(), batch.positions.tolist(), batch.targets.tolist(), strict=True
    ):
        symbols = [token // (vocabulary // size) for token in row]
        for at, target in zip(positions, targets, strict=True):
            known = chances(symbols[at - 1], symbols[at + 1], size, noise)
            expected.append(-math.log(known[target // (vocabulary // size)]))
    assert batch.oracle_loss == pytest.approx(sum(expected) / len(expected), rel=1e-6)


@pytest.mark.parametrize(("size", "noise"), [(4, 0.1), (8, 0.5), (64, 0.1)])
def test_the_entropy_is_the_mean_over_all_neighbours(size: int, noise: float) -> None:
    def step(a: int, b: int) -> float:
        return noise / size + (1 - noise if (5 * a + 3) % size == b else 0.0)

    total = 0.0
    for before, after in itertools.product(range(size), repeat=2):
        both = sum(step(before, x) * step(x, after) for x in range(size)) / size
        total -= both * sum(p * math.log(p) for p in chances(before, after, size, noise))
    assert fill_in_entropy(size, noise) == pytest.approx(total, rel=1e-9)


def test_the_oracle_s_loss_tends_to_the_entropy() -> None:
    many = MaskedTokenStream(STREAM, VOCABULARY, LENGTH).batch(0, 4000)
    assert many.oracle_loss == pytest.approx(fill_in_entropy(64, 0.1), rel=0.03)


def test_without_noise_there_is_nothing_left_to_know() -> None:
    quiet = StreamSettings(alphabet_size=64, noise=0.0, seed=1)
    assert MaskedTokenStream(quiet, VOCABULARY, LENGTH).batch(0, 3).oracle_loss == 0.0
    assert fill_in_entropy(64, 0.0) == 0.0


# --- pictures -------------------------------------------------------------------------------------


def test_pictures_are_bytes_of_their_size_and_the_same_for_a_number() -> None:
    stream = ImageStream(FEW, 100, IMAGE)
    whole, part = stream.batch(0, 9), stream.batch(4, 3)
    assert whole.inputs.shape == (9, 3, 8, 8)
    assert whole.inputs.dtype == torch.uint8
    assert torch.equal(whole.inputs[4:7], part.inputs)
    assert torch.equal(whole.targets[4:7], part.targets)
    assert len({picture.numpy().tobytes() for picture in stream.batch(0, 400).inputs}) == 16


def test_a_label_is_the_picture_s_own_but_for_the_noise() -> None:
    batch = ImageStream(FEW, 160, IMAGE).batch(0, 4000)
    label_of: dict[bytes, list[int]] = {}
    for picture, label in zip(batch.inputs, batch.targets.tolist(), strict=True):
        label_of.setdefault(picture.numpy().tobytes(), []).append(label)
    own = {picture: max(set(labels), key=labels.count) for picture, labels in label_of.items()}
    assert sorted(own.values()) == [10 * kind for kind in range(16)]
    right = sum(labels.count(own[picture]) for picture, labels in label_of.items())
    assert right / 4000 == pytest.approx(1 - 0.1 + 0.1 / 16, abs=0.015)
    assert batch.oracle_loss == pytest.approx(stream_entropy(16, 0.1), rel=0.05)


def test_another_seed_draws_other_pictures() -> None:
    other = StreamSettings(alphabet_size=16, noise=0.1, seed=43)
    a, b = (ImageStream(s, 100, IMAGE).batch(0, 4).inputs for s in (FEW, other))
    assert not torch.equal(a, b)
    spread = a.float().mean().item(), a.float().std().item()
    assert spread == pytest.approx((127.5, 73.9), rel=0.1)
