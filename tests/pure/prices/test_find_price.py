"""Which source answers: the user's own rate first, then the table, then a reason."""

from datetime import date
from decimal import Decimal

from trnbench.prices import PRICE_SOURCES, find_price
from trnbench.prices.base import NoPrice, PriceRequest, UserRateSource
from trnbench.prices.table import TableSource
from trnbench.schema.price import Price

TODAY = date(2026, 11, 23)


def request(instance: str | None, rate: str | None = None) -> PriceRequest:
    return PriceRequest(
        instance=instance,
        option=None,
        region=None,
        usd_per_hour=None if rate is None else Decimal(rate),
        today=TODAY,
    )


def test_the_users_rate_wins_over_the_table() -> None:
    assert find_price(request("trn2.48xlarge", "12.50")) == Price(
        usd_per_hour=Decimal("12.50"),
        instance="trn2.48xlarge",
        option="user",
        region=None,
        date=TODAY,
        source="given by the user",
    )


def test_the_users_rate_needs_no_instance() -> None:
    answer = find_price(request(None, "0.35"))
    assert isinstance(answer, Price)
    assert (answer.instance, answer.usd_per_hour) == (None, Decimal("0.35"))


def test_without_a_rate_of_the_users_the_table_answers() -> None:
    answer = find_price(request("trn2.48xlarge"))
    assert isinstance(answer, Price)
    assert answer.option == "capacity_block"


def test_the_last_reason_is_the_one_that_is_told() -> None:
    answer = find_price(request(None))
    assert isinstance(answer, NoPrice)
    assert answer.reason == "the price of this machine is not known"


def test_a_user_who_gave_no_rate_is_no_source() -> None:
    assert isinstance(UserRateSource().quote(request("trn2.48xlarge")), NoPrice)


def test_without_sources_there_is_no_price() -> None:
    answer = find_price(request("trn2.48xlarge", "12.50"), ())
    assert isinstance(answer, NoPrice)
    assert answer.hint


def test_sources_are_asked_in_the_order_that_is_written() -> None:
    assert [type(source) for source in PRICE_SOURCES] == [UserRateSource, TableSource]
