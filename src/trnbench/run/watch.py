"""What the machine does beside the worker: others' processor time, and the worker's memory.

It is read between timed blocks, never inside one, and costs about a millisecond each time.
"""

import time
from collections.abc import Callable, Sequence

import psutil

from trnbench.schema.records import Watch
from trnbench.wire import Purpose

MIN_SECONDS = 2.0
"""Shorter than this, the kernel's clock ticks of 10 ms would say more than the load does."""


class LoadWatch:
    """Compares the machine's busy time with the worker's and our own."""

    def __init__(
        self,
        pid: int,
        clock: Callable[[], float] = time.perf_counter,
        *,
        others: Sequence[int] = (),
    ) -> None:
        """Begin to watch.

        Args:
            pid: of the worker.
            clock: in seconds.
            others: further workers' pids, where several work at once.
        """
        self._pids = (pid, *others)
        self._clock = clock
        self._cpus = psutil.cpu_count() or 1
        self._last_clock = clock()
        self._last_busy = _busy_seconds()
        self._last_ours = self._our_seconds()

    def look(self, at_seconds: float, purpose: Purpose) -> Watch | None:
        """Return what happened since the last look, or None if that is too short ago."""
        now = self._clock()
        elapsed = now - self._last_clock
        if elapsed < MIN_SECONDS:
            return None
        busy, ours = _busy_seconds(), self._our_seconds()
        foreign = (busy - self._last_busy) - (ours - self._last_ours)
        self._last_clock, self._last_busy, self._last_ours = now, busy, ours
        return Watch(
            at_seconds=at_seconds,
            purpose=purpose,
            seconds=elapsed,
            foreign_cpu_share=min(max(foreign / (elapsed * self._cpus), 0.0), 1.0),
            worker_rss_bytes=self._worker_rss_bytes(),
        )

    def _our_seconds(self) -> float:
        own = psutil.Process().cpu_times()
        total = own.user + own.system
        for process in self._worker_processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue  # it ended between being listed and being asked
            total += times.user + times.system
        return total

    def _worker_rss_bytes(self) -> int:
        total = 0
        for process in self._worker_processes():
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue  # it ended between being listed and being asked
        return total

    def _worker_processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for pid in self._pids:
            try:
                leader = psutil.Process(pid)
                found += [leader, *leader.children(recursive=True)]
            except psutil.Error:
                continue  # the worker is gone: there is nothing of it left to count
        return found


def _busy_seconds() -> float:
    """Return the machine's processor time that was not idle, since it started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guest)  # guests are counted in user time already
