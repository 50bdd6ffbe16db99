"""The worker's end of the protocol: records out on one descriptor, commands in on standard input.

What ends a worker is a record too. Standard library only: it must report that torch is missing.
"""

import contextlib
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from trnbench.protocol.codec import ProtocolError, decode, encode
from trnbench.protocol.orders import COMMANDS, Command, Task, decode_task
from trnbench.protocol.records import ChildRecord, FailureReason


class Channel:
    """Sends records as lines and waits for commands; `at_seconds` counts from its creation."""

    def __init__(self, records: BinaryIO, commands: BinaryIO) -> None:
        self._records = records
        self._commands = commands
        self._started = time.perf_counter()

    def now(self) -> float:
        """Return the seconds since the worker began."""
        return time.perf_counter() - self._started

    def send(self, make: Callable[..., ChildRecord], **fields: object) -> None:
        """Write one record, stamped with the time, and flush it."""
        record = make(at_seconds=self.now(), **fields)
        self._records.write(encode(record).encode() + b"\n")
        self._records.flush()

    def receive_task(self) -> Task:
        """Wait for the task, which comes before any command."""
        return decode_task(self._line())

    def receive(self) -> Command:
        """Wait for the next command."""
        command: Command = decode(self._line(), COMMANDS)
        return command

    def receive_line(self) -> bytes:
        """Wait for the next line, whatever it is."""
        return self._line()

    def pass_on(self, line: bytes) -> None:
        """Write a line that another process made, without its newline."""
        self._records.write(line + b"\n")
        self._records.flush()

    def _line(self) -> bytes:
        line = self._commands.readline()
        if not line:
            os._exit(1)  # the pipe has ended: the parent is gone
        return line


def finite(value: float) -> float | None:
    """Return the value, or None for what JSON cannot hold."""
    return value if math.isfinite(value) else None


class KnownFailure(Exception):  # noqa: N818 - it is one of `Failed`'s reasons
    """Ends the worker for a reason that the parent knows."""

    def __init__(self, message: str, *, reason: FailureReason, hint: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.hint = hint


@contextlib.contextmanager
def explaining(backend: Any) -> Iterator[None]:
    """Raise a `KnownFailure` from a vendor's error that the backend can explain."""
    try:
        yield
    except Exception as error:
        explained = backend.explain(error)
        if explained is None:
            raise
        reason, meaning = explained
        raise KnownFailure(f"{meaning}: {first_line(error)}", reason=reason) from error


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return what ended the work, as the fields of a `Failed`."""
    reason: FailureReason = "bug"
    hint: str | None = None
    if isinstance(error, KnownFailure):
        reason, hint = error.reason, error.hint
    elif isinstance(error, MemoryError):
        reason = "out_of_memory"
    elif isinstance(error, ProtocolError):
        reason, hint = "wrong_order", "use the same trnbench for the parent and the worker"
    # Of a long report both ends are kept: the error's code is first, the cause last.
    detail = "".join(traceback.format_exception(error))
    return {
        "reason": reason,
        "message": first_line(error),
        "hint": hint,
        "detail": detail if len(detail) <= 8000 else f"{detail[:4000]}\n…\n{detail[-4000:]}",
        "error": _class_name(error),
        "raised_in": _package(error),
    }


def _class_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _package(error: BaseException) -> str | None:
    """Return the package of the innermost call that is Python's; None where there was no call."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, with the next if it only opens it; or its kind."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:500]
