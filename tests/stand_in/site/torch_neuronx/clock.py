"""The device's time: work is queued and takes its time while the host goes on.

The values are there at once, since the CPU computes them; that they are *not yet* there is kept as
a moment, and every way to read them waits until that moment has come.
"""

import threading
import time


class DeviceClock:
    """When the device will have done all that was given to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a backward pass gives work from a thread of its own
        self.busy_until = 0.0
        """In the time of `perf_counter`, which is the same in all processes of a Linux machine."""
        self.waits = 0
        """How often the host waited for the device: asked to, or because it read a value."""
        self.seconds_given = 0.0
        """Device time of all work so far."""

    def give(self, seconds: float) -> None:
        """Queue work behind what is there."""
        with self._lock:
            self.busy_until = max(self.busy_until, time.perf_counter()) + seconds
            self.seconds_given += seconds

    def wait(self) -> None:
        """Return when the device is idle."""
        self.waits += 1
        while (left := self.busy_until - time.perf_counter()) > 0:
            time.sleep(left)

    def is_idle(self) -> bool:
        """Tell whether all work is done."""
        return time.perf_counter() >= self.busy_until
