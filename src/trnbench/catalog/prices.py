"""The bundled price table: hourly rates of instance types, each with its date and source."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal, cast, get_args

from trnbench.catalog import read_table
from trnbench.schema.price import MAX_USD_PER_HOUR
from trnbench.schema.rent import RentOption

Standing = Literal["default", "on_request", "listed"]
"""What a row may be used for.

default: a dated list price or capacity-block rate, used where the user names no option;
on_request: spot, reserved and savings-plan rates, and rows whose source has no date, used only
where the user names the option; listed: shown, never used for a cost, because its source names no
region, rates a part of the machine, is second-hand or rounds.
"""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One published rate for one whole instance."""

    provider: str
    instance_type: str
    region: str
    """A region, or `all-commercial`, `all-govcloud`, `all` where one rate holds in several."""
    zone: str | None
    option: RentOption
    usd_per_hour: Decimal
    date: date
    standing: Standing
    source: str


@functools.cache
def price_rows() -> tuple[PriceRow, ...]:
    """Return every row of the bundled table."""
    rows = enumerate(read_table("prices.csv"), start=2)
    return tuple(parse_row(row, line) for line, row in rows)


@functools.cache
def price_rows_by_instance() -> dict[str, tuple[PriceRow, ...]]:
    """Return the rows of each instance type."""
    grouped: dict[str, list[PriceRow]] = {}
    for row in price_rows():
        grouped.setdefault(row.instance_type, []).append(row)
    return {name: tuple(rows) for name, rows in grouped.items()}


def parse_row(row: Mapping[str, str], line: int) -> PriceRow:
    """Read one row of text in the table's columns.

    Raises:
        ValueError: names the line, the column and the cell.
    """
    if not row["instance_type"]:
        raise ValueError(f"line {line}: instance_type is empty")
    for column, known in (("option", get_args(RentOption)), ("standing", get_args(Standing))):
        if row[column] not in known:
            raise ValueError(f"line {line}: {column} {row[column]!r} is not one of {known}")
    try:
        day = date.fromisoformat(row["date"])
    except ValueError as error:
        raise ValueError(f"line {line}: date {row['date']!r} is not a day as 2026-11-23") from error
    return PriceRow(
        provider=row["provider"],
        instance_type=row["instance_type"],
        region=row["region"],
        zone=row["zone"] or None,
        option=cast(RentOption, row["option"]),
        usd_per_hour=_rate(row["usd_per_hour"], line),
        date=day,
        standing=cast(Standing, row["standing"]),
        source=row["source"],
    )


def _rate(cell: str, line: int) -> Decimal:
    try:
        rate = Decimal(cell)
    except ArithmeticError as error:
        raise ValueError(f"line {line}: usd_per_hour {cell!r} is not a number") from error
    if not rate.is_finite() or not 0 < rate <= MAX_USD_PER_HOUR:
        raise ValueError(f"line {line}: usd_per_hour {cell!r} is not a price")
    return rate
