"""The table of prices, what AWS answers now, and how rates moved, as reports."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from functools import partial
from typing import Any, Literal, NamedTuple

from trnbench.catalog.prices import PriceRow
from trnbench.prices.base import NoPrice
from trnbench.prices.history import Series, Step, price_history
from trnbench.reports import document as doc
from trnbench.reports.texts import plural
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

COLUMNS = doc.columns("instance", "option", "region", ">$/h", "?date", "?standing", "source")


def _document(rows: Sequence[PriceRow], page: doc.Page) -> doc.Document:
    cells = [
        (
            row.instance_type,
            row.option,
            row.zone or row.region,
            str(row.usd_per_hour),
            row.date.isoformat(),
            row.standing,
            row.source,
        )
        for row in rows
    ]
    return doc.Document([doc.Table(COLUMNS, cells)])


def _rows(rows: Sequence[PriceRow]) -> doc.Rows:
    return doc.rows_at(
        rows, "provider", "instance_type", "region", "zone", "option", "usd_per_hour:float",
        "date:day", "standing", "source",
    )  # fmt: skip


REPORT: doc.Report[Sequence[PriceRow]] = doc.Report(
    title="Prices",
    document=_document,
    rows=_rows,
    record=lambda rows, page: {"prices": [asdict(row) for row in rows]},
)


# --- what AWS answers now -------------------------------------------------------------------------

LIVE_COLUMNS = doc.columns("option", "zone", ">$/h", "asked at (UTC)", "source")

Answers = Mapping[RentOption, Price | NoPrice]


def _live_document(answers: Answers, page: doc.Page) -> doc.Document:
    cells = [_live_cells(option, answer) for option, answer in answers.items()]
    return doc.Document([doc.Table(LIVE_COLUMNS, cells)])


def _live_cells(option: RentOption, answer: Price | NoPrice) -> tuple[str, ...]:
    if isinstance(answer, NoPrice):
        return (option, "", doc.UNKNOWN, "", answer.reason)
    note = f" ({answer.note})" if answer.note else ""
    return (
        option,
        answer.zone or answer.region or "",
        str(answer.usd_per_hour),
        (answer.retrieved_at or "")[:16].replace("T", " "),
        f"{answer.source}{note}",
    )


def _live_rows(answers: Answers) -> doc.Rows:
    return doc.rows_at(
        _live_records(answers, "python"), "option", "instance", "zone", "region",
        "usd_per_hour:float", "retrieved_at:time", "source", "reason",
    )  # fmt: skip


def _live_records(answers: Answers, mode: Literal["json", "python"]) -> list[dict[str, Any]]:
    return [
        {"option": option, "reason": answer.reason, "is_failure": answer.is_failure}
        if isinstance(answer, NoPrice)
        else answer.model_dump(mode=mode)
        for option, answer in answers.items()
    ]


LIVE: doc.Report[Answers] = doc.Report(
    title="Live prices",
    document=_live_document,
    rows=_live_rows,
    record=lambda answers, page: {"live": _live_records(answers, "json")},
)


# --- how the rates of one instance moved ----------------------------------------------------------

PAST_COLUMNS = doc.columns(
    "option", "where", ">$/h", ">change", "first seen", "last seen", "source of the first"
)


class History(NamedTuple):
    """What the dated rows of one instance say."""

    instance: str
    series: Sequence[Series]
    rows_left_out: int
    """Rows that their own source doubts."""


def history_of(instance: str, rows: Sequence[PriceRow], region: str | None) -> History:
    """Return the past of the rows' rates, in one region or in all."""
    here = [row for row in rows if region is None or row.region == region]
    left_out = sum(row.standing == "listed" for row in here)
    return History(instance, price_history(rows, region), left_out)


def _history_document(history: History, page: doc.Page) -> doc.Document:
    """Return a table; a page also has a chart, if the rows are of two days or more."""
    parts: list[doc.Part] = []
    steps = [(series, step) for series in history.series for step in series.steps]
    if steps:
        cells = [_past_cells(series, step) for series, step in steps]
        parts.append(doc.Table(PAST_COLUMNS, cells))
    days = sorted({row.date for _, step in steps for row in step.rows})
    notes = [_note(history, days)]
    if history.rows_left_out:
        notes.append(
            "Left out: rows that their own source doubts (standing `listed`), "
            f"{history.rows_left_out} of them; `trnbench prices {history.instance}` shows them."
        )
    backing = partial(_history_backing, history) if len(days) > 1 else doc.Backing
    return doc.Document([*parts, doc.Lines(notes)], backing=backing)


def _history_backing(history: History) -> doc.Backing:
    from trnbench.reports import charts
    from trnbench.reports.axes import Axis

    lines = {
        f"{series.option}, {series.place}": [
            (row.date.isoformat(), float(row.usd_per_hour))
            for step in series.steps
            for row in step.rows
        ]
        for series in _most_seen(history.series)
    }
    chart = charts.lines(
        name="price-history",
        title=f"Price of {history.instance} over time",
        sentence="Dollars an hour on the days on which the bundled table saw them; a rate is drawn "
        "as if it held until it was seen again."
        + charts.say_cut(len(lines), charts.MOST_LINES, "most often seen"),
        x=Axis(title="day"),
        y=Axis(title="$ an hour", format="$,.3~r", is_logarithmic=False),
        series=lines,
        is_stepped=True,
        has_points=True,
        is_time=True,
    )
    return doc.Backing(charts=[chart])


def _most_seen(series: Sequence[Series]) -> list[Series]:
    """Put the most often seen of each way of renting first, then the second of each, and so on."""
    by_rows = sorted(series, key=lambda each: -sum(len(step.rows) for step in each.steps))
    options = [each.option for each in by_rows]
    ranks = [options[:at].count(option) for at, option in enumerate(options)]
    order = sorted(range(len(by_rows)), key=lambda at: ranks[at])
    return [by_rows[at] for at in order]


def _past_cells(series: Series, step: Step) -> tuple[str, ...]:
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


def _note(history: History, days: Sequence[date]) -> str:
    if not days:
        return f"No rate of {history.instance} that may be used is dated, so there is no history."
    if len(days) == 1:
        return (
            f"The bundled table has rates of one day only, {days[0].isoformat()}, which "
            "is no history: nothing is drawn."
        )
    changes = sum(len(series.steps) - 1 for series in history.series)
    how_many = {0: "No rate changed", 1: "One change"}.get(changes, plural(changes, "change"))
    return (
        f"{how_many} in {len(days)} days of the bundled table, {days[0].isoformat()} to "
        f"{days[-1].isoformat()}. Rates between these days are not known."
    )


def _history_rows(history: History) -> doc.Rows:
    steps = [
        {"series": series, "step": step, "source": step.rows[0].source}
        for series in history.series
        for step in series.steps
    ]
    return doc.rows_at(
        steps, "series.option", "series.place", "step.usd_per_hour:float", "step.change:float",
        "first_told=step.since:day", "last_told=step.until:day", "source",
    )  # fmt: skip


def _history_record(history: History, page: doc.Page) -> dict[str, Any]:
    def of_step(step: Step) -> dict[str, Any]:
        return {
            "usd_per_hour": step.usd_per_hour,
            "first_told": step.since,
            "last_told": step.until,
            "change": None if step.change is None else float(step.change),
            "rows": [asdict(row) for row in step.rows],
        }

    return {
        "instance": history.instance,
        "history": [
            {
                "option": series.option,
                "place": series.place,
                "steps": [of_step(step) for step in series.steps],
            }
            for series in history.series
        ],
        "rows_left_out": history.rows_left_out,
    }


HISTORY: doc.Report[History] = doc.Report(
    title="Prices over time", document=_history_document, rows=_history_rows, record=_history_record
)
