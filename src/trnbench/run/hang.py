"""When silence is a hang, and when it is a compiler at work.

A step that is captured for the first time can wait half an hour for a device's compiler, which
runs as a process of its own under the worker. As long as that uses the processor the worker is
alive, however quiet; a worker that waits for a device or for another rank has no such process.
Work without an end is a hang as well: a compiler that spins must not keep a rented machine.
"""

from collections.abc import Callable

import psutil

LOOK_SECONDS = 30.0
"""A silence that is forgiven is looked at again after so long."""

LEAST_WORK = 0.05
"""Of one processor, over the time between two looks: less than this is no compiler at work."""

MOST_SILENCES = 12
"""Times the allowed silence: longer than this no work below the worker excuses it. Two hours as
configured, which no documented compilation of one training step takes."""


class HangWatch:
    """Tells a worker that hangs from one that waits for its compiler."""

    def __init__(
        self,
        pid: int,
        limit_seconds: float,
        now: float,
        work_seconds: Callable[[int], float] | None = None,
    ) -> None:
        """Begin to watch.

        Args:
            pid: of the worker.
            limit_seconds: a silence longer than this, without work below the worker, is a hang.
            now: the reading of the clock that the other methods are given.
            work_seconds: processor time of all that the worker has started.
        """
        self._pid = pid
        self._limit_seconds = limit_seconds
        self._work_seconds = work_seconds or descendants_cpu_seconds
        self.heard(now)

    def heard(self, now: float) -> None:
        """Take note that the worker has said something."""
        self._heard = self._looked = now
        self._next_look = now + self._limit_seconds
        self._worked = 0.0

    def silent_seconds(self, now: float) -> float:
        """Return how long nothing was heard."""
        return now - self._heard

    def is_hung(self, now: float) -> bool:
        """Tell whether the silence is longer than allowed, and nothing works below the worker.

        Nor may it last longer than `MOST_SILENCES` times what is allowed, whatever works.

        At the end of the allowed time whatever a compiler has worked so far counts; after it, what
        it worked since the last look.
        """
        if now <= self._next_look:
            return False
        if self.silent_seconds(now) > MOST_SILENCES * self._limit_seconds:
            return True
        worked = self._work_seconds(self._pid)
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
