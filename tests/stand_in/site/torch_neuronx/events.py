"""Events and streams. One queue serves all; and the time between events is a constant.

That constant is what was measured in the field, whatever the work: who trusts events is caught.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch_neuronx.device import DEVICE

ELAPSED_MILLISECONDS = 0.03


class Event:
    """A mark in the device's queue."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self._has_timing = enable_timing

    def record(self, stream: object = None) -> None:
        """Set the mark behind what is queued."""

    def wait(self, stream: object = None) -> None:
        """Have a stream wait; there is one queue, so it does."""

    def query(self) -> bool:
        """Tell whether the device has come by."""
        return DEVICE.clock.is_idle()

    def synchronize(self) -> None:
        """Return when it has."""
        DEVICE.clock.wait()

    def elapsed_time(self, end_event: "Event") -> float:
        """Return the milliseconds that the device claims.

        Raises:
            RuntimeError: an event was made without timing.
        """
        if not (self._has_timing and end_event._has_timing):
            raise RuntimeError("Event was not created with timing enabled")
        return ELAPSED_MILLISECONDS


class Stream:
    """A queue, of which all share one."""

    def __init__(self, device: object = None, priority: int = 0) -> None:
        self.priority = priority

    def synchronize(self) -> None:
        """Return when its work is done."""
        DEVICE.clock.wait()

    def query(self) -> bool:
        """Tell whether its work is done."""
        return DEVICE.clock.is_idle()

    def wait_stream(self, stream: "Stream") -> None:
        """Do nothing: one queue keeps the order."""

    def wait_event(self, event: Event) -> None:
        """Do nothing: one queue keeps the order."""

    def record_event(self, event: Event | None = None) -> Event:
        """Return an event behind what is queued."""
        return event or Event()


DEFAULT_STREAM = Stream()


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Send work to a stream."""
    yield
