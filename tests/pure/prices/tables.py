"""Made-up price tables, and ways to ask them."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from trnbench.catalog.prices import PriceRow, Standing
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.prices.table import TableSource
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

TODAY = date(2026, 11, 23)


def row(
    usd: str,
    option: RentOption = "on_demand",
    *,
    region: str = "us-east-1",
    zone: str | None = None,
    days_old: int = 100,
    standing: Standing = "default",
    instance: str = "p5.48xlarge",
) -> PriceRow:
    return PriceRow(
        provider="aws",
        instance_type=instance,
        region=region,
        zone=zone,
        option=option,
        usd_per_hour=Decimal(usd),
        date=TODAY - timedelta(days=days_old),
        standing=standing,
        source=f"page of {usd}",
    )


def table(rows: Sequence[PriceRow]) -> TableSource:
    grouped: dict[str, list[PriceRow]] = defaultdict(list)
    for each in rows:
        grouped[each.instance_type].append(each)
    return TableSource(lambda: grouped, name="the table")


def ask(
    rows: Sequence[PriceRow] | None,
    *,
    instance: str | None = "p5.48xlarge",
    option: RentOption | None = None,
    region: str | None = None,
    here: bool = False,
    zone: str | None = None,
    today: date = TODAY,
) -> Price | NoPrice:
    """Ask a made-up table, or the bundled one where `rows` is None."""
    source = TableSource() if rows is None else table(rows)
    request = PriceRequest(
        instance=instance,
        option=option,
        region=region,
        zone=zone,
        is_this_machine=here,
        today=today,
    )
    return source.quote(request)


def price(answer: Price | NoPrice) -> Price:
    assert isinstance(answer, Price), answer
    return answer


def usd(answer: Price | NoPrice) -> str:
    return str(price(answer).usd_per_hour)


def reason(answer: Price | NoPrice) -> str:
    assert isinstance(answer, NoPrice), answer
    assert "--usd-per-hour" in answer.hint
    return answer.reason
