"""From repeated seconds to rates, and from those to a device's measured ceilings.

Source: 2 FLOP a multiply-add; attention under a causal mask counts half of the scores, and three
times the forward pass for training (docs/metrics.md, "FLOPs"); bytes as STREAM counts them
(McCalpin, memory bandwidth and machine balance, 1995): copy 2 arrays, triad 3; a collective's
algorithm bandwidth is its bytes over its time, and its bus bandwidth that times a factor of the n
ranks (nccl-tests, doc/PERFORMANCE.md, read 2026-11-30): 2 (n - 1) / n for all-reduce, (n - 1) / n
for all-gather, reduce-scatter and all-to-all, 1 for broadcast and send/receive.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from trnbench.analysis.energy import MAX_FOREIGN_CPU_SHARE
from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.backends import backend_of
from trnbench.protocol.orders import (
    AttentionTask,
    Collective,
    CollectiveTask,
    MatmulTask,
    MoveTask,
    PeakTask,
)
from trnbench.schema.microbench import PeakDocument, PeakReading

REPEATS = 6
"""The lowest and the highest of six hold the median 97 times in 100: 1 - 2 / 2^6, whatever the
distribution (David and Nagaraja, Order Statistics, 2003, section 7.1)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A median over repeats, and the lowest and highest of them."""

    value: float
    low: float
    high: float
    unit: Literal["FLOP/s", "B/s"]


@dataclass(frozen=True, slots=True)
class Line:
    """One reading with its rate."""

    reading: PeakReading
    rate: Rate | None
    of_best: float | None
    """Of the best matmul in this precision, or the best of its group, 0 to 1."""
    of_datasheet: float | None
    """Of the published rate of one device."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The rates of matmuls in one precision."""

    precision: str
    best: Line | None
    together: Rate | None
    """All matmuls of the model's training step, one after another; None where one is missing."""
    together_of_best: float | None
    together_of_datasheet: float | None
    datasheet: float | None
    """FLOP/s of one device, as published."""


def amount_of(task: PeakTask, ranks: int = 1) -> float:
    """Return the operations or bytes of doing a task once."""
    match task:
        case MatmulTask():
            return 2.0 * task.m * task.n * task.k
        case AttentionTask():
            scores = task.batch * task.heads * task.tokens**2 / 2
            return 4.0 * scores * task.head_dim * (3 if task.passes == "training" else 1)
        case MoveTask():
            return float((2 if task.motion == "copy" else 3) * task.array_bytes)
        case CollectiveTask():
            return bus_factor(task.operation, ranks) * task.whole_bytes


def bus_factor(operation: Collective, ranks: int) -> float:
    """Return a collective's bus bandwidth over its algorithm bandwidth."""
    if operation in ("broadcast", "send_receive"):
        return 1.0
    return (2 if operation == "all_reduce" else 1) * (ranks - 1) / ranks


def rate_of(reading: PeakReading) -> Rate | None:
    """Return a reading's rate; None where it was not measured, or the clock did not move."""
    if not reading.seconds or min(reading.seconds) <= 0:
        return None
    amount = amount_of(reading.task, reading.ranks)
    is_work = isinstance(reading.task, MatmulTask | AttentionTask)
    return Rate(
        value=amount / median(reading.seconds),
        low=amount / max(reading.seconds),
        high=amount / min(reading.seconds),
        unit="FLOP/s" if is_work else "B/s",
    )


def algorithm_rate_of(reading: PeakReading) -> float | None:
    """Return a collective's bytes over its median time; None for what is none or has no rate."""
    rate = rate_of(reading)
    if rate is None or not isinstance(reading.task, CollectiveTask):
        return None
    return rate.value / bus_factor(reading.task.operation, reading.ranks)


def place_of(reading: PeakReading, document: PeakDocument) -> str:
    """Say whether a collective's ranks, which are neighbours, are in one chip; "" for processes."""
    seen = document.environment
    if seen is None or backend_of(seen.backend).is_host:
        return ""
    chips = -(-reading.ranks // document.devices_per_chip)
    return "in one chip" if chips == 1 else f"across {chips} chips"


def lines_of(document: PeakDocument) -> list[Line]:
    """Return every reading with its rate, as a part of the best and of the published one."""
    rated = [(reading, rate_of(reading)) for reading in document.readings]
    best: dict[str, float] = {}
    for reading, rate in rated:
        if rate is not None:
            key = _peers(reading)
            best[key] = max(best.get(key, 0.0), rate.value)
    return [
        Line(
            reading=reading,
            rate=rate,
            of_best=_part(rate, best.get(_peers(reading))),
            of_datasheet=_part(rate, _published(document, reading.task)),
        )
        for reading, rate in rated
    ]


def ceilings_of(document: PeakDocument) -> list[Ceiling]:
    """Return the rates of matmuls in each precision, in the order in which they were measured."""
    by_precision: dict[str, list[Line]] = {}
    for line in lines_of(document):
        if isinstance(line.reading.task, MatmulTask):
            by_precision.setdefault(line.reading.task.precision, []).append(line)
    found = []
    for precision, mine in by_precision.items():
        rated = [line for line in mine if line.rate is not None]
        best = max(rated, key=lambda line: line.rate.value if line.rate else 0.0, default=None)
        together = None
        if _is_whole(document, precision):
            together = _together([line for line in mine if line.reading.group == "model"])
        datasheet = _published(document, mine[0].reading.task)
        found.append(
            Ceiling(
                precision=precision,
                best=best,
                together=together,
                together_of_best=_part(together, best.rate.value if best and best.rate else None),
                together_of_datasheet=_part(together, datasheet),
                datasheet=datasheet,
            )
        )
    return found


def load_of_others(document: PeakDocument) -> str | None:
    """Say how much of the processors others used meanwhile, where it is more than a run allows."""
    share = document.foreign_cpu_share
    if share is None or share <= MAX_FOREIGN_CPU_SHARE:
        return None
    return (
        f"others used {share:.1%} of the processors meanwhile, which can only lower what was "
        "measured: stop the other work and measure again"
    )


def _is_whole(document: PeakDocument, precision: str) -> bool:
    """Tell whether there is a reading of each of the model's matmuls in this precision."""
    if document.planned_products is None:  # an older file, which does not say
        return document.status == "finished"
    read = {reading.task.name for reading in document.readings}
    mine = [name for name in document.planned_products if name.partition(" ")[0] == precision]
    return read.issuperset(mine)


def _together(lines: Sequence[Line]) -> Rate | None:
    """Return the rate of all of them, each as often as a training step does it."""
    if not lines or any(line.rate is None for line in lines):
        return None
    work = sum(line.reading.count * amount_of(line.reading.task) for line in lines)

    def seconds(pick: Callable[[Sequence[float]], float]) -> float:
        return sum(line.reading.count * pick(line.reading.seconds) for line in lines)

    return Rate(work / seconds(median), work / seconds(max), work / seconds(min), "FLOP/s")


def _peers(reading: PeakReading) -> str:
    """Name the group that a reading is compared with: matmuls and attention in one precision."""
    if isinstance(reading.task, MatmulTask | AttentionTask):
        return f"matmuls in {reading.task.precision}"
    if isinstance(reading.task, CollectiveTask):
        return f"collective {reading.task.operation} of {reading.ranks}"
    return reading.group


def _published(document: PeakDocument, task: PeakTask) -> float | None:
    """Return the published rate of one device for this kind of task."""
    if document.accelerator is None:
        return None
    chip = accelerators()[document.accelerator]
    if isinstance(task, MoveTask):
        whole = chip.memory_bytes_per_second
    elif isinstance(task, MatmulTask) and task.precision == "fp8":
        whole = chip.fp8_flops_per_second
    elif isinstance(task, MatmulTask | AttentionTask):
        whole = chip.peak_flops_per_second(task.precision)
    else:
        whole = None
    return None if whole is None else whole / document.devices_per_chip


def _part(rate: Rate | None, whole: float | None) -> float | None:
    return None if rate is None or not whole else rate.value / whole
