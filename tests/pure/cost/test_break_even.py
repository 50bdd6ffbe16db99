"""Where two offers cost the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.cost.break_even import Between, even_price, even_speed

SPEED = Between(60_000 / 90_000, 59_400 / 90_900, 60_600 / 89_100)
"""A trn2.48xlarge's tokens per second over a p5en.48xlarge's."""


def test_at_the_break_even_price_both_cost_the_same() -> None:
    even = even_price(63.16, SPEED)
    assert f"{even.value:.4f}" == "42.1067"
    assert even.value / 60_000 == pytest.approx(63.16 / 90_000, rel=1e-12)
    assert even.low == pytest.approx(63.16 * 59_400 / 90_900)
    assert even.high == pytest.approx(63.16 * 60_600 / 89_100)


def test_at_the_break_even_speed_both_cost_the_same() -> None:
    even = even_speed(Between(90_000, 89_100, 90_900), 35.7608 / 63.16)
    assert 35.7608 / even.value == pytest.approx(63.16 / 90_000, rel=1e-12)
    assert even.value < 60_000
    assert (even.low, even.high) == pytest.approx(
        (89_100 * 35.7608 / 63.16, 90_900 * 35.7608 / 63.16)
    )


def test_a_speed_without_an_interval_gives_a_price_without_one() -> None:
    assert even_price(2.0, Between(3.0)) == Between(6.0, None, None)


@given(st.floats(0.01, 1e4), st.floats(10, 1e8), st.floats(1.01, 100))
def test_the_price_is_linear_in_the_speed_and_in_the_other_s_price(
    usd: float, speed: float, factor: float
) -> None:
    even = even_price(usd, Between(speed)).value
    assert even_price(usd, Between(speed * factor)).value == pytest.approx(even * factor)
    assert even_price(usd * factor, Between(speed)).value == pytest.approx(even * factor)
