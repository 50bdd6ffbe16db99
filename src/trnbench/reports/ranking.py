"""Rankings to terminal, Markdown, CSV and JSON; the measured and the published told apart.

A published figure never stands without its citation, nor a price without its date.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trnbench.cost.break_even import fairness_notes
from trnbench.cost.ranking import TO_TRAIN, RankedRun, Ranking, Row
from trnbench.reports.as_csv import safe
from trnbench.reports.clean import escaped_markdown, one_line
from trnbench.reports.document import UNKNOWN, Page
from trnbench.reports.tables import table_as_markdown, table_as_text
from trnbench.schema.result import MetricValue
from trnbench.schema.units import say_count, say_interval, say_percent, say_seconds, say_usd

FIGURES = (0, 4, 5, 6, 8)
PARETO = "*"
PARETO_NOTE = f"{PARETO}: no other here is both cheaper and faster"
PUBLISHED_NOTE = (
    "published: as its source says, not measured by trnbench; other counts, other timers"
)


def ranking_as_text(rankings: Sequence[Ranking], metric: str, page: Page) -> str:
    """Return each kind of work with its table, and what must be read beside them."""
    parts = []
    for ranking in rankings:
        part = f"{one_line(ranking.work)}\n"
        if ranking.rows:
            part += table_as_text(_headings(metric), _rows(ranking, metric), page.width, FIGURES)
        part += "".join(f"· {one_line(told)}\n" for told in _left_out(ranking))
        parts.append(part)
    notes = "".join(f"· {one_line(note)}\n" for note in _notes(rankings, page))
    return "\n".join([*parts, notes] if notes else parts)


def ranking_as_markdown(rankings: Sequence[Ranking], metric: str, page: Page) -> str:
    """Return the same in Markdown."""
    parts = []
    for ranking in rankings:
        part = f"## {escaped_markdown(ranking.work)}\n\n"
        if ranking.rows:
            part += table_as_markdown(_headings(metric), _rows(ranking, metric), FIGURES) + "\n"
        part += "".join(f"- {escaped_markdown(told)}\n" for told in _left_out(ranking))
        parts.append(part)
    notes = "".join(f"- {escaped_markdown(note)}\n" for note in _notes(rankings, page))
    return "\n".join([*parts, notes] if notes else parts)


def ranking_as_csv(rankings: Sequence[Ranking], metric: str, page: Page) -> str:
    """Return a row for each place; what was left out has no place and its reason."""
    records = list(_records(rankings, metric))
    text = io.StringIO()
    names = list(records[0]) if records else []
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: safe(cell) for name, cell in record.items()})
    return text.getvalue()


def ranking_as_json(rankings: Sequence[Ranking], metric: str, page: Page) -> str:
    """Return one document: the places, what was left out, and the notes."""
    document = {
        "metric": metric,
        "ranked": list(_records(rankings, metric)),
        "notes": _notes(rankings, page),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Ranking], str, Page], str]] = {
    "terminal": ranking_as_text,
    "csv": ranking_as_csv,
    "markdown": ranking_as_markdown,
    "json": ranking_as_json,
}
"""What `trnbench rank --format` can name."""


def _headings(metric: str) -> tuple[str, ...]:
    return (
        "", "", "machine", "precision", f"{metric} [95 %]", "tokens/s", "$/h", "option",
        "break-even $/h", "from",
    )  # fmt: skip


def _rows(ranking: Ranking, metric: str) -> list[tuple[str, ...]]:
    return [_row(row, metric) for row in ranking.rows]


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
        UNKNOWN if speed is None else f"{speed:,.0f}",
        UNKNOWN if usd is None else f"{usd:,.2f}",
        "" if price is None else f"{price.option} {price.date}",
        UNKNOWN if row.break_even_usd_per_hour is None else f"{row.break_even_usd_per_hour:,.2f}",
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
        return UNKNOWN
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


def _notes(rankings: Sequence[Ranking], page: Page) -> list[str]:
    rows = [row for ranking in rankings for row in ranking.rows]
    notes = []
    if any(row.is_pareto for row in rows):
        notes.append(PARETO_NOTE)
    if any(row.run.origin == "published" for row in rows):
        notes.append(PUBLISHED_NOTE)
    if page.today is not None:
        notes += fairness_notes([row.run.price for row in rows], page.today)
    return notes


def _records(rankings: Sequence[Ranking], metric: str) -> Iterable[dict[str, Any]]:
    for ranking in rankings:
        for row in ranking.rows:
            yield _record(ranking, row.run, metric, row, None)
        for run, reason in ranking.left_out:
            yield _record(ranking, run, metric, None, reason)


def _record(
    ranking: Ranking, run: RankedRun, metric: str, row: Row | None, reason: str | None
) -> dict[str, Any]:
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
