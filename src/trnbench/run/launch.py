"""One worker process group: started, heard, told, and gone without a trace when it is over.

The worker leads a session of its own, so a Ctrl-C meant for the parent does not reach it. A
guardian sees to it that it does not outlive the parent.
"""

import selectors
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trnbench.process import Child, LineTooLongError
from trnbench.schema.errors import ConfigError
from trnbench.wire import Command, encode

ENTRY = Path(__file__).resolve().parents[1] / "train" / "entry.py"

_TICK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Line:
    """One whole line that the worker sent on the record pipe."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Overflow:
    """The worker sent more than a line can hold without ending one."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing came for a moment."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker is gone and all that it sent has been read."""

    exit_code: int
    """Negative: the signal that ended it."""


Event = Line | Overflow | Silence | Ended


def worker_command(python: str, task: str, plan: Path | None = None) -> list[str]:
    """Return the command line of a worker under the given interpreter, without its record pipe."""
    return [python, str(ENTRY), task, *([str(plan)] if plan else [])]


class Worker:
    """A running worker, seen from the parent."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it.

        Args:
            command: as of `worker_command`; the option for the record pipe is added here.
            environment: variables on top of the parent's own.

        Raises:
            ConfigError: the interpreter cannot be started.
        """
        try:
            self._child = Child(command, environment, lines_option="--records-fd")
        except OSError as error:
            raise ConfigError(
                f"{command[0]}: cannot be started: {error.strerror}",
                hint="name a Python interpreter with `--python PATH`",
            ) from error
        self.pid = self._child.pid
        self._pending: deque[Event] = deque()

    def events(self) -> Iterator[Event]:
        """Return what happens, a `Silence` at least every 0.2 seconds, until the worker ended."""
        while True:
            while self._pending:
                event = self._pending.popleft()
                yield event
                if isinstance(event, Ended):
                    return
            self._listen()

    def _listen(self) -> None:
        """Wait for a moment, and take note of what happened."""
        with selectors.DefaultSelector() as selector:
            for descriptor in self._child.descriptors:
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(_TICK_SECONDS)
        exit_code = self._child.exit_code  # before reading: all that it sent is there then
        try:
            lines = self._child.read_lines()
        except LineTooLongError:
            self._pending.append(Overflow())
            return
        self._child.read_words()
        self._pending.extend(map(Line, lines))
        if not lines:
            self._pending.append(Silence() if exit_code is None else Ended(exit_code))

    def send(self, command: Command) -> None:
        """Tell the worker what to do next; a worker that is gone is noticed by `events`."""
        self._child.write(encode(command).encode() + b"\n")

    def last_words(self) -> str:
        """Return the end of what the worker and its libraries printed."""
        return self._child.last_words()

    def end(self, grace_seconds: float = 3.0) -> None:
        """End the worker and everything that it started."""
        self._child.terminate()
        self._child.end(grace_seconds)
