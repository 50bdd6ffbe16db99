"""Single operations that are timed, and how long they took."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductTask:
    """A matrix product, (M, K) by (K, N)."""

    kind: Literal["product"] = "product"
    name: str
    precision: Literal["fp32", "bf16", "fp8"]
    """fp8: both sides in e4m3, the outcome in bf16."""
    m: int
    n: int
    k: int
    layout: Literal["nt", "nn", "tn"]
    """Which operand lies transposed in memory: as for a layer's output, its input's gradient, its
    weight's gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTask:
    """Memory read and written by one simple operation over long arrays of fp32."""

    kind: Literal["move"] = "move"
    name: str
    motion: Literal["copy", "triad"]
    """copy: a = b; triad: a = b + s c, as STREAM names them."""
    array_bytes: int
    """Of each array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTask:
    """The attention core of one layer under a causal mask, without its products with weights."""

    kind: Literal["attention"] = "attention"
    name: str
    precision: Literal["fp32", "bf16"]
    batch: int
    heads: int
    kv_heads: int
    tokens: int
    head_dim: int
    passes: Literal["forward", "training"]
    """training: forward and backward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveTask:
    """One collective operation of all ranks, on fp32."""

    kind: Literal["collective"] = "collective"
    name: str
    operation: Literal["all_reduce", "all_gather", "reduce_scatter"]
    whole_bytes: int
    """Of the whole array: what each rank holds before or after, whichever is more."""


PeakTask = ProductTask | MoveTask | AttentionTask | CollectiveTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Microbench:
    """Task: time single operations, in this order."""

    kind: Literal["microbench"] = "microbench"
    backend: str
    device_index: int | None
    threads: int | None
    repeats: int
    """Timings of each task, after those that warm it up."""
    seconds_per_repeat: float
    """A task is done as often in each repeat as fills this time, at least once."""
    tasks: list[PeakTask]
    rank: int = 0
    ranks: int = 1
    rendezvous: str | None = None
    """A file by which the ranks find each other; null where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakPoint:
    """One operation of a `Microbench`, timed; or why it could not be."""

    kind: Literal["peak_point"] = "peak_point"
    at_seconds: float
    name: str
    runs: int
    """Times it was done in each repeat."""
    seconds: list[float]
    """Of doing it once, the mean within each repeat."""
    reason: str | None = None
