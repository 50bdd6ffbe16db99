"""The field of one model as a report: every chip that has a figure, with its source and price."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from trnbench.analysis.metrics import unknown
from trnbench.cost.comparability import OLD_DAYS, mixed_notes
from trnbench.cost.field import Field
from trnbench.cost.ranked_runs import RankedRun
from trnbench.cost.ranking import Ranking, Row
from trnbench.estimate.field import NO_DATA, Bound
from trnbench.reports import document as doc
from trnbench.reports import ranking as of_ranking
from trnbench.reports.texts import plural, say_or_unknown
from trnbench.schema.result import MetricValue, Origin

RANGE_NOTES: dict[Origin, str] = {
    "measured": "measured: the range is the 95 % interval",
    "imported": "imported: as another tool measured it; the range is the 95 % interval",
    "published": (
        "published: as its source says, not measured by trnbench; each source counts by its best "
        "run, the figure is the median source's, the range goes from the slowest to the fastest"
    ),
    "estimated": "estimated: computed, never run; the range holds 80 % of what is expected",
}
BREAK_EVEN_NOTE = (
    "break-even: the price of one instance at which a token costs what it costs on the first; of "
    "the first, on the second"
)


class FieldRanked(NamedTuple):
    """A field, its runs ranked, and what was chosen of their prices."""

    field: Field
    bounds: Sequence[Bound]
    """Chips that have no figure at all."""
    ranking: Ranking
    metric: str
    day: date
    """On which the prices hold."""
    price_rule: str
    """Which of an instance's prices was taken."""


def _document(ranked: FieldRanked, page: doc.Page) -> doc.Document:
    ranking = ranked.ranking
    rows = [_cells(row.run, ranked.metric, row) for row in ranking.rows]
    rows += [_cells(run, ranked.metric, None) for run, _ in _unpriced(ranking)]
    left_out = [
        f"not ranked: {run.name} on {run.machine} ({run.origin}): {reason}"
        for run, reason in ranking.left_out
        if run.objection is not None
    ]
    parts: list[doc.Part] = [
        doc.Heading(ranking.work, level=2),
        doc.Table(_columns(ranked.metric), rows, notes=left_out),
        doc.Notes(_notes(ranked)),
    ]
    return doc.Document(parts, backing=lambda: _backing(ranked))


def _unpriced(ranking: Ranking) -> list[tuple[RankedRun, str]]:
    """Return the runs that are of the work and have no place, the fastest chip first."""
    found = [(run, reason) for run, reason in ranking.left_out if run.objection is None]
    return sorted(found, key=lambda each: -(_per_chip(each[0]) or 0.0))


def _per_chip(run: RankedRun) -> float | None:
    figure = run.metrics.get("tokens_per_second_per_chip")
    return None if figure is None else figure.value


def _backing(ranked: FieldRanked) -> doc.Backing:
    """Say which chip is first and by how much, and draw every figure with its range."""
    rows = ranked.ranking.rows
    answer = [f"{ranked.ranking.work}: {_lead(rows, ranked.metric)}"]
    charts = [chart for chart in (_chart(ranked),) if chart is not None]
    return doc.Backing(answer=answer, charts=charts)


def _name(row: Row) -> str:
    return f"{row.run.chip or row.run.machine}, {row.run.precision} ({row.run.origin})"


def _lead(rows: Sequence[Row], metric: str) -> str:
    best, *others = rows
    said = f"{_name(best)} is first by {metric}: {of_ranking.figure_cell(best.value, metric)}."
    if others:
        ratio = (others[0].value.value or 0.0) / (best.value.value or 1.0)
        said += f" The next, {_name(others[0])}, has {ratio:.2f} times that."
        both = (best.value, others[0].value)
        if any(value.low is None for value in both):
            said += " One of the two has no range: how others would fare is not known."
        elif _overlap(*both):
            said += " Their ranges overlap."
    return said


def _overlap(one: MetricValue, other: MetricValue) -> bool:
    ends = (one.low, one.high, other.low, other.high)
    if None in ends:
        return False
    return max(one.low or 0.0, other.low or 0.0) <= min(one.high or 0.0, other.high or 0.0)


def _chart(ranked: FieldRanked) -> doc.Chart | None:
    from trnbench.reports import axes, charts, figures

    metric = ranked.metric
    rows = ranked.ranking.rows[: figures.MOST_ROWS]
    if len(rows) < 2:
        return None
    points = [
        charts.Point(
            label=_name(row) + figures.price_of(row.run),
            x=row.value.value or 0.0,
            x_low=row.value.low,
            x_high=row.value.high,
            said=of_ranking.figure_cell(row.value, metric),
            origin=row.run.origin,
            is_doubtful=row.run.doubt is not None,
        )
        for row in rows
    ]
    is_cost = metric == "usd_per_million_tokens"
    return charts.dots(
        name=f"field-{figures.slug(ranked.ranking.work)}",
        title=f"{'Cost of tokens' if is_cost else metric} by chip: {ranked.ranking.work}",
        sentence="Each chip with its range: of published runs from the slowest source to the "
        "fastest, of measured ones the 95 % interval, of estimates 80 % of what is expected.",
        axis=axes.USD_PER_MILLION if is_cost else axes.Axis(title=metric),
        points=points,
    )


def _columns(metric: str) -> tuple[doc.Column, ...]:
    usd = "$/M tokens" if metric == "usd_per_million_tokens" else metric
    return (
        doc.Column("", is_figure=True),
        doc.Column("chip, precision"),
        doc.Column("is"),
        doc.Column(f"{usd} [range]", is_figure=True),
        doc.Column("tokens/s a chip", is_figure=True, is_spare=True),
        doc.Column("an instance", is_figure=True, is_spare=True),
        doc.Column("rented as"),
        doc.Column("$/h", is_figure=True),
        doc.Column("break-even $/h", is_figure=True, is_spare=True),
        doc.Column("price of", is_spare=True),
        doc.Column("from"),
    )


def _cells(run: RankedRun, metric: str, row: Row | None) -> tuple[str, ...]:
    price = run.price
    value = row.value if row else run.metrics.get(metric)
    per_instance = run.metrics.get("tokens_per_second_per_instance", unknown("")).value
    return (
        str(row.place) if row else "",
        f"{run.chip or run.machine}, {run.precision}",
        run.origin,
        of_ranking.figure_cell(value, metric) if value else doc.UNKNOWN,
        say_or_unknown(_per_chip(run), "{:,.0f}".format),
        say_or_unknown(per_instance, "{:,.0f}".format),
        _rented_as(run, row),
        say_or_unknown(float(price.usd_per_hour) if price else None, "{:,.2f}".format),
        say_or_unknown(row.break_even_usd_per_hour if row else None, "{:,.2f}".format),
        price.date.isoformat() if price else "",
        _from(run),
    )


def _rented_as(run: RankedRun, row: Row | None) -> str:
    if run.price is None:
        return run.price_reason or ""
    copies = row.trained.copies if row and row.trained else 1
    name = run.price.instance or run.machine
    if row and row.trained:
        name = f"{run.instances * copies} x {name}"
    return f"{name} {run.price.option} {run.price.region or ''}".rstrip()


def _from(run: RankedRun) -> str:
    more = f"the median of {run.sources} sources" if run.sources > 1 else None
    said = f"{run.day}: {run.source}, {run.machine}"
    if run.layout is not None:
        said += f" as {run.layout}"
    if run.sequence_length is not None:
        said += f", {run.sequence_length:,} tokens"
    return "; ".join(filter(None, (said, more, run.assumption, run.doubt, run.idle)))


def _notes(ranked: FieldRanked) -> list[str]:
    rows, field = ranked.ranking.rows, ranked.field
    shown = [row.run for row in rows] + [run for run, _ in _unpriced(ranked.ranking)]
    notes = [note for origin, note in RANGE_NOTES.items() if any(r.origin == origin for r in shown)]
    notes.append(f"prices of {ranked.day}: {ranked.price_rule}")
    if len(rows) > 1:
        notes.append(BREAK_EVEN_NOTE)
    notes += mixed_notes([run.price for run in shown if run.price is not None])
    notes += _age_notes(shown, ranked.day)
    for chip, reason in field.absent:
        notes.append(f"no like run of {chip} is published: {reason}")
    notes += _bound_notes(ranked.bounds)
    if field.unlike:
        of = "is" if field.unlike == 1 else "are"
        notes.append(
            f"{plural(field.unlike, 'published run')} of the model {of} of other work: "
            f"trnbench published --model {field.model.name}"
        )
    return notes


def _bound_notes(bounds: Sequence[Bound]) -> list[str]:
    """Say which chips have no figure, and the most that their datasheets allow."""
    texts: dict[str, list[str]] = {}
    for bound in bounds:
        rate = bound.tokens_per_second_per_chip
        most = "" if rate is None else f" {rate:,.0f}"
        texts.setdefault(bound.reason, []).append(f"{bound.chip}{most}")
    at_most = " (and the tokens/s that its peak allows)"
    return [
        f"no estimate, {reason}{at_most if reason == NO_DATA else ''}: {', '.join(chips)}"
        for reason, chips in texts.items()
    ]


def _age_notes(runs: Sequence[RankedRun], day: date) -> list[str]:
    """Say in one note how many prices are old, and which is the oldest."""
    prices = {run.price.instance: run.price for run in runs if run.price is not None}
    old = [price for price in prices.values() if (day - price.date).days > OLD_DAYS]
    if not old:
        return []
    oldest = min(old, key=lambda price: price.date)
    return [
        f"{len(old)} of {len(prices)} prices are over {OLD_DAYS} days old, the oldest that of "
        f"{oldest.instance or oldest.option} ({oldest.date}): look for newer ones"
    ]


def _rows(ranked: FieldRanked) -> doc.Rows:
    """Return a row for each place; what has none has its reason."""
    ranking = ranked.ranking
    head = {"work": ranking.work, "metric": ranked.metric, "day": ranked.day}
    items: list[dict[str, Any]] = [{**head, "row": row, "run": row.run} for row in ranking.rows]
    items += [{**head, "run": run, "reason": reason} for run, reason in _unpriced(ranking)]
    items += [
        {**head, "run": run, "reason": reason}
        for run, reason in ranking.left_out
        if run.objection is not None
    ]
    return doc.rows_at(
        items, "work", "row.place:int", "run.chip", "run.precision", "run.origin", "metric",
        "row.value.value:float", "range_low=row.value.low:float",
        "range_high=row.value.high:float",
        "tokens_per_second_per_chip=run.metrics.tokens_per_second_per_chip.value:float",
        "tokens_per_second_per_chip_low=run.metrics.tokens_per_second_per_chip.low:float",
        "tokens_per_second_per_chip_high=run.metrics.tokens_per_second_per_chip.high:float",
        "tokens_per_second_per_instance=run.metrics.tokens_per_second_per_instance.value:float",
        "usd_per_million_tokens=run.metrics.usd_per_million_tokens.value:float",
        "instance=run.price.instance", "price_usd_per_hour=run.price.usd_per_hour:float",
        "price_option=run.price.option", "price_region=run.price.region",
        "price_date=run.price.date:day", "price_source=run.price.source",
        "price_note=run.price.note", "row.break_even_usd_per_hour:float", "run.instances:int",
        "row.trained.copies:int", "train_usd=row.trained.cost.usd:float",
        "train_seconds=row.trained.cost.total_seconds:float", "run.sources:int", "run.name",
        "run.source", "date=run.day:day", "run.machine", "run.layout", "run.model",
        "run.sequence_length:int",
        "run.assumption", "run.doubt", "run.idle", "reason",
    )  # fmt: skip


def _record(ranked: FieldRanked, page: doc.Page) -> dict[str, Any]:
    return {
        "model": ranked.field.model.name,
        "sequence_length": ranked.field.sequence_length,
        "metric": ranked.metric,
        "prices_as_of": ranked.day.isoformat(),
        "ranked": _rows(ranked).records(),
        "notes": _notes(ranked),
    }


REPORT: doc.Report[FieldRanked] = doc.Report(
    title="Ranking", document=_document, rows=_rows, record=_record
)
