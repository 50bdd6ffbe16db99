"""A price from a table: which row is taken by option, date and instance, or why there is none."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.pure.prices.tables import TODAY, ask, price, reason, row, usd
from trnbench.prices.base import NoPrice
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, RentOption


def test_a_price_says_of_what_where_when_how_and_by_whom() -> None:
    assert ask([row("55.04")]) == Price(
        usd_per_hour=Decimal("55.04"),
        instance="p5.48xlarge",
        option="on_demand",
        region="us-east-1",
        date=TODAY - timedelta(days=100),
        source="page of 55.04",
    )


# --- option --------------------------------------------------------------------------------------


def test_on_demand_is_taken_where_it_is_sold() -> None:
    assert usd(ask([row("31", "capacity_block"), row("55", "on_demand")])) == "55"


def test_a_capacity_block_is_taken_where_nothing_is_sold_on_demand() -> None:
    rows = [row("35", "capacity_block"), row("15", "spot", standing="on_request")]
    assert price(ask(rows)).option == "capacity_block"


def test_a_capacity_block_is_taken_where_the_on_demand_rate_is_only_on_request() -> None:
    rows = [row("55", standing="on_request"), row("35", "capacity_block")]
    assert price(ask(rows)).option == "capacity_block"


@pytest.mark.parametrize("option", RENT_OPTIONS)
def test_an_option_that_is_named_is_taken(option: RentOption) -> None:
    rows = [
        row(str(10 + i), each, standing="on_request" if i else "default")
        for i, each in enumerate(RENT_OPTIONS)
    ]
    assert price(ask(rows, option=option)).option == option


def test_an_option_that_is_not_sold_is_told_with_those_that_are() -> None:
    rows = [row("55"), row("30", "reserved_1y", standing="on_request"), row("1", "spot")]
    answer = ask(rows, option="capacity_block")
    assert reason(answer) == "the table has no capacity_block rate of p5.48xlarge"
    assert isinstance(answer, NoPrice)
    assert "it has: on_demand, reserved_1y, spot" in answer.hint


def test_what_is_only_on_request_is_not_taken_unasked() -> None:
    rows = [
        row("15", "spot", standing="on_request"),
        row("30", "reserved_1y", standing="on_request"),
        row("55", "on_demand", standing="on_request"),
    ]
    answer = ask(rows)
    assert reason(answer) == "the table has no on_demand or capacity_block rate of p5.48xlarge"
    assert usd(ask(rows, option="on_demand")) == "55"


@pytest.mark.parametrize("option", [None, "on_demand"])
def test_a_listed_rate_is_never_taken(option: RentOption | None) -> None:
    assert "no on_demand" in reason(ask([row("55", standing="listed")], option=option))
    rows = [row("55", days_old=90), row("99", standing="listed", days_old=1)]
    assert usd(ask(rows, option=option)) == "55"


def test_where_every_rate_is_doubted_it_is_told_that_none_may_be_used() -> None:
    answer = ask([row("55", standing="listed")])
    assert isinstance(answer, NoPrice)
    assert "none that may be used" in answer.hint


# --- date ----------------------------------------------------------------------------------------


def test_the_newest_rate_is_taken() -> None:
    rows = [row("60", days_old=50), row("84", days_old=500), row("63", days_old=10)]
    assert usd(ask(rows)) == "63"


def test_a_rate_that_begins_later_is_not_taken_yet() -> None:
    rows = [row("47", days_old=-1), row("55", days_old=10)]
    assert usd(ask(rows)) == "55"
    assert usd(ask(rows, today=TODAY + timedelta(days=1))) == "47"


def test_a_rate_counts_from_its_very_day() -> None:
    assert usd(ask([row("47", days_old=0), row("55", days_old=10)])) == "47"


def test_a_table_of_later_rates_has_none_today() -> None:
    answer = ask([row("47", days_old=-1)])
    assert reason(answer) == (
        "the table has no rate of p5.48xlarge that holds yet: its first is dated 2026-11-24, after "
        "2026-11-23"
    )
    assert isinstance(answer, NoPrice)
    assert answer.hint.startswith("look at that date, and at this machine's")


# --- instance ------------------------------------------------------------------------------------


def test_a_machine_without_a_name_has_no_price() -> None:
    assert reason(ask([row("55")], instance=None)) == "the price of this machine is not known"


def test_an_unknown_instance_is_told_with_its_nearest() -> None:
    answer = ask([row("55")], instance="p5.48xlrge")
    assert reason(answer) == "p5.48xlrge is not in the table"
    assert isinstance(answer, NoPrice)
    assert answer.hint.startswith("did you mean p5.48xlarge")


def test_an_instance_like_no_other_is_offered_none() -> None:
    answer = ask([row("55")], instance="zzzzzz")
    assert isinstance(answer, NoPrice)
    assert "did you mean" not in answer.hint


def test_a_known_instance_without_a_rate_is_not_called_unknown() -> None:
    assert reason(ask([row("55")], instance="trn2.48xlarge")) == (
        "the table has no rate of trn2.48xlarge"
    )


def test_a_recognised_machine_that_hides_its_region_has_no_price() -> None:
    rows = [row("55", region="us-east-1")]
    answer = ask(rows, here=True)
    assert reason(answer) == "this p5.48xlarge does not say which region it is in"
    assert usd(ask(rows, here=True, region="us-east-1")) == "55"


def test_a_recognised_machine_gets_no_other_regions_rate() -> None:
    assert "in eu-west-2" in reason(ask([row("55")], here=True, region="eu-west-2"))
