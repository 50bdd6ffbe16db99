"""Prices of two sides: whether they can be compared, what is told of them, where they are even."""

import dataclasses
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.comparisons import launch
from trnbench.compare.launches import Launch
from trnbench.compare.sides import break_even, price_differences, rate_ratio, side_price
from trnbench.schema.comparison import BreakEven, Ratio, SideValue
from trnbench.schema.price import Price


def price(usd: str = "35.7608", **changes: Any) -> Price:
    fields: dict[str, Any] = {
        "usd_per_hour": usd, "instance": "trn2.48xlarge", "option": "capacity_block",
        "region": "us-east-2", "date": date(2026, 7, 1), "source": "a page",
    }  # fmt: skip
    return Price(**(fields | changes))


def at(value: Price | None, reason: str | None = None) -> Launch:
    one = launch()
    result = one.result.model_copy(update={"price": value, "price_reason": reason})
    return dataclasses.replace(one, result=result)


def test_equal_rates_of_several_days_are_one_price_the_newest() -> None:
    later = price(date=date(2026, 7, 9))
    assert side_price([at(price()), at(later), at(price())]) == later


def test_launches_at_several_rates_have_no_price_in_common() -> None:
    found = side_price([at(price("1")), at(price("2"))])
    assert isinstance(found, str)
    assert "several rates ($1, $2)" in found
    assert "--base-usd-per-hour" in found


def test_a_launch_without_a_price_leaves_the_side_without() -> None:
    assert side_price([at(price()), at(None, "nobody knows")]) == "nobody knows"
    assert side_price([at(None)]) == "no price is known"
    assert side_price([]) == "no launch of this side can be used"


def test_prices_of_one_kind_say_nothing() -> None:
    assert price_differences(price("1"), price("2")) is None
    assert price_differences(price(), "none") is None


def test_prices_of_unlike_terms_say_in_what() -> None:
    told = price_differences(
        price(), price(option="spot", region=None, date=date(2026, 10, 1), source="another page")
    )
    assert told == (
        "the prices differ (BASE / CAND): option capacity_block / spot; region "
        "us-east-2 / none named; date 2026-07-01 / 2026-10-01; source a page / another page"
    )


def test_a_ratio_of_rates_counts_the_instances() -> None:
    assert rate_ratio(price("10"), price("15"), (2, 1)) == 0.75
    assert rate_ratio(price(), "none", (1, 1)) is None


NO_SPEED = SideValue(value=None, reason="no speed")
SPEED = SideValue(value=100.0, low=98.0, high=103.0)


def test_a_chip_twice_as_fast_may_cost_twice_as_much() -> None:
    faster = Ratio(value=2.0, low=1.9, high=2.1)
    even = break_even(faster, NO_SPEED, price("10"), "none", (1, 1))
    assert (even.usd_per_hour, even.low, even.high) == (20.0, 19.0, 21.0)
    several = break_even(Ratio(value=2.0), NO_SPEED, price("10"), "none", (4, 2))
    assert (several.usd_per_hour, several.low) == (40.0, None)


def test_a_chip_at_twice_the_price_must_be_twice_as_fast() -> None:
    even = break_even(Ratio(value=1.2), SPEED, price("10"), price("20"), (1, 1))
    assert even.tokens_per_second == 200.0
    assert (even.tokens_per_second_low, even.tokens_per_second_high) == (196.0, 206.0)
    several = break_even(Ratio(value=1.2), SPEED, price("10"), price("20"), (4, 2))
    assert several.tokens_per_second == 100.0


def test_without_a_price_of_base_nothing_is_even() -> None:
    def even(
        speed: Ratio, base: Price | str, cand: Price | str, of: SideValue = SPEED
    ) -> BreakEven:
        return break_even(speed, of, base, cand, (1, 1))

    nothing = even(Ratio(value=2.0), "nobody knows", price())
    assert nothing.reason == "BASE has no price: nobody knows"
    assert nothing.tokens_per_second_reason == "BASE has no price: nobody knows"
    half = even(Ratio(value=2.0), price(), "nobody asked")
    assert half.usd_per_hour is not None
    assert half.tokens_per_second_reason == "CAND has none: nobody asked"
    slow = even(Ratio(value=None, reason="no ratio"), price(), price(), NO_SPEED)
    assert (slow.reason, slow.tokens_per_second_reason) == ("no ratio", "no speed")


@given(st.floats(0.01, 100), st.decimals(Decimal("0.01"), Decimal(1000), places=4))
def test_at_the_even_price_a_token_costs_the_same(speed: float, usd: Decimal) -> None:
    even = break_even(Ratio(value=speed), NO_SPEED, price(str(usd)), "none", (3, 5)).usd_per_hour
    assert even is not None
    per_token_of_base = float(usd) * 3 / 1.0
    assert even * 5 / speed == pytest.approx(per_token_of_base)


@given(
    st.floats(1, 1e6),
    st.decimals(Decimal("0.01"), Decimal(1000), places=4),
    st.decimals(Decimal("0.01"), Decimal(1000), places=4),
)
def test_at_the_even_speed_a_token_costs_the_same(
    tokens_per_second: float, usd: Decimal, other: Decimal
) -> None:
    even = break_even(
        Ratio(value=3.0),
        SideValue(value=tokens_per_second),
        price(str(usd)),
        price(str(other)),
        (1, 1),
    )
    assert even.usd_per_hour == pytest.approx(3 * float(usd))
    assert even.tokens_per_second is not None
    per_token_of_base = float(usd) / tokens_per_second
    assert float(other) / even.tokens_per_second == pytest.approx(per_token_of_base)


def test_a_worked_example_has_the_intervals_of_the_speeds() -> None:
    """A trn2.48xlarge against a p5en.48xlarge."""
    ratio = Ratio(value=60_000 / 90_000, low=59_400 / 90_900, high=60_600 / 89_100)
    speed = SideValue(value=90_000, low=89_100, high=90_900)
    even = break_even(ratio, speed, price("63.16"), price("35.7608"), (1, 1))
    assert f"{even.usd_per_hour:.4f}" == "42.1067"
    assert (even.low, even.high) == pytest.approx(
        (63.16 * 59_400 / 90_900, 63.16 * 60_600 / 89_100)
    )
    assert even.tokens_per_second == pytest.approx(90_000 * 35.7608 / 63.16)
    assert (even.tokens_per_second_low, even.tokens_per_second_high) == pytest.approx(
        (89_100 * 35.7608 / 63.16, 90_900 * 35.7608 / 63.16)
    )
