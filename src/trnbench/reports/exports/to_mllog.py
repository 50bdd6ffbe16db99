"""Results as MLPerf's log: a file a case, which mlperf-logging parses.

It is no submission: the compliance checker asks for evaluations and targets that a benchmark of
speed has not. Source: MLCommons, mlcommons/logging, `mlperf_logging/mllog/mllog.py` (read 2026-12).
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from trnbench.reports.exports import Run, figures_of
from trnbench.schema.result import Result

PREFIX = ":::MLLOG"


def export(runs: Sequence[Run], folder: Path) -> None:
    """Write one file a run; the time of an event counts timed samples alone."""
    for run in runs:
        lines = (f"{PREFIX} {json.dumps(event, allow_nan=False)}\n" for event in _events(run))
        (folder / f"{run.name}.log").write_text("".join(lines), encoding="utf-8")


def _events(run: Run) -> Iterator[dict[str, Any]]:
    result, trace = run
    work, seconds = result.workload, 0.0
    settings = _settings(result)
    yield from (
        _event(result, 0, key, value) for key, value in settings.items() if value is not None
    )
    yield _event(result, 0, "run_start", None, "INTERVAL_START")
    yield _event(result, 0, "block_start", None, "INTERVAL_START", step=0)
    for sample, each in enumerate(trace.step_seconds if trace else ()):
        seconds += each * result.timing.steps_per_sample
        stats = {"train_step_time": each}
        if work.global_batch_size is not None:
            stats = {"throughput": work.global_batch_size / each, **stats}
        yield _event(result, seconds, "tracked_stats", stats, step=sample)
    for step, loss in enumerate(trace.losses if trace else ()):
        if loss is not None:
            batch = work.global_batch_size
            counted: dict[str, Any] = {} if batch is None else {"samples_count": (step + 1) * batch}
            yield _event(result, seconds, "train_loss", loss, **counted)
    seconds = seconds or result.timing.total_seconds
    yield _event(result, seconds, "block_stop", None, "INTERVAL_END", step=0)
    status = "success" if result.outcome.status == "finished" else "aborted"
    yield _event(result, seconds, "run_stop", None, "INTERVAL_END", status=status)
    for name, value in figures_of(result).items():
        yield _event(result, seconds, f"trnbench_{name}", value)


def _settings(result: Result) -> dict[str, str | int | None]:
    work = result.workload
    return {
        "submission_benchmark": result.model.name,
        "submission_platform": result.device_name,
        "trnbench_standing": result.standing,
        "global_batch_size": work.global_batch_size,
        "max_sequence_length": work.sequence_length,
        "gradient_accumulation_steps": work.gradient_accumulation_steps,
        "opt_name": work.optimizer,
    }


def _event(
    result: Result, seconds: float, key: str, value: Any, kind: str = "POINT_IN_TIME", **more: Any
) -> dict[str, Any]:
    began = datetime.fromisoformat(result.started_at).timestamp()
    return {
        "namespace": "",
        "time_ms": round((began + seconds) * 1000),
        "event_type": kind,
        "key": key,
        "value": value,
        "metadata": {"file": "trnbench", "lineno": 0, **more},
    }
