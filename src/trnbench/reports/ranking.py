"""Rankings as a report: measured and published runs marked, with citations and dates of prices."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from trnbench.cost.comparability import comparability_notes
from trnbench.cost.ranking import Ranking, Row
from trnbench.reports import document as doc
from trnbench.reports.texts import Writer, say_estimate, say_or_unknown
from trnbench.schema.result import MetricValue
from trnbench.units import say_count, say_interval, say_percent, say_seconds, say_usd

PARETO = "*"
PARETO_NOTE = f"{PARETO}: no other here is both cheaper and faster"
IDLE_NOTE = (
    "runs that leave billed devices idle are ranked apart: their dollars are of the whole machine, "
    "their speed of a part of it"
)
PUBLISHED_NOTE = (
    "published: as its source says, not measured by trnbench; other counts, other timers"
)


class Ranked(NamedTuple):
    """Rankings of each kind of work, and the metric that they are by."""

    rankings: Sequence[Ranking]
    metric: str


def _document(ranked: Ranked, page: doc.Page) -> doc.Document:
    parts: list[doc.Part] = []
    for ranking in ranked.rankings:
        left_out = [
            f"not ranked: {run.name} on {run.machine} ({run.origin}): {reason}"
            for run, reason in ranking.left_out
        ]
        parts.append(doc.Heading(ranking.work, level=2))
        if ranking.rows:
            rows = [_cells(row, ranked.metric) for row in ranking.rows]
            parts.append(doc.Table(_columns(ranked.metric), rows, notes=left_out))
        else:
            parts.append(doc.Notes(left_out))
    notes = doc.Notes(_notes(ranked.rankings, page))
    return doc.Document([*parts, notes], backing=lambda: _backing(ranked))


def _backing(ranked: Ranked) -> doc.Backing:
    from trnbench.reports.backing import backing_of_rankings

    def name(row: Row) -> str:
        return f"{_where(row)}, {row.run.precision} ({row.run.origin})"

    return backing_of_rankings(
        ranked.rankings, ranked.metric, name, lambda row: figure_cell(row.value, ranked.metric)
    )


def _columns(metric: str) -> tuple[doc.Column, ...]:
    return doc.columns(
        ">", "", "machine", "precision", f">{metric} [95 %]", "?>tokens/s", ">$/h", "option",
        "?>break-even $/h", "from",
    )  # fmt: skip


def _cells(row: Row, metric: str) -> tuple[str, ...]:
    run = row.run
    origin = f"{run.origin} {run.day}: {run.source}"
    return (
        str(row.place),
        PARETO if row.is_pareto else "",
        _where(row),
        run.precision,
        figure_cell(row.value, metric),
        say_or_unknown(run.metrics["tokens_per_second"].value, "{:,.0f}".format),
        say_or_unknown(run.usd_per_hour, "{:,.2f}".format),
        f"{run.price.option} {run.price.date}" if run.price else "",
        say_or_unknown(row.break_even_usd_per_hour, "{:,.2f}".format),
        "; ".join(filter(None, (origin, run.doubt, run.idle))),
    )


def _where(row: Row) -> str:
    copies = row.trained.copies if row.trained else 1
    where = f"{row.run.machine}, {row.run.layout}" if row.run.layout else row.run.machine
    return where if copies == 1 else f"{copies:,} times ({where})"


def figure_cell(figure: MetricValue, metric: str) -> str:
    """Write a figure of a metric with its range, if it has one."""
    say = _sayer(metric)

    def say_ends(value: float, low: float, high: float) -> str:
        if say is say_count:
            return say_interval(value, low, high)
        return f"{say(value)} [{say(low)}, {say(high)}]"

    return say_estimate(figure.value, figure.low, figure.high, Writer(say, say_ends))


def _sayer(metric: str) -> Callable[[float], str]:
    if "usd_per" in metric or (metric.endswith("_usd") and metric != "tokens_per_usd"):
        return say_usd
    if metric.startswith("mfu") or metric == "hfu":
        return say_percent
    return say_seconds if metric.endswith("_seconds") else say_count


def _notes(rankings: Sequence[Ranking], page: doc.Page) -> list[str]:
    rows = [row for ranking in rankings for row in ranking.rows]
    notes = []
    if any(row.is_pareto for row in rows):
        notes.append(PARETO_NOTE)
    if any(row.run.origin == "published" for row in rows):
        notes.append(PUBLISHED_NOTE)
    if any(row.run.idle for row in rows):
        notes.append(IDLE_NOTE)
    if page.today is not None:
        notes += comparability_notes([row.run.price for row in rows], page.today)
    return notes


def _rows(ranked: Ranked) -> doc.Rows:
    """Return a row for each place; what was left out has no place and its reason."""
    items: list[dict[str, Any]] = []
    for ranking in ranked.rankings:
        head = {"work": ranking.work, "metric": ranked.metric}
        items += [{**head, "row": row, "run": row.run} for row in ranking.rows]
        items += [{**head, "run": run, "reason": reason} for run, reason in ranking.left_out]
    return doc.rows_at(
        items, "work", "row.place:int", "row.is_pareto:flag", "run.origin", "run.name",
        "run.source", "date=run.day:day", "run.machine", "run.instances:int",
        "row.trained.copies:int", "run.model", "run.sequence_length:int", "run.precision",
        "metric", "row.value.value:float", "ci95_low=row.value.low:float",
        "ci95_high=row.value.high:float",
        "tokens_per_second=run.metrics.tokens_per_second.value:float",
        "tokens_per_second_per_device=run.metrics.tokens_per_second_per_device.value:float",
        "tokens_per_second_per_chip=run.metrics.tokens_per_second_per_chip.value:float",
        "tokens_per_second_per_instance=run.metrics.tokens_per_second_per_instance.value:float",
        "train_usd=row.trained.cost.usd:float",
        "train_seconds=row.trained.cost.total_seconds:float", "run.usd_per_hour:float",
        "price_option=run.price.option", "price_region=run.price.region",
        "price_date=run.price.date:day", "price_source=run.price.source",
        "row.break_even_usd_per_hour:float", "run.doubt", "run.idle", "reason", "run.layout",
    )  # fmt: skip


def _record(ranked: Ranked, page: doc.Page) -> dict[str, Any]:
    records: list[dict[str, Any]] = _rows(ranked).records()
    for record in records:
        if record["place"] is not None:
            record["is_pareto"] = bool(record["is_pareto"])
    notes = _notes(ranked.rankings, page)
    return {"metric": ranked.metric, "ranked": records, "notes": notes}


REPORT: doc.Report[Ranked] = doc.Report(
    title="Ranking", document=_document, rows=_rows, record=_record
)
