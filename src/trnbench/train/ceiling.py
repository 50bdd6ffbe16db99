"""How fast this device multiplies square matrices here and now: the ceiling of its MFU.

For a CPU there is no other: a datasheet knows neither this machine's clocks nor its threads.

Source: docs/metrics.md, "A CPU's peak".
"""

import math
import time
from collections.abc import Callable

import torch

from trnbench.train.backends.base import Backend
from trnbench.train.loop import Clock
from trnbench.train.precision import product_dtype
from trnbench.wire import CeilingPoint, Precision

SIZES = (512, 1024, 2048)
REPEATS = 5
SECONDS_PER_REPEAT = 0.1


def measure_ceiling(
    backend: Backend,
    precision: Precision,
    sizes: tuple[int, ...] = SIZES,
    clock: Clock = time.perf_counter,
) -> list[CeilingPoint]:
    """Time n x n x n products in this run's arithmetic and threads, each size several times."""
    dtype = product_dtype(precision)
    return [_measure_size(backend, size, dtype, clock) for size in sizes]


def _measure_size(backend: Backend, size: int, dtype: torch.dtype, clock: Clock) -> CeilingPoint:
    # Values of mean zero and size one: zeros would multiply faster than real data does.
    left = torch.randn(size, size, device=backend.device).to(dtype)
    right = torch.randn(size, size, device=backend.device).to(dtype)
    product = torch.empty(size, size, device=backend.device, dtype=dtype)
    made_by = backend.products().multiply

    def multiply() -> None:
        # The way that the step makes them: a ceiling below the step's own rate would be none.
        if made_by is torch.mm:
            torch.mm(left, right, out=product)
        else:
            made_by(left, right)

    multiply()
    runs = 1
    while (seconds := _seconds(multiply, runs, backend, clock)) < SECONDS_PER_REPEAT / 2:
        runs *= 2
    runs = math.ceil(runs * SECONDS_PER_REPEAT / seconds)
    flops = 2.0 * size**3 * runs
    rates = [flops / _seconds(multiply, runs, backend, clock) for _ in range(REPEATS)]
    return CeilingPoint(size=size, flops_per_second=rates)


def _seconds(work: Callable[[], None], runs: int, backend: Backend, clock: Clock) -> float:
    backend.synchronize()
    started = clock()
    for _ in range(runs):
        work()
    backend.synchronize()
    return clock() - started
