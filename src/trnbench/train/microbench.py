"""Microbenchmarks: matmuls, memory, attention and collectives, each timed over and over.

`measure_peaks` times the tasks of `trnbench peak` one after another. `measure_ceiling` times square
matmuls beside a training run: a CPU has no other peak FLOP/s, since no datasheet knows a machine's
clocks and threads. Operands have mean zero and variance one: zeros multiply faster on some devices.

Source: docs/metrics.md, "A CPU's peak", "The measured ceiling".
"""

import functools
import gc
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist

from trnbench.protocol import orders
from trnbench.protocol.records import CeilingPoint, PeakPoint
from trnbench.train.backends.base import Backend
from trnbench.train.channel import Channel, first_line
from trnbench.train.layers import fp8
from trnbench.train.layers.attention import Mask, attend
from trnbench.train.loop import Clock

FLOAT_BYTES = 4
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": fp8.VALUES}
TRIAD_FACTOR = 0.5

REPEATS, SECONDS_PER_REPEAT = 5, 0.1
"""Of each size of a ceiling."""

_LACKS = re.compile(r"does not support|not implemented|not supported", re.IGNORECASE)
"""What torch says of an operation that a process group does not have, on every rank alike."""

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Repeats:
    """What `repeat` has timed."""

    runs: int
    """Times the work was done in each repeat."""
    seconds: list[float]
    """Of doing it once, the mean within each repeat."""


def measure_peaks(job: orders.Microbench, backend: Backend, channel: Channel) -> None:
    """Time every task and send its result; of several ranks the first one sends.

    The ranks have joined their process group.
    """
    for task in job.tasks:
        fields = _measure(task, job, backend)
        if job.seat.rank == 0:
            channel.send(PeakPoint, name=task.name, **fields)
        gc.collect()
        backend.empty_cache()


def measure_together(
    task: orders.PeakTask, backend: Backend, ranks: int, repeats: int, seconds_per_repeat: float
) -> Repeats:
    """Time a task that so many ranks do together; every rank must call it."""
    return repeat(
        make_work(backend, task, ranks),
        backend,
        repeats=repeats,
        seconds_per_repeat=seconds_per_repeat,
        slowest=None if ranks == 1 else functools.partial(_slowest, backend=backend),
    )


def _measure(task: orders.PeakTask, job: orders.Microbench, backend: Backend) -> dict[str, Any]:
    is_alone = job.seat.is_alone
    try:
        made = measure_together(
            task, backend, job.seat.world_size, job.repeats, job.seconds_per_repeat
        )
    except (RuntimeError, MemoryError) as error:
        reason = first_line(error)
        if not is_alone and not _LACKS.search(reason):
            raise  # the other ranks are waiting for this one
        explained = backend.explain(error)
        if explained is not None:
            reason = f"{explained[1]}: {reason}"
        return {"runs": 0, "seconds": [], "reason": reason}
    return {"runs": made.runs, "seconds": made.seconds}


def measure_ceiling(
    backend: Backend,
    dtype: torch.dtype,
    sizes: tuple[int, ...] | None = None,
    clock: Clock = time.perf_counter,
) -> list[CeilingPoint]:
    """Time n x n x n matmuls in one format, each size several times."""
    points = []
    for size in sizes or backend.ceiling_sizes:
        work = matmul(backend, dtype, size, size, size)
        timed = repeat(
            work, backend, repeats=REPEATS, seconds_per_repeat=SECONDS_PER_REPEAT, clock=clock
        )
        rates = [2.0 * size**3 / each for each in timed.seconds]
        points.append(CeilingPoint(size=size, flops_per_second=rates))
    return points


def repeat(
    work: Work,
    backend: Backend,
    *,
    repeats: int,
    seconds_per_repeat: float,
    clock: Clock = time.perf_counter,
    slowest: Callable[[float], float] | None = None,
) -> Repeats:
    """Time work that is done over and over, each repeat between two waits for the device.

    A repeat takes `seconds_per_repeat` or a little more. `slowest` is from this rank's seconds to
    those of the slowest, so that all ranks do as many runs.
    """
    backend.synchronize()  # making the operands is no part of the work
    _do(work, backend)

    def timed(runs: int) -> float:
        backend.synchronize()
        started = clock()
        for _ in range(runs):
            _do(work, backend)
        backend.synchronize()
        seconds = clock() - started
        return seconds if slowest is None else slowest(seconds)

    runs = 1
    while (seconds := timed(runs)) < seconds_per_repeat / 2:
        runs *= 2
    runs = math.ceil(runs * seconds_per_repeat / seconds)
    return Repeats(runs, [timed(runs) / runs for _ in range(repeats)])


def _do(work: Work, backend: Backend) -> None:
    """Do it once; the outcome lives until `end_step`, or a lazy device would not compute it."""
    made = work()
    backend.end_step()
    del made


def make_work(backend: Backend, task: orders.PeakTask, ranks: int = 1) -> Work:
    """Return the work that a task names, with its operands on the device."""
    if isinstance(task, orders.CollectiveTask):
        return _collective(backend, task, ranks)
    if isinstance(task, orders.MatmulTask):
        return matmul(backend, DTYPES[task.precision], task.m, task.n, task.k, task.layout)
    return move(backend, task) if isinstance(task, orders.MoveTask) else attention(backend, task)


def matmul(
    backend: Backend,
    dtype: torch.dtype,
    m: int,
    n: int,
    k: int,
    layout: Literal["nt", "nn", "tn"] = "nn",
) -> Work:
    """Return a matmul (M, K) by (K, N), its operands laid out as a step's."""
    drawn = torch.bfloat16 if dtype == fp8.VALUES else dtype
    left = _values(backend, drawn, k, m).t() if layout == "tn" else _values(backend, drawn, m, k)
    right = _values(backend, drawn, n, k).t() if layout == "nt" else _values(backend, drawn, k, n)
    if dtype == fp8.VALUES:
        values, other = fp8.to_fp8(left.contiguous()), fp8.to_fp8(right.t().contiguous())
        return lambda: fp8.multiply(values, other, torch.bfloat16, is_fast=True)
    made = torch.empty(m, n, device=backend.device, dtype=dtype)
    return lambda: torch.mm(left, right, out=made)


def move(backend: Backend, task: orders.MoveTask) -> Work:
    """Return a copy or STREAM's triad over arrays of fp32."""
    count = max(task.array_bytes // FLOAT_BYTES, 1)
    target = torch.empty(count, device=backend.device)
    first = _values(backend, torch.float32, count)
    if task.motion == "copy":
        return lambda: target.copy_(first)
    second = _values(backend, torch.float32, count)
    return lambda: torch.add(first, second, alpha=TRIAD_FACTOR, out=target)


def attention(backend: Backend, task: orders.AttentionTask) -> Work:
    """Return causal attention as our models call it, forward or with its gradients."""
    dtype = DTYPES[task.precision]
    q, k, v = (
        _values(backend, dtype, task.batch, heads, task.tokens, task.head_dim)
        for heads in (task.heads, task.kv_heads, task.kv_heads)
    )
    forward = functools.partial(attend, q, k, v, Mask(), core=backend.attention_core(dtype))
    if task.passes == "forward":
        return torch.no_grad()(forward)
    inputs = [x.requires_grad_() for x in (q, k, v)]
    gradient = _values(backend, dtype, *q.shape)
    return lambda: torch.autograd.grad(forward(), inputs, gradient)


def _values(backend: Backend, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return torch.randn(shape, device=backend.device).to(dtype)


def _collective(backend: Backend, task: orders.CollectiveTask, ranks: int) -> Work:
    part = max(task.whole_bytes // FLOAT_BYTES // ranks, 1)
    # Zeros: sums of sums of anything else would grow to infinity.
    whole = torch.zeros(part * ranks, device=backend.device)
    other = torch.zeros(part, device=backend.device)
    match task.operation:
        case "all_reduce":
            return lambda: dist.all_reduce(whole)
        case "all_gather":
            gather = _renamed("all_gather_single", "all_gather_into_tensor")
            return lambda: gather(whole, other)
        case "reduce_scatter":
            reduce = _renamed("reduce_scatter_single", "reduce_scatter_tensor")
            return lambda: reduce(other, whole)
        case "broadcast":
            return lambda: dist.broadcast(whole, src=0)
        case "all_to_all":
            received = torch.zeros_like(whole)
            return lambda: dist.all_to_all_single(received, whole)
        case "send_receive":
            return _ring(whole)


def _renamed(new: str, old: str) -> Callable[..., object]:
    """Return a collective by its name since torch 2.13, or by the one before."""
    found: Callable[..., object] = getattr(dist, new, None) or getattr(dist, old)
    return found


def _ring(sent: torch.Tensor) -> Work:
    """Return a pass of an array from each rank to the next."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    received = torch.zeros_like(sent)

    def pass_on() -> None:
        both = [
            dist.P2POp(dist.isend, sent, (rank + 1) % ranks),
            dist.P2POp(dist.irecv, received, (rank - 1) % ranks),
        ]
        for each in dist.batch_isend_irecv(both):
            each.wait()

    return pass_on


def _slowest(seconds: float, backend: Backend) -> float:
    """Return the seconds of the slowest rank; every rank must call it."""
    slowest = torch.tensor([seconds], device=backend.device)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    return float(slowest.item())
