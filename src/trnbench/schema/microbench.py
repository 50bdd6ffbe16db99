"""What `trnbench peak` measured: each microbenchmark with its repeats, or why there are none."""

from typing import Literal

from trnbench.protocol.orders import AttentionTask, CollectiveTask, MatmulTask, MoveTask
from trnbench.protocol.records import Environment
from trnbench.schema.base import Strict
from trnbench.schema.measurement import Status

Group = Literal["square", "model", "memory", "attention", "collective"]


class PeakReading(Strict):
    """One task and the seconds that doing it once took, the mean within each repeat."""

    group: Group
    """square: matmuls of equal edges; model: those of a model's training step."""
    label: str
    """What it is, without its precision and its size."""
    task: MatmulTask | MoveTask | AttentionTask | CollectiveTask
    count: int = 1
    """How many of them a training step makes; 1 where it is no part of one."""
    ranks: int = 1
    source: Literal["torch", "nccom-test"] = "torch"
    runs: int | None
    """Times it was done in each repeat; null where the tool does not say."""
    seconds: tuple[float, ...]
    reason: str | None = None
    """Why it was not measured."""


class PeakDocument(Strict):
    """One `peak.json`."""

    schema_version: Literal[1] = 1
    trnbench_version: str
    started_at: str
    """UTC, ISO 8601."""
    status: Status | Literal["measuring"]
    """measuring: the run was killed before it ended."""
    reason: str | None
    hint: str | None = None
    model: str
    """The model whose matmuls `model` readings time."""
    tokens: int
    """Rows of those matmuls."""
    accelerator: str | None
    """The chip's name in the catalog of datasheets."""
    devices_per_chip: int
    environment: Environment | None
    planned_products: tuple[str, ...] | None = None
    """Names of the tasks of all `model` readings that were to be made; null in older files."""
    foreign_cpu_share: float | None = None
    """The part of all CPUs' time that other processes used while workers measured; null where that
    was too short to say, and in older files."""
    readings: tuple[PeakReading, ...]
