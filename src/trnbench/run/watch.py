"""What is looked at while workers work: other load on the machine, silences, and Ctrl-C."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Literal

import psutil

from trnbench.protocol.orders import Purpose
from trnbench.run.outcomes import End
from trnbench.schema.measurement import Watch

Clock = Callable[[], float]

MIN_SECONDS = 2.0
"""Shorter than this, the kernel's clock ticks of 10 ms would say more than the load does."""


class LoadWatch:
    """Compares the machine's busy time with that of the workers and our own.

    It is read between timed blocks, never inside one, and costs about a millisecond each time.
    """

    def __init__(self, pids: Sequence[int], clock: Clock = time.perf_counter) -> None:
        """Begin to watch the workers with these pids."""
        self._pids = pids
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


# --- hangs ----------------------------------------------------------------------------------------

LOOK_SECONDS = 30.0
"""A silence that is forgiven is looked at again after so long."""

LEAST_WORK = 0.05
"""Of one processor, over the time between two looks: less than this is no compiler at work."""

MOST_SILENCES = 12
"""Times the allowed silence: longer than this no work below the worker excuses it. Two hours as
configured, which no documented compilation of one training step takes."""


class HangWatch:
    """Tells workers that hang from ones that wait for their compiler.

    A step that is captured for the first time can wait half an hour for a device's compiler, which
    runs as a process of its own under the worker. As long as that uses the processor the worker is
    alive, however quiet; one that waits for a device or for another rank has no such process. Work
    without an end is a hang as well: a compiler that spins must not keep a rented machine.
    """

    def __init__(
        self,
        pids: Sequence[int],
        limit_seconds: float,
        now: float,
        work_seconds: Callable[[int], float] | None = None,
    ) -> None:
        """Begin to watch.

        Args:
            pids: of the workers.
            limit_seconds: a longer silence of all of them, without work below one, is a hang.
            now: the reading of the clock that the other methods are given.
            work_seconds: processor time of all that a worker has started.
        """
        self._pids = pids
        self._limit_seconds = limit_seconds
        self._work_seconds = work_seconds or descendants_cpu_seconds
        self.heard(now)

    def heard(self, now: float) -> None:
        """Take note that a worker has said something."""
        self._heard = self._looked = now
        self._next_look = now + self._limit_seconds
        self._worked = 0.0

    def silent_seconds(self, now: float) -> float:
        """Return how long nothing was heard."""
        return now - self._heard

    def is_hung(self, now: float) -> bool:
        """Tell whether the silence is longer than allowed, and nothing works below a worker.

        Nor may it last longer than `MOST_SILENCES` times what is allowed, whatever works.

        At the end of the allowed time whatever a compiler has worked so far counts; after it, what
        it worked since the last look.
        """
        if now <= self._next_look:
            return False
        if self.silent_seconds(now) > MOST_SILENCES * self._limit_seconds:
            return True
        worked = sum(map(self._work_seconds, self._pids))
        is_working = worked - self._worked > LEAST_WORK * min(now - self._looked, LOOK_SECONDS)
        self._worked, self._looked = worked, now
        self._next_look = now + min(LOOK_SECONDS, self._limit_seconds)
        return not is_working


def descendants_cpu_seconds(pid: int) -> float:
    """Return the processor time of everything that a process has started, ended or not.

    A process that is gone, or that may not be looked at, adds nothing.
    """
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        children = process.children(recursive=True)
    except psutil.Error:
        return 0.0
    total = times.children_user + times.children_system
    for child in children:
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue  # it ended between being listed and being asked; its parent has its time
        total += times.user + times.system + times.children_user + times.children_system
    return float(total)


# --- Ctrl-C and the request to end ----------------------------------------------------------------

NOTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Whether somebody asked us to stop, and how.

    A signal's handler only takes note. The run looks between events, a fifth of a second apart, and
    so always has the time to write down what was measured.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Take note of a signal; the first one counts."""
        if self.signal is None:
            self.signal = number

    @property
    def status(self) -> Literal["interrupted", "terminated"]:
        """How a case that was under way is recorded."""
        return "interrupted" if self.signal == signal.SIGINT else "terminated"

    @property
    def reason(self) -> str:
        """What is told to people."""
        if self.signal == signal.SIGINT:
            return "stopped by Ctrl-C"
        return f"stopped by {signal.Signals(self.signal or signal.SIGTERM).name}"

    def look(self, after: str = "", hint: str | None = None) -> None:
        """End what is under way if somebody asked for it.

        Args:
            after: what was done until then, for the reason.
            hint: how to go on another time.

        Raises:
            End: somebody did.
        """
        if self.signal is not None:
            raise End(self.status, f"{self.reason}{after}", hint)


@contextlib.contextmanager
def noted_signals() -> Iterator[Interruption]:
    """Take note of signals while inside; the handlers from before come back afterwards."""
    interruption = Interruption()
    # What was ignored when we were started, as under nohup, stays ignored.
    heeded = [number for number in NOTED if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interruption.note) for number in heeded}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
