"""Price: exact, dated, sourced, and never zero."""

from datetime import date
from decimal import Decimal
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS

RATE: dict[str, Any] = {
    "usd_per_hour": "35.7608",
    "instance": "trn2.48xlarge",
    "option": "capacity_block",
    "region": "us-east-2",
    "date": "2026-07-22",
    "source": "the pricing page",
}


def test_a_price_is_read_from_text_as_it_is_written() -> None:
    price = Price.model_validate(RATE)
    assert price.usd_per_hour == Decimal("35.7608")
    assert price.date == date(2026, 7, 22)
    assert price.note is None


def test_a_price_is_written_as_text_so_that_no_digit_is_lost() -> None:
    assert '"usd_per_hour":"35.7608"' in Price.model_validate(RATE).model_dump_json()


@given(st.decimals(Decimal("0.0001"), Decimal(100_000), places=4), st.sampled_from(RENT_OPTIONS))
def test_writing_and_reading_a_price_changes_nothing(rate: Decimal, option: str) -> None:
    price = Price.model_validate({**RATE, "usd_per_hour": rate, "option": option})
    again = Price.model_validate_json(price.model_dump_json())
    assert again == price
    assert str(again.usd_per_hour) == str(rate)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("usd_per_hour", 0),
        ("usd_per_hour", "0.0000000000"),
        ("usd_per_hour", -1),
        ("usd_per_hour", 100_001),
        ("usd_per_hour", "NaN"),
        ("usd_per_hour", float("inf")),
        ("usd_per_hour", True),
        ("usd_per_hour", None),
        ("usd_per_hour", "cheap"),
        ("option", "sometimes"),
        ("date", "yesterday"),
        ("date", None),
        ("source", None),
        ("currency", "USD"),
    ],
)
def test_what_is_no_price_is_refused(key: str, value: Any) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        Price.model_validate({**RATE, key: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}


@pytest.mark.parametrize("key", list(RATE))
def test_a_price_without_one_of_its_parts_is_refused(key: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=key):
        Price.model_validate({k: v for k, v in RATE.items() if k != key})
