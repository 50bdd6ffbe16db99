"""Microbenchmarks: matmuls, memory, attention and collectives, each timed over and over.

`measure_peaks` is the child of `trnbench peak`: one task after another, each told as soon as it is
timed. `measure_ceiling` times square matmuls beside a training run: a CPU has no other peak, since
a datasheet knows neither this machine's clocks nor its threads.

Operands are of mean zero and size one: zeros multiply faster than real data does, on some devices.

Source: docs/metrics.md, "A CPU's peak", "The measured ceiling".
"""

import datetime
import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import torch
import torch.distributed as dist

from trnbench.protocol.orders import (
    AttentionTask,
    CollectiveTask,
    MatmulTask,
    Microbench,
    MoveTask,
    PeakTask,
)
from trnbench.protocol.records import CeilingPoint, PeakPoint
from trnbench.train.backends.base import Backend, Claim, Unavailable
from trnbench.train.channel import Channel
from trnbench.train.layers import fp8
from trnbench.train.layers.attention import Mask, attend
from trnbench.train.loop import Clock

FLOAT_BYTES = 4
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": fp8.VALUES}
TRIAD_FACTOR = 0.5

REPEATS = 5
SECONDS_PER_REPEAT = 0.1

LIBRARIES = {"cpu": "gloo", "cuda": "nccl"}
"""What torch.distributed moves data with, by backend. Neuron's own tool measures its chips."""
PATIENCE = datetime.timedelta(seconds=120)

Work = Callable[[], object]
Slowest = Callable[[float], float]


def matmul(
    backend: Backend,
    dtype: torch.dtype,
    m: int,
    n: int,
    k: int,
    layout: Literal["nt", "nn", "tn"] = "nn",
) -> Work:
    """Return a matmul (M, K) by (K, N), its operands laid out as the step's are."""
    drawn = torch.bfloat16 if dtype == fp8.VALUES else dtype
    left = _values(backend, drawn, k, m).t() if layout == "tn" else _values(backend, drawn, m, k)
    right = _values(backend, drawn, n, k).t() if layout == "nt" else _values(backend, drawn, k, n)
    if dtype == fp8.VALUES:
        values, other = fp8.to_fp8(left.contiguous()), fp8.to_fp8(right.t().contiguous())
        return lambda: fp8.multiply(values, other, torch.bfloat16, is_fast=True)
    made = torch.empty(m, n, device=backend.device, dtype=dtype)
    return lambda: torch.mm(left, right, out=made)


def move(backend: Backend, task: MoveTask) -> Work:
    """Return a copy or STREAM's triad over arrays of fp32."""
    count = max(task.array_bytes // FLOAT_BYTES, 1)
    target = torch.empty(count, device=backend.device)
    first = _values(backend, torch.float32, count)
    if task.motion == "copy":
        return lambda: target.copy_(first)
    second = _values(backend, torch.float32, count)
    return lambda: torch.add(first, second, alpha=TRIAD_FACTOR, out=target)


def attention(backend: Backend, task: AttentionTask) -> Work:
    """Return the attention core as our models call it, forward or with its gradients."""
    dtype, mask = DTYPES[task.precision], Mask()
    core = backend.attention_core(dtype)
    q, k, v = (
        _values(backend, dtype, task.batch, heads, task.tokens, task.head_dim)
        for heads in (task.heads, task.kv_heads, task.kv_heads)
    )
    if task.passes == "forward":

        def forward() -> object:
            with torch.no_grad():
                return attend(q, k, v, mask, core=core)

        return forward
    inputs = [x.requires_grad_() for x in (q, k, v)]
    gradient = _values(backend, dtype, *q.shape)
    return lambda: torch.autograd.grad(attend(q, k, v, mask, core=core), inputs, gradient)


def make_work(backend: Backend, task: MatmulTask | MoveTask | AttentionTask) -> Work:
    """Return the work that a task names, with its operands on the device."""
    if isinstance(task, MatmulTask):
        return matmul(backend, DTYPES[task.precision], task.m, task.n, task.k, task.layout)
    return move(backend, task) if isinstance(task, MoveTask) else attention(backend, task)


def _values(backend: Backend, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return torch.randn(shape, device=backend.device).to(dtype)


class Ranks:
    """The process group of all ranks, inside a `with`; one rank alone needs none."""

    def __init__(self, question: Microbench, backend: Backend) -> None:
        self._question = question
        self._backend = backend

    def __enter__(self) -> Self:
        """Join the process group.

        Raises:
            Unavailable: nothing here moves data between such devices.
        """
        asked = self._question
        if asked.ranks == 1:
            return self
        library = LIBRARIES.get(self._backend.name)
        if library is None or not dist.is_available() or not dist.is_backend_available(library):
            raise Unavailable(
                f"torch moves no data between {self._backend.name} devices here",
                hint="measure without collectives: --ranks 1",
            )
        dist.init_process_group(
            library,
            init_method=f"file://{asked.rendezvous}",
            rank=asked.rank,
            world_size=asked.ranks,
            timeout=PATIENCE,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        """Leave it, unless an error ends this process: the others must not be waited for."""
        if self._question.ranks > 1 and kind is None:
            dist.destroy_process_group()

    def slowest(self, seconds: float) -> float:
        """Return the seconds of the rank that took longest; every rank must call it."""
        if self._question.ranks == 1:
            return seconds
        held = torch.tensor([seconds], device=self._backend.device)
        dist.all_reduce(held, op=dist.ReduceOp.MAX)
        return float(held.item())

    def work(self, task: CollectiveTask) -> Callable[[], object]:
        """Return one collective operation over an array of this many bytes."""
        ranks, device = self._question.ranks, self._backend.device
        part = max(task.whole_bytes // FLOAT_BYTES // ranks, 1)
        # Zeros: sums of sums of anything else would grow to infinity.
        whole_array = torch.zeros(part * ranks, device=device)
        part_array = torch.zeros(part, device=device)
        if task.operation == "all_reduce":
            return lambda: dist.all_reduce(whole_array)
        if task.operation == "all_gather":
            return lambda: dist.all_gather_into_tensor(whole_array, part_array)
        return lambda: dist.reduce_scatter_tensor(part_array, whole_array)


@dataclass(frozen=True, slots=True)
class Repeats:
    """Seconds of the work done once, by each repeat."""

    runs: int
    """Times the work was done in each repeat."""
    seconds: list[float]


def repeat(
    work: Work,
    backend: Backend,
    *,
    repeats: int,
    seconds_per_repeat: float,
    clock: Clock = time.perf_counter,
    slowest: Slowest | None = None,
) -> Repeats:
    """Time work that is done over and over, each repeat between two waits for the device.

    Args:
        work: done once; it may leave the device busy.
        backend: what to wait for.
        repeats: timings, after those that warm up and find the number of runs.
        seconds_per_repeat: the least length of a repeat, about; a single run may take longer.
        clock: in seconds.
        slowest: from this rank's seconds to those of the slowest: all make as many runs.
    """
    backend.synchronize()  # making the operands is no part of the work
    _do(work, backend)

    def timed(runs: int) -> float:
        seconds = _seconds(work, runs, backend, clock)
        return seconds if slowest is None else slowest(seconds)

    runs = 1
    while (seconds := timed(runs)) < seconds_per_repeat / 2:
        runs *= 2
    runs = math.ceil(runs * seconds_per_repeat / seconds)
    return Repeats(runs, [timed(runs) / runs for _ in range(repeats)])


def _seconds(work: Work, runs: int, backend: Backend, clock: Clock) -> float:
    backend.synchronize()
    started = clock()
    for _ in range(runs):
        _do(work, backend)
    backend.synchronize()
    return clock() - started


def _do(work: Work, backend: Backend) -> None:
    """Do it once; its outcome lives until the step's end, or a lazy device would not make it."""
    made = work()
    backend.end_step()
    del made


def claim_of(question: Microbench) -> Claim:
    """Return the one claim of all tasks, whatever their number formats."""
    return Claim(threads=question.threads, index=question.device_index)


def measure_peaks(question: Microbench, backend: Backend, channel: Channel) -> None:
    """Time every task and send its result; of several ranks the first one sends."""
    with Ranks(question, backend) as ranks:
        for task in question.tasks:
            fields = _measure(task, question, backend, ranks)
            if question.rank == 0:
                channel.send(PeakPoint, name=task.name, **fields)
            gc.collect()
            backend.empty_cache()


def _measure(
    task: PeakTask, question: Microbench, backend: Backend, ranks: Ranks
) -> dict[str, Any]:
    try:
        work = ranks.work(task) if isinstance(task, CollectiveTask) else make_work(backend, task)
        made = repeat(
            work,
            backend,
            repeats=question.repeats,
            seconds_per_repeat=question.seconds_per_repeat,
            slowest=ranks.slowest,
        )
    except (RuntimeError, MemoryError) as error:
        if question.ranks > 1:
            raise  # the other ranks are waiting for this one
        explained = backend.explain(error)
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        reason = f"{explained[1]}: {first}" if explained else first
        return {"runs": 0, "seconds": [], "reason": reason}
    return {"runs": made.runs, "seconds": made.seconds}


def measure_ceiling(
    backend: Backend,
    dtype: torch.dtype,
    sizes: tuple[int, ...] | None = None,
    clock: Clock = time.perf_counter,
) -> list[CeilingPoint]:
    """Time n x n x n matmuls in one type, with this run's threads, each size several times."""
    points = []
    for size in sizes or backend.ceiling_sizes:
        work = matmul(backend, dtype, size, size, size)
        timed = repeat(
            work, backend, repeats=REPEATS, seconds_per_repeat=SECONDS_PER_REPEAT, clock=clock
        )
        rates = [2.0 * size**3 / each for each in timed.seconds]
        points.append(CeilingPoint(size=size, flops_per_second=rates))
    return points
