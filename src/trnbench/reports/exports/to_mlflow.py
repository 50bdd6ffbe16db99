"""Results as a file store of MLflow's: `mlflow ui --backend-store-uri FOLDER` shows it.

Limits of a batch: 100 parameters, 1,000 metrics. Source: mlflow.org, "REST API", "Log Batch".
"""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from trnbench.reports.exports import PROJECT, Run, figures_of, series_of, settings_of
from trnbench.reports.extras import require

SETTINGS = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""Without the first a file store is refused; the second keeps it from calling home."""

TAGS = {"mlflow.user": PROJECT, "mlflow.source.name": PROJECT, "mlflow.source.type": "JOB"}
"""Else it takes the login name and the path of the program."""

LONGEST_PARAMETER, LONGEST_TAG = 6000, 5000

T = TypeVar("T")


def export(runs: Sequence[Run], folder: Path) -> None:
    """Write a run for each result: settings as parameters, figures and series as metrics."""
    os.environ.update(SETTINGS)  # read while it is imported
    require("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=folder.resolve().as_uri())
    # A location that names no folder of this machine: nothing is stored there.
    experiment = client.create_experiment(PROJECT, artifact_location=f"mlflow-artifacts:/{PROJECT}")
    for run in runs:
        _write(client, experiment, run)
    for path in [*folder.glob("*/meta.yaml"), *folder.glob("*/*/meta.yaml")]:
        _without_path(path, folder)


def _write(client: Any, experiment: str, run: Run) -> None:
    from mlflow.entities import Metric, Param, RunTag

    result = run.result
    began = round(datetime.fromisoformat(result.started_at).timestamp() * 1000)
    made = client.create_run(experiment, start_time=began, tags=TAGS, run_name=run.name)
    number = made.info.run_id
    client.set_tag(number, "trnbench.standing", result.standing)
    parameters = [
        Param(name, str(value)[:LONGEST_PARAMETER])
        for name, value in settings_of(result).items()
        if str(value)
    ]
    for part in _parts(parameters, 100):
        client.log_batch(number, params=part)
    ended = began + round(result.timing.total_seconds * 1000)
    metrics = [Metric(name, value, ended, 0) for name, value in figures_of(result).items()]
    for name, points in series_of(run.trace).items():
        metrics += [Metric(name, value, ended, step) for step, value in points]
    for batch in _parts(metrics, 1000):
        client.log_batch(number, metrics=batch)
    reasons = {name: each.reason for name, each in result.metrics.items() if each.reason}
    tags = [RunTag(f"reason.{name}", text[:LONGEST_TAG]) for name, text in reasons.items()]
    for tagged in _parts(tags, 100):
        client.log_batch(number, tags=tagged)
    is_finished = result.outcome.status == "finished"
    client.set_terminated(number, "FINISHED" if is_finished else "FAILED", end_time=ended)


def _parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]


def _without_path(path: Path, folder: Path) -> None:
    """Take out the folder's own place, which MLflow writes and does not need to read."""
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(folder.resolve().as_uri(), "file:."), encoding="utf-8")
