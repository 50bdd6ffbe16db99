"""Results as TensorBoard's event files, a folder a run."""

import re
from collections.abc import Sequence
from pathlib import Path

from trnbench.reports.as_markdown import escaped_markdown
from trnbench.reports.exports import PROJECT, Run, figures_of, series_of, settings_of
from trnbench.reports.extras import require


def export(runs: Sequence[Run], folder: Path) -> None:
    """Write each run's settings as a text, its figures and its series as scalars (float32)."""
    writer_of = require("tensorboardX").SummaryWriter
    for run in runs:
        with writer_of(str(folder / run.name)) as writer:
            writer.add_text("settings", _as_table(settings_of(run.result)))
            for name, value in figures_of(run.result).items():
                writer.add_scalar(f"figures/{name}", value, 0)
            for name, points in series_of(run.trace).items():
                for step, value in points:
                    writer.add_scalar(f"steps/{name}", value, step)
        for path in (folder / run.name).glob("events.out.tfevents.*"):  # it ends in the host's name
            number = re.match(r"events\.out\.tfevents\.(\d+)", path.name)
            time = number[1] if number else "0"
            path.rename(path.with_name(f"events.out.tfevents.{time}.{PROJECT}"))


def _as_table(settings: dict[str, str | int | float]) -> str:
    rows = [f"| {name} | {escaped_markdown(str(value))} |" for name, value in settings.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])
