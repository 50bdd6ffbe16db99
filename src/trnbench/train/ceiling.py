"""How fast this device multiplies square matrices here and now: what training is held against.

For a CPU there is no other peak: a datasheet knows neither this machine's clocks nor its threads.

Source: docs/metrics.md, "A CPU's peak", "The measured ceiling".
"""

import time

import torch

from trnbench.train.backends.base import Backend
from trnbench.train.loop import Clock
from trnbench.train.primitives import product
from trnbench.train.repeats import repeat
from trnbench.wire import CeilingPoint

REPEATS = 5
SECONDS_PER_REPEAT = 0.1


def measure_ceiling(
    backend: Backend,
    dtype: torch.dtype,
    sizes: tuple[int, ...] | None = None,
    clock: Clock = time.perf_counter,
) -> list[CeilingPoint]:
    """Time n x n x n products in one type, with this run's threads, each size several times."""
    return [_measure_size(backend, size, dtype, clock) for size in sizes or backend.ceiling_sizes]


def _measure_size(backend: Backend, size: int, dtype: torch.dtype, clock: Clock) -> CeilingPoint:
    work = product(backend, dtype, size, size, size)
    timed = repeat(
        work, backend, repeats=REPEATS, seconds_per_repeat=SECONDS_PER_REPEAT, clock=clock
    )
    flops = 2.0 * size**3
    return CeilingPoint(size=size, flops_per_second=[flops / each for each in timed.seconds])
