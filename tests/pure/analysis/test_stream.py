"""The lowest loss that the token stream allows, by its known entropy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.analysis.checks.training import stream_entropy


@pytest.mark.parametrize(
    ("alphabet_size", "noise", "nats"),
    [(64, 0.1, 0.7295), (64, 0.05, 0.4001), (64, 0.2, 1.3117), (256, 0.1, 0.8762)],
)
def test_the_entropy_is_the_one_computed_by_hand(
    alphabet_size: int, noise: float, nats: float
) -> None:
    assert stream_entropy(alphabet_size, noise) == pytest.approx(nats, abs=5e-5)


def test_without_noise_the_stream_can_be_known() -> None:
    assert stream_entropy(64, 0.0) == 0


@given(st.sampled_from([2, 16, 64, 256, 4096]))
def test_with_nothing_but_noise_nothing_can_be_known(alphabet_size: int) -> None:
    assert stream_entropy(alphabet_size, 1.0) == pytest.approx(math.log(alphabet_size))


@given(st.sampled_from([2, 16, 64, 256]), st.floats(0.001, 0.9))
def test_more_noise_is_harder_to_know(alphabet_size: int, noise: float) -> None:
    less, more = (stream_entropy(alphabet_size, part) for part in (noise, noise * 1.1))
    assert 0 < less < more < math.log(alphabet_size)
