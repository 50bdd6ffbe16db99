"""The table of prices, what AWS answers now, and how rates moved, as reports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any, NamedTuple

from trnbench.catalog.prices import PriceRow
from trnbench.prices.base import NoPrice
from trnbench.prices.history import Series, Step, price_history
from trnbench.reports import document as doc
from trnbench.reports.plot import Points, plot_by_day
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, RentOption

HEADINGS = ("instance", "option", "region", "$/h", "date", "standing", "source")


def _document(rows: Sequence[PriceRow], page: doc.Page) -> doc.Document:
    return doc.Document(
        [doc.Table(doc.columns(HEADINGS, figures=("$/h",)), [_rate(row) for row in rows])]
    )


def _rate(row: PriceRow) -> tuple[str, ...]:
    return (
        row.instance_type,
        row.option,
        row.zone or row.region,
        str(row.usd_per_hour),
        row.date.isoformat(),
        row.standing,
        row.source,
    )


def _rows(rows: Sequence[PriceRow]) -> doc.Rows:
    return doc.rows_at(rows, *PriceRow.__dataclass_fields__)


REPORT: doc.Report[Sequence[PriceRow]] = doc.Report(
    document=_document,
    rows=_rows,
    record=lambda rows, page: {"prices": [asdict(row) for row in rows]},
)


# --- what AWS answers now ---------------------------------------------------------------------

LIVE_HEADINGS = ("option", "zone", "$/h", "asked at (UTC)", "source")

Answers = Mapping[RentOption, Price | NoPrice]


def _live_document(answers: Answers, page: doc.Page) -> doc.Document:
    rows = [_live_cells(option, answer) for option, answer in answers.items()]
    return doc.Document([doc.Table(doc.columns(LIVE_HEADINGS, figures=("$/h",)), rows)])


def _live_record(option: RentOption, answer: Price | NoPrice) -> dict[str, Any]:
    if isinstance(answer, NoPrice):
        return {"option": option, "reason": answer.reason, "is_failure": answer.is_failure}
    return answer.model_dump(mode="json")


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
    records = [_live_record(option, answer) for option, answer in answers.items()]
    return doc.rows_at(
        records, "option", "instance", "zone", "region", "usd_per_hour", "retrieved_at", "source",
        "reason",
    )  # fmt: skip


LIVE: doc.Report[Answers] = doc.Report(
    document=_live_document,
    rows=_live_rows,
    record=lambda answers, page: {"live": [_live_record(o, a) for o, a in answers.items()]},
)


# --- how the rates of one instance moved --------------------------------------------------------

PAST_HEADINGS = (
    "option",
    "where",
    "$/h",
    "change",
    "first told",
    "last told",
    "source of the first",
)

MARKS: dict[RentOption, str] = {
    "on_demand": "D",
    "spot": "s",
    "capacity_block": "B",
    "savings_plan_1y": "1",
    "savings_plan_3y": "3",
    "reserved_1y": "r",
    "reserved_3y": "R",
}


class History(NamedTuple):
    """What the dated rows of one instance tell."""

    instance: str
    series: Sequence[Series]
    rows_left_out: int
    """Rows that their own source doubts."""


def history_of(instance: str, rows: Sequence[PriceRow], region: str | None) -> History:
    """Return the past of the rows' rates, in one region or in all."""
    here = [row for row in rows if region is None or row.region == region]
    left_out = sum(row.standing == "listed" for row in here)
    return History(instance, price_history(rows, region), left_out)


def _history_document(told: History, page: doc.Page) -> doc.Document:
    """Return a table, and a plot only where the rows are of two days or more."""
    return doc.Document([*_history_parts(told)])


def _history_parts(told: History) -> Iterator[doc.Part]:
    steps = [(series, step) for series in told.series for step in series.steps]
    if steps:
        cells = [_cells(series, step) for series, step in steps]
        yield doc.Table(doc.columns(PAST_HEADINGS, figures=("$/h", "change")), cells)
    days = sorted({row.date for _, step in steps for row in step.rows})
    if len(days) > 1:
        points = _points(told.series)
        yield doc.Drawing(lambda width: plot_by_day(points, "$ an hour", width))
    notes = [_note(told.instance, told.series, days)]
    if told.rows_left_out:
        notes.append(
            "Left out: rows that their own source doubts (standing `listed`), "
            f"{told.rows_left_out} of them; `trnbench prices {told.instance}` shows them."
        )
    yield doc.Lines(notes)


def _note(instance: str, history: Sequence[Series], days: Sequence[date]) -> str:
    if not days:
        return f"No rate of {instance} that may be used is dated, so there is no history."
    if len(days) == 1:
        return (
            f"The bundled table has rates of one day only, {days[0].isoformat()}: that is no "
            "history, and nothing is drawn."
        )
    changes = sum(len(series.steps) - 1 for series in history)
    how_many = {0: "No rate changed", 1: "One change"}.get(changes, f"{changes} changes")
    return (
        f"{how_many} in {len(days)} days of the bundled table, {days[0].isoformat()} to "
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


def _series_record(series: Series) -> dict[str, Any]:
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


def _history_rows(told: History) -> doc.Rows:
    steps = [
        {"series": series, "step": step, "source": step.rows[0].source}
        for series in told.series
        for step in series.steps
    ]
    return doc.rows_at(
        steps, "series.option", "series.place", "step.usd_per_hour", "step.change",
        "first_told=step.since", "last_told=step.until", "source",
    )  # fmt: skip


HISTORY: doc.Report[History] = doc.Report(
    document=_history_document,
    rows=_history_rows,
    record=lambda told, page: {
        "instance": told.instance,
        "history": [_series_record(series) for series in told.series],
        "rows_left_out": told.rows_left_out,
    },
)
