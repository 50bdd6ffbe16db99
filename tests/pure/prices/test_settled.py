"""Which price is taken where nothing is named: the rule of docs/prices.md."""

from datetime import date
from decimal import Decimal

from trnbench.catalog.prices import PriceRow, parse_row
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.prices.table import TableSource
from trnbench.schema.price import Price

TODAY = date(2026, 11, 23)


def row(region: str, usd: str, **changes: str) -> PriceRow:
    cells = {
        "provider": "aws", "instance_type": "a.large", "region": region, "zone": "",
        "option": "on_demand", "usd_per_hour": usd, "date": "2026-10-01", "standing": "default",
        "source": "a page",
    }  # fmt: skip
    return parse_row({**cells, **changes}, 2)


def settle(*rows: PriceRow, is_settled: bool = True, **asked: object) -> Price | NoPrice:
    request = PriceRequest(
        instance="a.large",
        today=TODAY,
        is_settled=is_settled,
        **asked,  # type: ignore[arg-type]
    )
    return TableSource(lambda: {"a.large": rows}).quote(request)


def found(answer: Price | NoPrice) -> tuple[str | None, Decimal]:
    assert isinstance(answer, Price), answer
    return answer.region, answer.usd_per_hour


def test_a_default_region_comes_before_a_cheaper_one() -> None:
    rows = row("eu-north-1", "1"), row("us-west-2", "3"), row("us-east-2", "2")
    assert found(settle(*rows)) == ("us-east-2", Decimal(2))


def test_without_a_default_region_the_cheapest_is_taken_and_said() -> None:
    answer = settle(row("eu-north-1", "2"), row("sa-east-1", "1"))
    assert found(answer) == ("sa-east-1", Decimal(1))
    assert isinstance(answer, Price)
    assert answer.note == "the cheapest of 2 regions, of which the dearest is $2"


def test_of_zones_the_cheapest_is_taken() -> None:
    rows = [
        row("us-east-1", usd, zone=zone, option="spot", standing="on_request")
        for zone, usd in (("use1-az1", "6"), ("use1-az2", "2"))
    ]
    assert found(settle(*rows, option="spot")) == ("us-east-1", Decimal(2))


def test_a_rate_without_a_date_counts_where_there_is_no_other() -> None:
    undated = row("us-east-1", "1", standing="on_request")
    assert found(settle(undated))[1] == Decimal(1)
    assert found(settle(undated, row("us-east-1", "5", date="2026-09-01")))[1] == Decimal(5)


def test_unless_it_is_settled_what_is_open_stays_refused() -> None:
    answer = settle(row("us-east-1", "1"), row("us-west-1", "2"), is_settled=False)
    assert isinstance(answer, NoPrice)
    assert answer.is_open
