"""How a table's rates moved: of each way of renting, place by place, which rate held when.

A table has the days on which a rate was seen and nothing of the days between, so a step has the
first and the last day of its rate, and nothing is drawn through the gap to the next.
Rows of standing `listed` are left out: rounded or second-hand figures would look like changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from trnbench.catalog.prices import PriceRow
from trnbench.prices.table import EVERYWHERE, rows_of_region
from trnbench.schema.rent import RentOption

SAME_RATE = Decimal("0.0001")
"""Relative difference up to which two sources state one rate, cut at different decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A rate, and the days on which it was seen."""

    usd_per_hour: Decimal
    """As its first row has it."""
    since: date
    until: date
    change: Decimal | None
    """Over the rate before, relative; None of the first."""
    rows: tuple[PriceRow, ...]
    """With this rate, by day; never empty."""


@dataclass(frozen=True, slots=True)
class Series:
    """What one way of renting cost in one place, by day."""

    option: RentOption
    place: str
    """A zone, a region, or a name for many regions."""
    steps: tuple[Step, ...]


def price_history(rows: Iterable[PriceRow], region: str | None = None) -> list[Series]:
    """Return the steps of each option and place of one instance type, in the order of their names.

    With a region, rates stated for many regions count there by the table's rule, and are in
    that region's series; None keeps every place by itself.
    """
    dated = [row for row in rows if row.standing != "listed"]
    grouped: dict[tuple[RentOption, str], list[PriceRow]] = {}
    for option in {row.option for row in dated}:
        held = [row for row in dated if row.option == option]
        if region is not None:
            held = rows_of_region(held, region)
        for row in held:
            place = region if region is not None and row.region in EVERYWHERE else row.region
            grouped.setdefault((option, row.zone or place), []).append(row)
    return [Series(*key, _steps(grouped[key])) for key in sorted(grouped)]


def _steps(rows: Sequence[PriceRow]) -> tuple[Step, ...]:
    runs: list[list[PriceRow]] = []
    for row in sorted(rows, key=lambda row: (row.date, row.region not in EVERYWHERE)):
        rate = runs[-1][0].usd_per_hour if runs else None
        if rate is not None and abs(row.usd_per_hour - rate) <= SAME_RATE * rate:
            runs[-1].append(row)
        else:
            runs.append([row])
    before = [None, *(run[0].usd_per_hour for run in runs)]
    return tuple(
        Step(
            usd_per_hour=run[0].usd_per_hour,
            since=run[0].date,
            until=run[-1].date,
            change=None if rate is None else run[0].usd_per_hour / rate - 1,
            rows=tuple(run),
        )
        for run, rate in zip(runs, before, strict=False)
    )
