"""Where two offers cost the same, and when one may be called cheaper."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.analysis.break_even import (
    Between,
    Offer,
    break_even_discount,
    break_even_tokens,
    break_even_tokens_per_second,
    break_even_usd_per_hour,
    compare_cost,
    price_performance_ratio,
)

TRN2 = Offer(usd_per_hour=35.7608, tokens_per_second=60_000, low=59_400, high=60_600)
H200 = Offer(usd_per_hour=63.16, tokens_per_second=90_000, low=89_100, high=90_900)


def test_the_ratio_is_what_a_token_costs_there_over_here() -> None:
    ratio = price_performance_ratio(TRN2, H200)
    assert ratio.value == pytest.approx(H200.usd_per_token / TRN2.usd_per_token, rel=1e-12)
    assert f"{ratio.value:.4f}" == "1.1775"
    assert ratio.low == pytest.approx(63.16 / 35.7608 * 59_400 / 90_900)
    assert ratio.high == pytest.approx(63.16 / 35.7608 * 60_600 / 89_100)


def test_at_the_break_even_price_both_cost_the_same() -> None:
    even = break_even_usd_per_hour(TRN2, H200)
    assert f"{even.value:.4f}" == "42.1067"
    moved = Offer(usd_per_hour=even.value, tokens_per_second=TRN2.tokens_per_second)
    assert moved.usd_per_token == pytest.approx(H200.usd_per_token, rel=1e-12)
    assert even.low is not None
    assert even.high is not None
    assert even.low < even.value < even.high


def test_at_the_break_even_speed_both_cost_the_same() -> None:
    even = break_even_tokens_per_second(TRN2, H200)
    moved = Offer(usd_per_hour=TRN2.usd_per_hour, tokens_per_second=even.value)
    assert moved.usd_per_token == pytest.approx(H200.usd_per_token, rel=1e-12)
    assert even.value < TRN2.tokens_per_second


def test_at_the_break_even_discount_both_cost_the_same() -> None:
    part = break_even_discount(TRN2, H200).value
    moved = Offer(
        usd_per_hour=H200.usd_per_hour * (1 - part), tokens_per_second=H200.tokens_per_second
    )
    assert moved.usd_per_token == pytest.approx(TRN2.usd_per_token, rel=1e-12)
    assert break_even_discount(H200, TRN2).value < 0


def test_moving_pays_after_so_many_tokens_or_never() -> None:
    tokens = break_even_tokens(TRN2, H200, 10_000)
    assert tokens is not None
    saved = tokens * (H200.usd_per_token - TRN2.usd_per_token)
    assert saved == pytest.approx(10_000)
    assert break_even_tokens(H200, TRN2, 10_000) is None
    assert break_even_tokens(TRN2, TRN2, 10_000) is None


def test_cheaper_is_said_only_where_the_whole_interval_says_so() -> None:
    assert compare_cost(TRN2, H200) == "cheaper"
    assert compare_cost(H200, TRN2) == "dearer"
    wide = Offer(usd_per_hour=35.7608, tokens_per_second=60_000, low=40_000, high=80_000)
    assert compare_cost(wide, H200) == "cannot_tell"
    bare = Offer(usd_per_hour=35.7608, tokens_per_second=60_000)
    assert compare_cost(bare, H200) == "cannot_tell"
    assert price_performance_ratio(bare, H200) == Between(
        price_performance_ratio(TRN2, H200).value, None, None
    )


offers = st.builds(
    Offer,
    usd_per_hour=st.floats(0.01, 1e4),
    tokens_per_second=st.floats(10, 1e8),
)


@given(offers, offers)
def test_each_way_round_is_the_inverse_of_the_other(one: Offer, other: Offer) -> None:
    there = price_performance_ratio(one, other).value
    back = price_performance_ratio(other, one).value
    assert there * back == pytest.approx(1, rel=1e-9)


@given(offers, offers, st.floats(1.01, 100))
def test_the_ratio_is_linear_in_speed_and_inverse_in_price(
    one: Offer, other: Offer, factor: float
) -> None:
    ratio = price_performance_ratio(one, other).value
    faster = Offer(usd_per_hour=one.usd_per_hour, tokens_per_second=one.tokens_per_second * factor)
    dearer = Offer(usd_per_hour=one.usd_per_hour * factor, tokens_per_second=one.tokens_per_second)
    assert price_performance_ratio(faster, other).value == pytest.approx(ratio * factor, rel=1e-9)
    assert price_performance_ratio(dearer, other).value == pytest.approx(ratio / factor, rel=1e-9)
