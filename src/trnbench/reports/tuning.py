"""A study of `trnbench tune` as a report: every way that was tried, and the frontier."""

from collections.abc import Iterator

from trnbench import __version__
from trnbench.reports import document as doc
from trnbench.reports import texts
from trnbench.reports.results import cost_cell, interval_cell, margin_cell
from trnbench.tune.study import PRUNED, State, Study, Trial, changes_work
from trnbench.units import say_bytes, say_seconds

FRONTIER = "*"
FRONTIER_NOTE = (
    f"{FRONTIER}: no other is surely faster and no dearer, or surely cheaper; at one rate for the "
    "machine the fastest is the cheapest"
)

STYLES: dict[State, doc.Style] = {
    "measured": "good", "pruned": "doubtful", "out_of_memory": "bad", "invalid": "bad",
    "failed": "bad",
}  # fmt: skip

COLUMNS = doc.columns(
    ">trial", "way", ">tokens/s [95 %]", ">step time [95 %]", ">$ per M tokens [95 %]",
    "?>peak memory", "ended",
)  # fmt: skip
NARROW_COLUMNS = doc.columns(">trial", "way", ">tokens/s ±95%", ">$/M tokens ±95%", "ended")
"""Of a terminal that has no room for all."""


def _document(study: Study, page: doc.Page) -> doc.Document:
    base = study.space.ways[0].plan
    work = base.workload
    title = (
        f"{base.model.name}: {work.global_batch_size} sequences of {work.sequence_length} a step"
    )
    frontier = study.frontier
    marked = [(each, each in frontier) for each in study.ordered]
    narrow = [_narrow_cells(study, each, is_best=is_best) for each, is_best in marked]
    table = doc.Table(
        COLUMNS,
        [_cells(study, each, is_best=is_best) for each, is_best in marked],
        narrow=doc.Table(NARROW_COLUMNS, narrow),
    )
    return doc.Document(
        [
            doc.Heading(title, level=2),
            *([table] if study.trials else []),
            doc.Notes([*_notes(study)]),
        ],
        conclusion=[doc.Lines([_conclusion(study)])],
    )


def _cells(study: Study, trial: Trial, *, is_best: bool) -> tuple[doc.Cell | str, ...]:
    metrics, has_figure = trial.result.metrics, trial.seconds is not None
    figures = (
        interval_cell(metrics["tokens_per_second"], texts.RATE),
        interval_cell(metrics["step_time_mean_seconds"], texts.SECONDS),
        cost_cell(trial.result),
    )
    return (
        _name(trial, is_best=is_best),
        study.space.say(trial.way),
        *(figures if has_figure else (doc.UNKNOWN,) * 3),
        texts.say_or_unknown(metrics["peak_memory_bytes"].value, say_bytes),
        _ended(trial),
    )


def _narrow_cells(study: Study, trial: Trial, *, is_best: bool) -> tuple[doc.Cell | str, ...]:
    figures = (
        margin_cell(trial.result.metrics["tokens_per_second"], texts.RATE),
        cost_cell(trial.result, margin_cell),
    )
    return (
        _name(trial, is_best=is_best),
        study.space.say(trial.way),
        *(figures if trial.seconds is not None else (doc.UNKNOWN,) * 2),
        _ended(trial),
    )


def _name(trial: Trial, *, is_best: bool) -> str:
    return f"{FRONTIER} {trial.number}" if is_best else str(trial.number)


def _ended(trial: Trial) -> doc.Cell:
    reason = trial.result.outcome.reason
    said = reason if reason.startswith(PRUNED) else f"{trial.state}: {reason}"
    return doc.Cell(said, STYLES[trial.state])


def _notes(study: Study) -> Iterator[str]:
    if study.frontier:
        yield FRONTIER_NOTE
    space = study.space
    total = len(space.ways)
    basis = "guessed rates, which only order ways" if space.is_guessed else "the estimate of a step"
    yield (
        f"{len(study.trials)} of {total} ways tried, first by {basis}, then by what promises the "
        f"most; ended: {study.ended}"
    )
    if space.does_not_fit:
        yield f"{texts.plural(space.does_not_fit, 'way')} left out: predicted not to fit the memory"
    if study.left_out:
        yield (
            f"{texts.plural(study.left_out, 'way')} left out: one that differs in size of pass or "
            "recomputation alone, and needs no more memory, ran out of it"
        )
    if changes_work(space):
        yield "precisions are different work: a loss curve of your own decides between them"
    if any(trial.state == "pruned" for trial in study.trials):
        yield "pruned trials were ended early: their figures rest on few samples"


def _conclusion(study: Study) -> str:
    best = study.best
    if best is None:
        return "no trial has a figure that counts"
    said = f"best: {study.space.say(best.way)}: {say_seconds(best.seconds or 0.0)} a step"
    others = len(study.frontier) - 1
    return said + (f"; {texts.plural(others, 'other')} not surely slower" if others > 0 else "")


def _rows(study: Study) -> doc.Rows:
    items = [
        {
            "trial": trial,
            "is_frontier": trial in study.frontier,
            "settings": study.space.say(trial.way),
            "metrics": trial.result.metrics,
        }
        for trial in study.ordered
    ]
    return doc.rows_at(
        items, "trial=trial.number:int", "case_id=trial.result.case_id", "state=trial.state",
        "is_frontier:flag", "settings",
        "micro_batch_size=trial.result.workload.micro_batch_size:int",
        "activation_checkpointing=trial.result.workload.step.recompute",
        "execution=trial.way.plan.order.execution",
        "precision=trial.result.workload.precision",
        "layout=trial.way.plan.parallel.in_words",
        "expected_seconds=trial.way.expected_seconds:float",
        "step_seconds=metrics.step_time_mean_seconds.value:float",
        "step_seconds_low=metrics.step_time_mean_seconds.low:float",
        "step_seconds_high=metrics.step_time_mean_seconds.high:float",
        "tokens_per_second=metrics.tokens_per_second.value:float",
        "usd_per_million_tokens=metrics.usd_per_million_tokens.value:float",
        "usd_per_million_tokens_low=metrics.usd_per_million_tokens.low:float",
        "usd_per_million_tokens_high=metrics.usd_per_million_tokens.high:float",
        "peak_memory_bytes=metrics.peak_memory_bytes.value:int",
        "reason=trial.result.outcome.reason",
    )  # fmt: skip


REPORT: doc.Report[Study] = doc.Report(
    title="Search over ways of carrying out a step",
    document=_document,
    rows=_rows,
    record=lambda study, page: {
        "trnbench_version": __version__,
        "ended": study.ended,
        "ways": len(study.space.ways),
        "predicted_not_to_fit": study.space.does_not_fit,
        "left_out": study.left_out,
        "is_order_guessed": study.space.is_guessed,
        "best": study.best.result.case_id if study.best else None,
        "trials": _rows(study).records(),
    },
)
