"""How dated rows become steps: which rate held when, and what it changed by."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.each import check_each
from tests.pure.prices.tables import row
from trnbench.catalog.prices import PriceRow, price_rows_by_instance
from trnbench.prices.history import Series, price_history


def told(series: Series) -> list[tuple[str, str, str, str]]:
    return [
        (
            str(step.usd_per_hour),
            step.since.isoformat(),
            step.until.isoformat(),
            "" if step.change is None else f"{step.change:+.4f}",
        )
        for step in series.steps
    ]


def test_the_bundled_table_has_the_two_steps_of_p5en_in_its_first_region() -> None:
    """Karpenter's table has 84.8 to 2025-04-28 and 63.296 from 2025-06-23; Capacity Blocks rose."""
    block, demand = (
        each
        for each in price_history(price_rows_by_instance()["p5en.48xlarge"], "us-east-1")
        if each.option != "spot"
    )
    assert (block.option, block.place) == ("capacity_block", "us-east-1")
    assert told(block) == [
        ("41.612", "2026-01-31", "2026-03-01", ""),
        ("54.92", "2026-07-22", "2026-07-22", "+0.3198"),
        ("63.16", "2026-10-07", "2026-10-07", "+0.1500"),
    ]
    assert told(demand) == [
        ("84.8", "2025-03-31", "2025-04-28", ""),
        ("63.296", "2025-06-23", "2026-08-06", "-0.2536"),
    ]


def test_a_rate_that_comes_back_is_a_step_of_its_own() -> None:
    (series,) = price_history([row("5", days_old=3), row("6", days_old=2), row("5", days_old=1)])
    assert [str(step.usd_per_hour) for step in series.steps] == ["5", "6", "5"]


def test_a_source_that_cuts_its_decimals_is_no_change() -> None:
    (series,) = price_history([row("67.72672", days_old=9), row("67.7267", days_old=1)])
    assert [len(step.rows) for step in series.steps] == [2]
    assert str(series.steps[0].usd_per_hour) == "67.72672"


def test_a_rate_that_its_source_doubts_is_no_step() -> None:
    rows = [row("63.296", days_old=9), row("63.3", days_old=1, standing="listed")]
    (series,) = price_history(rows)
    assert [each.usd_per_hour for each in series.steps[0].rows] == [Decimal("63.296")]
    assert price_history(rows[1:]) == []


def test_a_rate_for_many_regions_is_part_of_the_past_of_one_that_is_named() -> None:
    rows = [
        row("41", "capacity_block", region="us-east-2", days_old=9),
        row("63", "capacity_block", region="all-commercial", days_old=1),
        row("10", region="all-govcloud", days_old=1),
    ]
    (named,) = price_history(rows, "us-east-2")
    assert named.place == "us-east-2"
    assert [str(step.usd_per_hour) for step in named.steps] == ["41", "63"]
    assert [each.place for each in price_history(rows)] == [
        "all-commercial", "us-east-2", "all-govcloud",
    ]  # fmt: skip
    assert price_history(rows, "eu-west-1") == [], "a region that sells none gets no rate of all's"


def test_zones_of_a_region_are_places_of_their_own() -> None:
    rows = [
        row("4", "spot", zone="use1-az4", standing="on_request"),
        row("5", "spot", zone="use1-az5", standing="on_request"),
    ]
    assert [each.place for each in price_history(rows, "us-east-1")] == ["use1-az4", "use1-az5"]


def test_no_row_of_the_bundled_table_is_lost_or_told_twice() -> None:
    def check(name: str) -> None:
        rows = [each for each in price_rows_by_instance()[name] if each.standing != "listed"]
        kept = [each for s in price_history(rows) for step in s.steps for each in step.rows]
        assert sorted(map(repr, kept)) == sorted(map(repr, rows))

    check_each(sorted(price_rows_by_instance()), check)


RATES_BY_AGE = st.dictionaries(st.integers(0, 50), st.integers(1, 20), min_size=1)


@given(RATES_BY_AGE)
def test_changes_multiply_to_the_last_rate_over_the_first(told: dict[int, int]) -> None:
    rows: list[PriceRow] = [row(str(usd), days_old=days) for days, usd in told.items()]
    (series,) = price_history(rows)
    product = Decimal(1)
    for step in series.steps[1:]:
        assert step.change is not None
        assert step.change != 0
        product *= 1 + step.change
    by_day = sorted(rows, key=lambda each: each.date)
    assert product == pytest.approx(by_day[-1].usd_per_hour / by_day[0].usd_per_hour)
    days = [day for step in series.steps for day in (step.since, step.until)]
    assert days == sorted(days)
