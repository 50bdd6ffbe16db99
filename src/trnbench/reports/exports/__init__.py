"""Results for other programs' stores: one file a target, each a function over runs to export.

Nothing that is written names a user, a host or a path of this machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trnbench.reports.columns import COLUMNS
from trnbench.schema.result import Result

if TYPE_CHECKING:
    from trnbench.analysis.traces import Trace

PROJECT = "trnbench"
"""Names the experiment or the project, and stands where a program would write the user."""


class Run(NamedTuple):
    """One result, and what its first launch recorded step after step; None where it is not kept."""

    result: Result
    trace: "Trace | None"

    @property
    def name(self) -> str:
        """No two runs of one export have it, unless they are of one folder's name."""
        return f"{self.result.run_id}--{self.result.case_id}"


class Export(Protocol):
    """What a target's module has."""

    def export(self, runs: Sequence[Run], folder: Path) -> None:
        """Write the runs into a folder that is there and empty."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where results can go."""

    module: str
    """Below this package; its `export` writes them."""
    packages: tuple[str, ...] = ()
    """That it needs, each with its extra in `extras.EXTRAS`."""


TARGETS: Mapping[str, Target] = {
    "mlflow": Target("to_mlflow", ("mlflow",)),
    "wandb": Target("to_wandb", ("wandb",)),
    "tensorboard": Target("to_tensorboard", ("tensorboardX",)),
    "mllog": Target("to_mllog"),
}

PLANNED = ("expert_capacity", "price_usd_per_hour", "stream_entropy_nats")
"""Columns of numbers with a point that were known before anything was measured."""

Setting = str | int | float


def settings_of(result: Result) -> dict[str, Setting]:
    """Return what a result is of: columns that are no figure, as far as they are known."""
    return {
        column.name: cell
        for column in COLUMNS
        if not _is_figure(column.kind, column.name, result)
        and (cell := column.read(result)) is not None
    }


def figures_of(result: Result) -> dict[str, float]:
    """Return the figures of a result by column, as far as they are known."""
    return {
        column.name: float(cell)
        for column in COLUMNS
        if _is_figure(column.kind, column.name, result)
        and (cell := column.read(result)) is not None
    }


def _is_figure(kind: str, name: str, result: Result) -> bool:
    return name in result.metrics or (kind == "float" and name not in PLANNED)


def series_of(trace: "Trace | None") -> dict[str, list[tuple[int, float]]]:
    """Return what was recorded step after step, by name: pairs of a step or sample and its value.

    `step_time_seconds` is of each timed sample, `train_loss_nats` of each step; a loss that is not
    finite is left out.
    """
    if trace is None:
        return {}
    losses = [(step, loss) for step, loss in enumerate(trace.losses) if loss is not None]
    series = {"step_time_seconds": [*enumerate(trace.step_seconds)], "train_loss_nats": losses}
    return {name: points for name, points in series.items() if points}
