"""One piece of work timed over and over: so often that the clock's own step does not count."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from trnbench.train.backends.base import Backend
from trnbench.train.loop import Clock

Work = Callable[[], object]
Slowest = Callable[[float], float]


def alone(seconds: float) -> float:
    """Return the seconds of the slowest rank where there is one."""
    return seconds


@dataclass(frozen=True, slots=True)
class Repeats:
    """What each repeat took for doing the work once."""

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
    slowest: Slowest = alone,
) -> Repeats:
    """Time work that is done over and over, each repeat between two waits for the device.

    Args:
        work: done once; it may leave the device busy.
        backend: what to wait for.
        repeats: timings, after those that warm up and find the number of runs.
        seconds_per_repeat: that a repeat shall fill; a single run may take longer.
        clock: in seconds.
        slowest: of all ranks that do the same, whose number of runs must be the same too.
    """
    backend.synchronize()  # what made the operands is no part of the work
    _do(work, backend)

    def timed(runs: int) -> float:
        return slowest(_seconds(work, runs, backend, clock))

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
    """Do it once; what it made lives until it was asked for, or a lazy device would not make it."""
    made = work()
    backend.end_step()
    del made
