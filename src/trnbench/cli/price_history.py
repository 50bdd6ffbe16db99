"""`trnbench prices INSTANCE --history`: which rate held when, as a table and drawn."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from trnbench.catalog.prices import PriceRow
from trnbench.cli.listing import show_table
from trnbench.cli.output import page_of_stdout
from trnbench.cli.sheet import show_text
from trnbench.prices.history import Series, Step, price_history
from trnbench.reports.clean import escaped_json
from trnbench.reports.plot import Points, plot_by_day
from trnbench.schema.rent import RENT_OPTIONS, RentOption

HEADINGS = ("option", "where", "$/h", "change", "first told", "last told", "source of the first")
FIGURES = (HEADINGS.index("$/h"), HEADINGS.index("change"))

MARKS: dict[RentOption, str] = {
    "on_demand": "D",
    "spot": "s",
    "capacity_block": "B",
    "savings_plan_1y": "1",
    "savings_plan_3y": "3",
    "reserved_1y": "r",
    "reserved_3y": "R",
}


def show_history(
    instance: str, rows: Sequence[PriceRow], region: str | None, *, as_json: bool
) -> None:
    """Print what the rows tell of the past; a plot only where they tell of two days or more."""
    history = price_history(rows, region)
    here = [row for row in rows if region is None or row.region == region]
    left_out = sum(row.standing == "listed" for row in here)
    if as_json:
        document = {
            "instance": instance,
            "history": [_told(series) for series in history],
            "rows_left_out": left_out,
        }
        sys.stdout.write(escaped_json(json.dumps(document, indent=1, default=str)) + "\n")
        return
    if history:
        cells = [_cells(series, step) for series in history for step in series.steps]
        show_table(HEADINGS, cells, FIGURES)
    days = sorted({row.date for each in history for step in each.steps for row in step.rows})
    sys.stdout.write("\n")
    if len(days) > 1:
        plot = plot_by_day(_points(history), "$ an hour", page_of_stdout().width)
        sys.stdout.write(f"{plot}\n")
    show_text(_note(instance, history, days))
    if left_out:
        show_text(
            f"Left out: rows that their own source doubts (standing `listed`), {left_out} of them; "
            f"`trnbench prices {instance}` shows them."
        )


def _note(instance: str, history: Sequence[Series], days: Sequence[date]) -> str:
    if not days:
        return f"No rate of {instance} that may be used is dated, so there is no history."
    if len(days) == 1:
        return (
            f"The bundled table tells of one day only, {days[0].isoformat()}: that is no history, "
            "and nothing is drawn."
        )
    changes = sum(len(series.steps) - 1 for series in history)
    how_many = {0: "No rate changed", 1: "One change"}.get(changes, f"{changes} changes")
    return (
        f"{how_many} in {len(days)} days that the bundled table tells of, {days[0].isoformat()} to "
        f"{days[-1].isoformat()}. What held between two of them is not known."
    )


def _cells(series: Series, step: Step) -> tuple[str, ...]:
    later = len(step.rows) - 1
    return (
        series.option,
        series.place,
        str(step.usd_per_hour),
        "" if step.change is None else f"{step.change:+.1%}",
        step.since.isoformat(),
        step.until.isoformat(),
        step.rows[0].source + (f" (and {later} later)" if later else ""),
    )


def _told(series: Series) -> dict[str, object]:
    return {
        "option": series.option,
        "place": series.place,
        "steps": [
            {
                "usd_per_hour": step.usd_per_hour,
                "first_told": step.since,
                "last_told": step.until,
                "change": None if step.change is None else float(step.change),
                "rows": [asdict(row) for row in step.rows],
            }
            for step in series.steps
        ],
    }


def _points(history: Sequence[Series]) -> list[Points]:
    """Return one kind of points for each option, of all its places."""
    return [
        Points(
            MARKS[option],
            option,
            [
                (row.date, float(row.usd_per_hour))
                for series in history
                if series.option == option
                for step in series.steps
                for row in step.rows
            ],
        )
        for option in RENT_OPTIONS
    ]
