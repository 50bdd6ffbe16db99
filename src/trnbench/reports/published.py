"""Published training runs as a report: what each says, and its MFU in our convention."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trnbench.catalog.published import PublishedResult
from trnbench.model.flops import DEFAULT_CONVENTION
from trnbench.model.published import Utilization, published_utilization
from trnbench.reports import document as doc
from trnbench.reports.texts import plural, say_or_unknown
from trnbench.units import say_percent

MFU_NOTE = (
    f"MFU printed: by the source's own count over its own peak; MFU here: {DEFAULT_CONVENTION} "
    "over the chip's dense peak, of fp8 the share of ideal time (docs/metrics.md)"
)
UNCHECKED_NOTE = "published: as each source says; trnbench has measured none of it"


@dataclass(frozen=True, slots=True)
class Publication:
    """A published run, and how much of its chips' peak it used."""

    run: PublishedResult
    utilization: Utilization


def publications(runs: Sequence[PublishedResult]) -> list[Publication]:
    """Return runs with their utilization."""
    return [Publication(run, published_utilization(run)) for run in runs]


def _document(found: Sequence[Publication], page: doc.Page) -> doc.Document:
    reasons = Counter(each.utilization.reason for each in found if each.utilization.reason)
    columns = doc.columns(
        "day", "model", "?>tokens a sequence", "chips", "precision", ">tokens/s a chip",
        "?>MFU printed", ">MFU here", "name and source",
    )  # fmt: skip
    notes = [UNCHECKED_NOTE, MFU_NOTE]
    if reasons:
        most, count = reasons.most_common(1)[0]
        total = plural(reasons.total(), "run")
        notes.append(f"no MFU here of {total}; the most common reason ({count}): {most}")
    heading = doc.Heading(plural(len(found), "published run"), level=2)
    table = doc.Table(columns, [_cells(each) for each in found])
    return doc.Document([heading, table, doc.Notes(notes)])


def _cells(each: Publication) -> tuple[str, ...]:
    run, utilization = each.run, each.utilization
    return (
        run.date.isoformat(),
        run.model + (" (LoRA)" if run.is_adapter_training else ""),
        say_or_unknown(run.sequence_length, "{:,}".format),
        f"{run.accelerators or '?'} x {run.accelerator}",
        run.precision or "not stated",
        say_or_unknown(_speed(run), "{:,.0f}".format),
        say_or_unknown(run.mfu_percent, "{:.1f} %".format),
        say_or_unknown(utilization.mfu, say_percent),
        f"{run.name}: {run.source}",
    )


def _speed(run: PublishedResult) -> float | None:
    if run.tokens_per_second_per_accelerator is not None:
        return run.tokens_per_second_per_accelerator
    if run.tokens_per_second is None or not run.accelerators:
        return None
    return run.tokens_per_second / run.accelerators


def _rows(found: Sequence[Publication]) -> doc.Rows:
    items = [
        {"run": each.run, "utilization": each.utilization, "speed": _speed(each.run)}
        for each in found
    ]
    return doc.rows_at(
        items, "run.name", "run.date:day", "run.model", "run.architecture",
        "run.parameters_billion:float", "run.layers:int", "run.hidden_size:int", "run.heads:int",
        "run.kv_heads:int", "run.intermediate_size:int", "run.vocabulary_size:int",
        "run.is_adapter_training:flag", "run.sequence_length:int", "run.global_batch_size:int",
        "run.accelerator", "run.accelerators:int", "run.instance", "run.precision",
        "run.parallelism", "run.framework", "run.tokens_per_second:float",
        "tokens_per_second_per_chip=speed:float", "run.step_seconds:float",
        "run.accelerator_hours:float",
        "tflops_per_chip_printed=run.tflops_per_accelerator:float",
        "mfu_percent_printed=run.mfu_percent:float", "utilization.mfu:float",
        "mfu_convention=utilization.convention", "utilization.peak_flops_per_second:float",
        "mfu_reason=utilization.reason", "run.publication", "run.source", "run.notes",
    )  # fmt: skip


def _record(found: Sequence[Publication], page: doc.Page) -> list[dict[str, Any]]:
    return _rows(found).records()


REPORT: doc.Report[Sequence[Publication]] = doc.Report(
    title="Published training runs", document=_document, rows=_rows, record=_record
)
