"""What is watched while workers work: other load on the machine, silences, and Ctrl-C."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Literal, Protocol

import psutil

from trnbench.protocol.orders import Purpose
from trnbench.run.outcomes import End
from trnbench.schema.measurement import Watch

Clock = Callable[[], float]

MIN_SECONDS = 2.0
"""Shorter than this, the kernel's clock ticks of 10 ms would say more than the load does."""

MAX_SHARE = 0.01
"""Of the parent's time, for looks."""


class LoadWatch:
    """Compares the machine's busy time with that of the workers and our own.

    It is read between timed blocks, never inside one. A look costs as much as there are processes
    on the machine, whatever the number of ranks; where that is long, looks are rare.
    """

    def __init__(self, pids: Sequence[int], clock: Clock = time.perf_counter) -> None:
        self._pids = pids
        self._clock = clock
        self._cpus = psutil.cpu_count() or 1
        self._last_clock = clock()
        self._last_busy = _busy_seconds()
        self._last_ours, _ = self._read()
        self._pause = MIN_SECONDS

    def look(self, at_seconds: float, purpose: Purpose) -> Watch | None:
        """Return the load since the last look, or None if that was too short ago."""
        now = self._clock()
        elapsed = now - self._last_clock
        if elapsed < self._pause:
            return None
        began = time.thread_time()
        busy = _busy_seconds()
        ours, resident_bytes = self._read()
        self._pause = max(MIN_SECONDS, (time.thread_time() - began) / MAX_SHARE)
        foreign = (busy - self._last_busy) - (ours - self._last_ours)
        self._last_clock, self._last_busy, self._last_ours = now, busy, ours
        return Watch(
            at_seconds=at_seconds,
            purpose=purpose,
            seconds=elapsed,
            foreign_cpu_share=min(max(foreign / (elapsed * self._cpus), 0.0), 1.0),
            worker_rss_bytes=resident_bytes,
        )

    def _read(self) -> tuple[float, int]:
        """Return processor seconds and resident bytes: of the workers and all that they started.

        Our own processor time counts too.
        """
        seconds, resident_bytes = _cpu_seconds(psutil.Process()), 0
        for pid in _family(self._pids):
            with contextlib.suppress(psutil.Error):  # one that is gone adds nothing
                process = psutil.Process(pid)
                with process.oneshot():
                    seconds += _cpu_seconds(process)
                    resident_bytes += process.memory_info().rss
        return seconds, resident_bytes


def _family(pids: Sequence[int]) -> set[int]:
    """Return some processes and all that descend from them, by one look at the process table."""
    children: dict[int, list[int]] = {}
    for pid, parent in _process_table():
        children.setdefault(parent, []).append(pid)
    family: set[int] = set()
    found = list(pids)
    while found:
        pid = found.pop()
        if pid not in family:
            family.add(pid)
            found += children.get(pid, ())
    return family


def _process_table() -> Iterator[tuple[int, int]]:
    """Yield each process with its parent.

    On Linux `/proc` is read as it is: psutil makes sure of each process's identity, which takes
    five times as long, and a case of a sweep would spend half of its parent's time on that.
    """
    if sys.platform != "linux":
        yield from ((each.pid, each.info["ppid"]) for each in psutil.process_iter(["ppid"]))
        return
    for name in os.listdir("/proc"):  # noqa: PTH208 - hundreds are listed at each look
        if name.isdecimal():
            with contextlib.suppress(OSError):  # one that is gone is nobody's child
                stat = os.open(f"/proc/{name}/stat", os.O_RDONLY)
                try:
                    line = os.read(stat, 1024)
                finally:
                    os.close(stat)
                # proc(5): pid (name) state ppid; the name may hold spaces and brackets.
                yield int(name), int(line.rpartition(b")")[2].split(None, 2)[1])


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_seconds() -> float:
    """Return the machine's processor time that was not idle, since it started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guest)  # guests are counted in user time already


# --- hangs ----------------------------------------------------------------------------------------

LOOK_SECONDS = 30.0
"""After a silence was excused by a compiler's work, it is judged again after so long."""

LEAST_WORK = 0.05
"""Of one processor, over the time between two looks: less than this is no compiler at work."""

MOST_SILENCES = 12
"""Times the allowed silence: no work below the worker excuses a longer one. Two hours as
configured, which no documented compilation of one training step takes."""


class HangWatch:
    """Tells workers that hang from ones that wait for their compiler.

    A step that is captured for the first time can wait half an hour for a device's compiler, which
    runs as a process of its own under the worker. While that uses the processor the worker does not
    hang, however long it is silent; one that waits for a device or for another rank has no such
    process. Work without an end is a hang as well: a compiler that spins must not keep a rented
    machine.
    """

    def __init__(
        self,
        pids: Sequence[int],
        limit_seconds: float,
        now: float,
        work_seconds: Callable[..., float] | None = None,
    ) -> None:
        """Begin to watch: a longer silence of all workers, without work below one, is a hang.

        `work_seconds` reads the processor time of all that the workers have started.
        """
        self._pids = pids
        self._limit_seconds = limit_seconds
        self._work_seconds = work_seconds or descendants_cpu_seconds
        self.reset(now)

    def reset(self, now: float) -> None:
        """Begin anew: a worker has sent a record."""
        self._last_record = self._last_look = now
        self._next_look = now + self._limit_seconds
        self._worked = 0.0

    def silent_seconds(self, now: float) -> float:
        """Return how long no record came."""
        return now - self._last_record

    def is_hung(self, now: float) -> bool:
        """Tell whether the silence is too long.

        At the end of the allowed time, any work of a compiler so far excuses it; after that, only
        work since the last look; and nothing beyond `MOST_SILENCES` times the allowed time.
        """
        if now <= self._next_look:
            return False
        if self.silent_seconds(now) > MOST_SILENCES * self._limit_seconds:
            return True
        worked = self._work_seconds(*self._pids)
        is_working = worked - self._worked > LEAST_WORK * min(now - self._last_look, LOOK_SECONDS)
        self._worked, self._last_look = worked, now
        self._next_look = now + min(LOOK_SECONDS, self._limit_seconds)
        return not is_working


def descendants_cpu_seconds(*pids: int) -> float:
    """Return the processor time of all that some processes have started, ended or not."""
    total = 0.0
    for pid in _family(pids):
        with contextlib.suppress(psutil.Error):  # gone since it was listed: its parent has its time
            times = psutil.Process(pid).cpu_times()
            total += times.children_user + times.children_system
            if pid not in pids:
                total += times.user + times.system
    return total


_STATES = {
    psutil.STATUS_STOPPED: "is stopped by a signal",
    psutil.STATUS_TRACING_STOP: "is stopped by a debugger",
    psutil.STATUS_DISK_SLEEP: "waits inside the kernel, for a driver or a disk",
}


def process_state(pid: int) -> str | None:
    """Return what the state of a process says of its silence; None where it says nothing."""
    with contextlib.suppress(psutil.Error):
        return _STATES.get(psutil.Process(pid).status())
    return None


# --- Ctrl-C and the request to end ----------------------------------------------------------------

NOTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """The first signal that asked us to stop, if one did.

    A signal's handler only takes note. The run checks between events, a fifth of a second apart,
    and so always has the time to write down what was measured.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Take note of a signal, as its handler."""
        if self.signal is None:
            self.signal = number

    @property
    def status(self) -> Literal["interrupted", "terminated"]:
        """How a case that was under way is recorded."""
        return "interrupted" if self.signal == signal.SIGINT else "terminated"

    @property
    def reason(self) -> str:
        """What people read."""
        if self.signal == signal.SIGINT:
            return "stopped by Ctrl-C"
        return f"stopped by {signal.Signals(self.signal or signal.SIGTERM).name}"

    def check(self, after: str = "", hint: str | None = None) -> None:
        """Raise an `End` if a signal came; `after` says what was done until then."""
        if self.signal is not None:
            raise End(self.status, f"{self.reason}{after}", hint)


class Interrupted(Protocol):
    """What hears of signals elsewhere."""

    interruption: Interruption | None


@contextlib.contextmanager
def noted_signals(beside: "Interrupted | None" = None) -> Iterator[Interruption]:
    """Take note of signals while inside; the handlers from before come back afterwards.

    `beside` takes note of those that other nodes of the job were sent.
    """
    interruption = Interruption()
    if beside is not None:
        beside.interruption = interruption
    # What was ignored when we were started, as under nohup, stays ignored.
    heeded = [number for number in NOTED if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interruption.note) for number in heeded}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
