"""Ctrl-C and the request to terminate, as something to look at instead of something that strikes.

A handler only takes note. The run looks between events, a fifth of a second apart, and so always
has the time to write down what was measured.
"""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Literal

NOTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Whether somebody asked us to stop, and how."""

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
