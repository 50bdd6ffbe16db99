"""Results as offline runs of W&B (Weights & Biases); `wandb sync` sends them."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trnbench.reports.exports import PROJECT, Run, figures_of, series_of, settings_of
from trnbench.reports.extras import require

ANONYMOUS = {
    "host": "machine", "username": "user", "x_disable_stats": True, "x_disable_meta": True,
    "x_save_requirements": False, "console": "off", "disable_git": True, "save_code": False,
    "silent": True,
}  # fmt: skip
"""Else the names of the host and of the user, paths and the list of packages are in the file."""


def export(runs: Sequence[Run], folder: Path) -> None:
    """Write a run for each result: settings as its config, steps as history, figures as summary."""
    os.environ["WANDB_MODE"] = "offline"
    wandb: Any = require("wandb")
    settings = wandb.Settings(**ANONYMOUS)
    for run in runs:
        with wandb.init(
            dir=str(folder), project=PROJECT, name=run.name, config=settings_of(run.result),
            settings=settings, reinit="finish_previous",
        ) as made:  # fmt: skip
            for step, row in enumerate(_history(run)):
                made.log(row, step=step)
            made.summary.update(figures_of(run.result))
    _drop_logs(folder / "wandb")


def _history(run: Run) -> list[dict[str, float]]:
    series = series_of(run.trace)
    length = max((points[-1][0] + 1 for points in series.values()), default=0)
    rows: list[dict[str, float]] = [{} for _ in range(length)]
    for name, points in series.items():
        for step, value in points:
            rows[step][name] = value
    return rows


def _drop_logs(folder: Path) -> None:
    """Remove what the client says of itself, paths of this machine in it."""
    for path in [*folder.glob("*.log"), *folder.glob("latest-run")]:
        path.unlink()
    for path in folder.glob("offline-run-*"):
        for beside in ("logs", "tmp", "files"):
            shutil.rmtree(path / beside, ignore_errors=True)
