"""One worker process group: started, heard, told, and gone without a trace when it is over.

The worker leads a session of its own, so a Ctrl-C meant for the parent does not reach it. A
guardian sees to it that it does not outlive the parent.
"""

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trnbench.process import Guardian
from trnbench.schema.errors import ConfigError
from trnbench.wire import Command, encode

ENTRY = Path(__file__).resolve().parents[1] / "train" / "entry.py"

MAX_LINE_BYTES = 16 * 2**20
"""A record of a thousand steps has some 60 kB; a longer line than this is not one of ours."""

_LOG_TAIL_BYTES = 32 * 1024
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
        records, records_end = os.pipe()
        log, log_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, "--records-fd", str(records_end)],
                stdin=subprocess.PIPE,
                stdout=log_end,
                stderr=log_end,
                pass_fds=(records_end,),
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            for descriptor in (records, log):
                os.close(descriptor)
            raise ConfigError(
                f"{command[0]}: cannot be started: {error.strerror}",
                hint="name a Python interpreter with `--python PATH`",
            ) from error
        finally:
            for descriptor in (records_end, log_end):
                os.close(descriptor)
        self.pid = self._process.pid
        self._guardian = Guardian(self.pid)
        self._records, self._log = records, log
        self._buffer = b""
        self._log_tail = b""
        self._selector = selectors.DefaultSelector()
        for descriptor in (records, log):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)

    def events(self) -> Iterator[Event]:
        """Return what happens, a `Silence` at least every 0.2 seconds, until the worker ended."""
        while True:
            yield from self._whole_lines()
            ready = [key.fd for key, _ in self._selector.select(_TICK_SECONDS)]
            if self._log in ready:
                self._read_log()
            if self._records in ready:
                self._buffer += self._read(self._records)
                if len(self._buffer) > MAX_LINE_BYTES and b"\n" not in self._buffer:
                    yield Overflow()
                continue
            if self._process.poll() is not None:
                # Gone; a child of its own may still hold the pipe, so do not wait for its end.
                while content := self._read(self._records):
                    self._buffer += content
                    yield from self._whole_lines()
                self._read_log()
                yield Ended(self._process.returncode)
                return
            yield Silence()

    def send(self, command: Command) -> None:
        """Tell the worker what to do next; a worker that is gone is noticed by `events`."""
        if self._process.stdin is None:
            raise RuntimeError("the worker was started without a command pipe")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(encode(command).encode() + b"\n")
            self._process.stdin.flush()

    def last_words(self) -> str:
        """Return the end of what the worker and its libraries printed."""
        self._read_log()
        return self._log_tail.decode(errors="replace")

    def end(self, grace_seconds: float = 3.0) -> None:
        """End the worker and everything that it started, and let the guardian go."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_seconds)
        self._signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._guardian.dismiss()
        self._selector.close()
        for descriptor in (self._records, self._log):
            os.close(descriptor)

    def _whole_lines(self) -> Iterator[Line]:
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            yield Line(line + b"\n")

    def _read(self, descriptor: int) -> bytes:
        """Read what is there; at the pipe's end stop listening to it."""
        try:
            content = os.read(descriptor, 2**16)
        except BlockingIOError:
            return b""
        if not content:
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
        return content

    def _read_log(self) -> None:
        """Read what was printed, a bounded part at a time: a worker that babbles is still heard."""
        for _ in range(16):
            content = self._read(self._log)
            if not content:
                return
            self._log_tail = (self._log_tail + content)[-_LOG_TAIL_BYTES:]

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
