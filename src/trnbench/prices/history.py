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
    grouped: dict[tuple[RentOption, str], list[PriceRow]] = {}
    for option, of_option in _by_option(rows).items():
        held = of_option if region is None else rows_of_region(of_option, region)
        for row in held:
            wide = region is not None and row.region in EVERYWHERE
            place = row.zone or (region if region is not None and wide else row.region)
            grouped.setdefault((option, place), []).append(row)
    return [Series(*key, _steps(grouped[key])) for key in sorted(grouped)]


def _by_option(rows: Iterable[PriceRow]) -> dict[RentOption, list[PriceRow]]:
    found: dict[RentOption, list[PriceRow]] = {}
    for row in rows:
        if row.standing != "listed":
            found.setdefault(row.option, []).append(row)
    return found


def _steps(rows: Sequence[PriceRow]) -> tuple[Step, ...]:
    runs: list[list[PriceRow]] = []
    for row in sorted(rows, key=lambda row: (row.date, row.region not in EVERYWHERE)):
        if runs and _is_same(row.usd_per_hour, runs[-1][0].usd_per_hour):
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


def _is_same(rate: Decimal, other: Decimal) -> bool:
    return abs(rate - other) <= SAME_RATE * other
