"""Rankings as a report, measured and published runs marked.

A published figure never stands without its citation, nor a price without its date.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from trnbench.cost.break_even import fairness_notes
from trnbench.cost.ranking import TO_TRAIN, RankedRun, Ranking, Row
from trnbench.reports import document as doc
from trnbench.schema.result import MetricValue
from trnbench.units import say_count, say_interval, say_percent, say_seconds, say_usd

PARETO = "*"
PARETO_NOTE = f"{PARETO}: no other here is both cheaper and faster"
PUBLISHED_NOTE = (
    "published: as its source says, not measured by trnbench; other counts, other timers"
)


class Ranked(NamedTuple):
    """Rankings of each kind of work, and the metric that they are by."""

    rankings: Sequence[Ranking]
    metric: str


def _document(ranked: Ranked, page: doc.Page) -> doc.Document:
    def parts() -> Iterator[doc.Part]:
        for ranking in ranked.rankings:
            yield doc.Heading(ranking.work, level=2)
            left_out = list(_left_out(ranking))
            if ranking.rows:
                rows = [_row(row, ranked.metric) for row in ranking.rows]
                yield doc.Table(_columns(ranked.metric), rows, notes=left_out)
            else:
                yield doc.Notes(left_out, wrap=False)
        yield doc.Notes(_notes(ranked.rankings, page), wrap=False)

    return doc.Document([*parts()])


def _columns(metric: str) -> tuple[doc.Column, ...]:
    value = f"{metric} [95 %]"
    named = doc.columns(
        ("machine", "precision", value, "tokens/s", "$/h", "option", "break-even $/h", "from"),
        figures=(value, "tokens/s", "$/h", "break-even $/h"),
    )
    return (doc.Column("", is_figure=True), doc.Column(""), *named)


def _row(row: Row, metric: str) -> tuple[str, ...]:
    run = row.run
    speed, price = run.metrics["tokens_per_second"].value, run.price
    usd = run.usd_per_hour
    return (
        str(row.place),
        PARETO if row.is_pareto else "",
        _machine(row),
        run.precision,
        _figure(row.value, metric),
        doc.UNKNOWN if speed is None else f"{speed:,.0f}",
        doc.UNKNOWN if usd is None else f"{usd:,.2f}",
        "" if price is None else f"{price.option} {price.date}",
        doc.UNKNOWN
        if row.break_even_usd_per_hour is None
        else f"{row.break_even_usd_per_hour:,.2f}",
        _origin(run),
    )


def _machine(row: Row) -> str:
    copies = row.trained.copies if row.trained else 1
    machine = row.run.machine
    return machine if copies == 1 else f"{copies:,} times ({machine})"


def _origin(run: RankedRun) -> str:
    told = f"{run.origin} {run.day}: {run.source}"
    return f"{told}; {run.doubt}" if run.doubt else told


def _figure(value: MetricValue, metric: str) -> str:
    if value.value is None:
        return doc.UNKNOWN
    say = _sayer(metric)
    if value.low is None or value.high is None:
        return say(value.value)
    if say is say_count:
        return say_interval(value.value, value.low, value.high)
    return f"{say(value.value)} [{say(value.low)}, {say(value.high)}]"


def _sayer(metric: str) -> Callable[[float], str]:
    if metric == "train_usd" or "usd_per" in metric or metric.endswith("_usd"):
        return say_usd if metric != "tokens_per_usd" else say_count
    if metric in ("mfu", "mfu_full", "mfu_used_devices", "mfu_bf16_equivalent", "hfu"):
        return say_percent
    return say_seconds if metric.endswith("_seconds") else say_count


def _left_out(ranking: Ranking) -> Iterable[str]:
    for run, reason in ranking.left_out:
        yield f"not ranked: {run.name} on {run.machine} ({run.origin}): {reason}"


def _notes(rankings: Sequence[Ranking], page: doc.Page) -> list[str]:
    rows = [row for ranking in rankings for row in ranking.rows]
    notes = []
    if any(row.is_pareto for row in rows):
        notes.append(PARETO_NOTE)
    if any(row.run.origin == "published" for row in rows):
        notes.append(PUBLISHED_NOTE)
    if page.today is not None:
        notes += fairness_notes([row.run.price for row in rows], page.today)
    return notes


def _records(rankings: Sequence[Ranking], metric: str) -> Iterable[dict[str, doc.Value]]:
    for ranking in rankings:
        for row in ranking.rows:
            yield _record(ranking, row.run, metric, row, None)
        for run, reason in ranking.left_out:
            yield _record(ranking, run, metric, None, reason)


def _record(
    ranking: Ranking, run: RankedRun, metric: str, row: Row | None, reason: str | None
) -> dict[str, doc.Value]:
    price, trained = run.price, row.trained if row else None
    value = row.value if row else MetricValue(value=None, reason=reason)
    return {
        "work": ranking.work,
        "place": row.place if row else None,
        "is_pareto": row.is_pareto if row else None,
        "origin": run.origin,
        "name": run.name,
        "source": run.source,
        "date": run.day.isoformat(),
        "machine": run.machine,
        "instances": run.instances,
        "copies": trained.copies if trained else None,
        "model": run.model,
        "sequence_length": run.sequence_length,
        "precision": run.precision,
        "metric": metric,
        "value": value.value,
        "ci95_low": value.low,
        "ci95_high": value.high,
        "tokens_per_second": run.metrics["tokens_per_second"].value,
        **{
            name: None
            if trained is None
            else (trained.cost.usd if name == "train_usd" else trained.cost.total_seconds)
            for name in TO_TRAIN
        },
        "usd_per_hour": run.usd_per_hour,
        "price_option": price.option if price else None,
        "price_region": price.region if price else None,
        "price_date": price.date.isoformat() if price else None,
        "price_source": price.source if price else None,
        "break_even_usd_per_hour": row.break_even_usd_per_hour if row else None,
        "doubt": run.doubt,
        "reason": reason,
    }


def _rows(ranked: Ranked) -> doc.Rows:
    """Return a row for each place; what was left out has no place and its reason."""
    records = list(_records(*ranked))
    return doc.rows_at(records, *(records[0] if records else ()))


def _document_record(ranked: Ranked, page: doc.Page) -> dict[str, Any]:
    return {
        "metric": ranked.metric,
        "ranked": list(_records(*ranked)),
        "notes": _notes(ranked.rankings, page),
    }


REPORT: doc.Report[Ranked] = doc.Report(document=_document, rows=_rows, record=_document_record)
