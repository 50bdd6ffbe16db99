"""A judged claim as a report: the verdict, what it rests on, and what would settle it."""

from collections.abc import Sequence
from typing import Any

from trnbench.cost.claims import Evidence, Judged, Need, Side
from trnbench.cost.comparability import comparability_notes, mixed_notes
from trnbench.cost.ranked_runs import RankedRun
from trnbench.reports import document as doc
from trnbench.reports.texts import Writer, say_estimate, say_or_unknown
from trnbench.units import say_percent

MOST_NEEDS = 8
MOST_UNLIKE = 5
STYLES: dict[str, doc.Style] = {
    "supported": "good", "not supported": "bad", "cannot tell": "doubtful",
}  # fmt: skip
RATIO = Writer("{:.2f}".format, lambda value, low, high: f"{value:.2f} [{low:.2f}, {high:.2f}]")


def _document(judged: Judged, page: doc.Page) -> doc.Document:
    parts: list[doc.Part] = [
        doc.Heading(f"{judged.of.instance.name}: {judged.claim.text}", level=2),
        doc.Facts([("verdict", judged.verdict), ("because", judged.reason)]),
        doc.Table(_PRICES, [_price_cells(side) for side in (judged.of, judged.than)]),
    ]
    if judged.evidence:
        parts.append(doc.Heading("like runs on both chips"))
        parts.append(doc.Table(_EVIDENCE, [_evidence_cells(each) for each in judged.evidence]))
    if judged.needs:
        parts += _needed(judged)
    if judged.unlike:
        parts += _no_evidence(judged)
    return doc.Document([*parts, doc.Notes(_notes(judged, page))])


_PRICES = doc.columns("instance", "chips", ">$/h", "rented", "region", "price of", "source")


def _price_cells(side: Side) -> tuple[str, ...]:
    price, instance = side.price, side.instance
    chip = instance.accelerator.name if instance.accelerator else ""
    return (
        instance.name,
        f"{instance.chips} x {chip}",
        f"{price.usd_per_hour:,.2f}",
        price.option,
        price.region or "",
        price.date.isoformat(),
        price.source,
    )


_EVIDENCE = doc.columns(
    "model", ">tokens a sequence", "precision", ">ratio [range]", ">tokens/s a chip", ">beside",
    "from",
)  # fmt: skip


def _evidence_cells(each: Evidence) -> tuple[str, ...]:
    ratio = each.ratio
    return (
        each.model,
        f"{each.sequence_length:,}",
        each.precision,
        say_estimate(ratio.value, ratio.low, ratio.high, RATIO),
        _speed(each.of),
        _speed(each.than),
        f"{_source(each.of)}; beside: {_source(each.than)}",
    )


def _speed(run: RankedRun) -> str:
    return say_or_unknown(run.metrics["tokens_per_second_per_chip"].value, "{:,.0f}".format)


def _source(run: RankedRun) -> str:
    said = f"{run.origin}: {run.source} {run.day}, {run.machine}"
    if run.doubt:
        said += f" ({run.doubt})"
    return f"{said}, median of {run.sources} sources" if run.sources > 1 else said


def _needed(judged: Judged) -> list[doc.Part]:
    """Say what one chip would have to reach: of most sources first."""
    chip, other = (_chip(side) for side in (judged.of, judged.than))
    shown = sorted(judged.needs, key=lambda need: (need.mfu is None, -need.than.sources))
    rows = [_need_cells(need) for need in shown[:MOST_NEEDS]]
    columns = doc.columns(
        "model", ">tokens a sequence", "precision", f">tokens/s a {other}", f">needed a {chip}",
        ">as MFU", f"the {other} runs are from",
    )  # fmt: skip
    left = len(shown) - len(rows)
    notes = [f"{left} more works are in CSV and JSON"] if left else None
    title = f"what one {chip} would have to reach for a ratio of {judged.claim.low:.2f}"
    return [doc.Heading(title), doc.Table(columns, rows, notes=notes)]


def _need_cells(need: Need) -> tuple[str, ...]:
    return (
        need.model,
        f"{need.sequence_length:,}",
        need.precision,
        _speed(need.than),
        f"{need.tokens_per_second_per_chip:,.0f}",
        say_or_unknown(need.mfu, say_percent),
        _source(need.than),
    )


def _no_evidence(judged: Judged) -> list[doc.Part]:
    rows = [
        (run.model, f"{run.accelerators} x {run.accelerator}", reason, f"{run.name}: {run.source}")
        for run, reason in judged.unlike[:MOST_UNLIKE]
    ]
    left = len(judged.unlike) - len(rows)
    chip = judged.unlike[0][0].accelerator
    notes = [f"{left} more: trnbench published --chip {chip!r}"] if left else None
    columns = doc.columns("model", "chips", "why it is no evidence", "name and source")
    return [
        doc.Heading(f"what is published on {chip}"),
        doc.Table(columns, rows, notes=notes),
    ]


def _chip(side: Side) -> str:
    return side.instance.accelerator.name if side.instance.accelerator else side.instance.name


def _notes(judged: Judged, page: doc.Page) -> list[str]:
    prices = [judged.of.price, judged.than.price]
    notes = ["a ratio is of tokens per dollar; published runs are not measured by trnbench"]
    if any(run.origin != "published" for each in judged.evidence for run in (each.of, each.than)):
        notes.append(
            "of a work that your own results have on a chip, what is published on it is left out"
        )
    if any(each.of.sources == 1 and each.than.sources == 1 for each in judged.evidence):
        notes.append("where each side has one source, how others would fare is not known")
    if page.today is not None:
        return notes + comparability_notes(prices, page.today)
    return notes + list(mixed_notes(prices))


def _items(judged: Judged) -> list[dict[str, Any]]:
    head: dict[str, Any] = {"judged": judged, "claim": judged.claim}
    rows: list[dict[str, Any]] = [{**head, "is": "evidence", "it": e} for e in judged.evidence]
    rows += [{**head, "is": "need", "it": need} for need in judged.needs]
    return rows or [{**head, "is": "verdict"}]


def _rows(judged: Judged) -> doc.Rows:
    items = _items(judged)
    for item in items:
        it = item.get("it")
        item["ratio"] = it.ratio if isinstance(it, Evidence) else None
        item["of"] = it.of if isinstance(it, Evidence) else None
        item["need"] = it if isinstance(it, Need) else None
    return doc.rows_at(
        items, "claim=claim.text", "judged.verdict", "judged.reason",
        "claimed_low=claim.low:float", "claimed_high=claim.high:float",
        "of_instance=judged.of.instance.name",
        "of_usd_per_hour=judged.of.price.usd_per_hour:float", "of_option=judged.of.price.option",
        "of_region=judged.of.price.region", "of_price_date=judged.of.price.date:day",
        "of_price_source=judged.of.price.source", "than_instance=judged.than.instance.name",
        "than_usd_per_hour=judged.than.price.usd_per_hour:float",
        "than_option=judged.than.price.option", "than_region=judged.than.price.region",
        "than_price_date=judged.than.price.date:day",
        "than_price_source=judged.than.price.source", "is", "it.model", "it.sequence_length:int",
        "it.precision", "ratio.value:float", "ratio_low=ratio.low:float",
        "ratio_high=ratio.high:float",
        "of_tokens_per_second_per_chip=of.metrics.tokens_per_second_per_chip.value:float",
        "of_source=of.source", "of_origin=of.origin",
        "than_tokens_per_second_per_chip=it.than.metrics.tokens_per_second_per_chip.value:float",
        "than_source=it.than.source", "than_origin=it.than.origin",
        "needed_tokens_per_second_per_chip=need.tokens_per_second_per_chip:float",
        "needed_mfu=need.mfu:float",
    )  # fmt: skip


def _record(judged: Judged, page: doc.Page) -> dict[str, Any]:
    unlike: Sequence[dict[str, Any]] = [
        {"name": run.name, "model": run.model, "source": run.source, "reason": reason}
        for run, reason in judged.unlike
    ]
    return {
        "claim": judged.claim.text,
        "verdict": judged.verdict,
        "reason": judged.reason,
        "rows": _rows(judged).records(),
        "no_evidence": unlike,
        "notes": _notes(judged, page),
    }


REPORT: doc.Report[Judged] = doc.Report(
    title="A claim", document=_document, rows=_rows, record=_record
)
