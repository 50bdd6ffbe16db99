"""What is told beside costs that stand side by side."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from trnbench.cost.comparability import OLD_DAYS, age_note, comparability_notes
from trnbench.schema.price import Price

TODAY = date(2026, 11, 23)


def price(days_old: int = 10, **changes: Any) -> Price:
    details: dict[str, Any] = {
        "instance": "trn2.48xlarge", "option": "capacity_block", "region": "us-east-2",
        "source": "a test", **changes,
    }  # fmt: skip
    return Price(usd_per_hour=Decimal("35.7608"), date=TODAY - timedelta(days=days_old), **details)


def test_prices_of_one_kind_and_place_need_no_word() -> None:
    assert comparability_notes([price(), price(), None], TODAY) == []
    assert comparability_notes([], TODAY) == []


def test_different_ways_of_renting_are_told() -> None:
    (note,) = comparability_notes([price(), price(option="on_demand", region=None)], TODAY)
    assert "different ways of renting (capacity_block, on_demand)" in note


def test_different_regions_are_told() -> None:
    (note,) = comparability_notes([price(), price(region="us-west-2")], TODAY)
    assert note == "costs rest on prices of different regions (us-east-2, us-west-2)"


@pytest.mark.parametrize(("days", "is_old"), [(OLD_DAYS, False), (OLD_DAYS + 1, True)])
def test_a_price_older_than_sixty_days_is_told_with_its_date(days: int, is_old: bool) -> None:
    notes = comparability_notes([price(days)], TODAY)
    assert bool(notes) is is_old
    if is_old:
        assert notes == [
            "the price of trn2.48xlarge capacity_block us-east-2 is 61 days old (2026-09-23): "
            "look for a newer one"
        ]


def test_an_old_price_is_told_once() -> None:
    assert len(comparability_notes([price(200), price(200), price(200)], TODAY)) == 1


def test_a_price_of_the_future_is_told_and_one_of_tomorrow_is_not() -> None:
    assert age_note(price(-1), TODAY) is None
    assert "after today" in str(age_note(price(-2), TODAY))
