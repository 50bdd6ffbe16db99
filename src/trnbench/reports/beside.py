"""Results with the published runs that are like them beside: one model, one length, any chip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trnbench.catalog.published import PublishedResult, find_model, published_results
from trnbench.cost.field import is_near, speed_of
from trnbench.model.published import published_utilization
from trnbench.reports import document as doc
from trnbench.reports import results as of_results
from trnbench.reports.published import MFU_NOTE, UNCHECKED_NOTE
from trnbench.reports.texts import RATE, say_estimate, say_or_unknown
from trnbench.schema.result import MetricValue, Origin, Result
from trnbench.units import say_percent


class Beside(NamedTuple):
    """Results, and what is published of their work."""

    results: Sequence[Result]
    runs: Sequence["LikeRun"]


@dataclass(frozen=True, slots=True)
class LikeRun:
    """One of the results, or a published run that is like one of them."""

    origin: Origin
    name: str
    model: str
    sequence_length: int | None
    machine: str
    precision: str
    speed: MetricValue
    """Tokens/s of one chip."""
    mfu: float | None
    source: str


def beside(results: Sequence[Result]) -> Beside:
    """Return results with the published runs of the same work, of each work the fastest first."""
    runs: list[LikeRun] = []
    seen: set[tuple[str, int | None, bool]] = set()
    for result in results:
        work = result.workload
        key = (result.model.name, work.sequence_length, _is_adapter(result))
        if key in seen:
            continue
        seen.add(key)
        own = [each for each in results if _is_work(each, key)]
        like = [*map(_of_result, own), *map(_of_published, _published_like(*key))]
        runs += sorted(like, key=lambda run: -(run.speed.value or 0.0))
    return Beside(results, runs)


def _is_adapter(result: Result) -> bool:
    step = result.workload.step
    return step is not None and step.lora is not None


def _is_work(result: Result, key: tuple[str, int | None, bool]) -> bool:
    work = result.workload
    return (result.model.name, work.sequence_length, _is_adapter(result)) == key


def _published_like(
    name: str, sequence_length: int | None, is_adapter: bool
) -> Iterator[PublishedResult]:
    """Yield runs of the model at the nearest length that is published, if that is near."""
    model = find_model(name)
    if model is None or sequence_length is None:
        return
    near = [
        run
        for run in published_results()
        if model.is_of(run)
        and run.is_adapter_training == is_adapter
        and run.sequence_length is not None
        and is_near(run.sequence_length, sequence_length)
        and speed_of(run) is not None
    ]
    exact = [run for run in near if run.sequence_length == sequence_length]
    yield from exact or near


def _of_result(result: Result) -> LikeRun:
    metrics = result.metrics
    speed = metrics.get("tokens_per_second_per_chip")
    if speed is None or speed.value is None:
        speed = metrics["tokens_per_second"]  # of a machine without chips
    return LikeRun(
        origin=result.origin,
        name=result.case_id,
        model=result.model.name,
        sequence_length=result.workload.sequence_length,
        machine=of_results.device_cell(result),
        precision=result.workload.precision or "not known",
        speed=speed,
        mfu=metrics["mfu"].value,
        source=f"run {result.run_id}, {result.started_at[:10]}",
    )


def _of_published(run: PublishedResult) -> LikeRun:
    return LikeRun(
        origin="published",
        name=run.name,
        model=run.model,
        sequence_length=run.sequence_length,
        machine=f"{run.accelerators or '?'} x {run.accelerator}",
        precision=run.precision or "not stated",
        speed=MetricValue(value=speed_of(run)),
        mfu=published_utilization(run).mfu,
        source=f"{run.source}, {run.date}",
    )


COLUMNS = doc.columns(
    "is", "model", ">tokens a sequence", "on", "precision", ">tokens/s a chip", ">MFU",
    "name and source",
)  # fmt: skip


def _document(found: Beside, page: doc.Page) -> doc.Document:
    own = of_results.REPORT.document(found.results, page)
    heading = doc.Heading("beside what is published of the same work", level=2)
    if not any(run.origin == "published" for run in found.runs):
        names = ", ".join(dict.fromkeys(run.model for run in found.runs))
        none = f"no published run is like these: {names}; `trnbench published` lists what there is"
        return doc.Document([*own.parts, heading, doc.Notes([none])], own.conclusion, own.backing)
    table = doc.Table(COLUMNS, [_cells(run) for run in found.runs])
    notes = doc.Notes([UNCHECKED_NOTE, MFU_NOTE])
    return doc.Document([*own.parts, heading, table, notes], own.conclusion, own.backing)


def _cells(run: LikeRun) -> tuple[str, ...]:
    return (
        run.origin,
        run.model,
        say_or_unknown(run.sequence_length, "{:,}".format),
        run.machine,
        run.precision,
        say_estimate(run.speed.value, run.speed.low, run.speed.high, RATE),
        say_or_unknown(run.mfu, say_percent),
        f"{run.name}: {run.source}",
    )


def _rows(found: Beside) -> doc.Rows:
    return doc.rows_at(
        found.runs, "origin", "name", "model", "sequence_length:int", "machine", "precision",
        "tokens_per_second_per_chip=speed.value:float", "ci95_low=speed.low:float",
        "ci95_high=speed.high:float", "mfu:float", "source",
    )  # fmt: skip


def _record(found: Beside, page: doc.Page) -> dict[str, Any]:
    own: dict[str, Any] = of_results.REPORT.record(found.results, page)
    return {**own, "beside": _rows(found).records()}


REPORT: doc.Report[Beside] = doc.Report(
    title="Training benchmark results beside published ones",
    document=_document,
    rows=_rows,
    record=_record,
)
