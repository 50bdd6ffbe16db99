"""The worker's end of the protocol: records out on one descriptor, commands in on standard input.

What ends a worker is a record too. Standard library only: it must report that torch is missing.
"""

import math
import os
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from trnbench.protocol.codec import ProtocolError, decode, encode
from trnbench.protocol.orders import COMMANDS, Command, Task, decode_task
from trnbench.protocol.records import ChildRecord, FailureReason

TORCH_HINT = (
    "install torch for that interpreter (`pip install 'trnbench[train]'` where there is none), or "
    "name one that has it with `--python PATH`"
)


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

    def _line(self) -> bytes:
        line = self._commands.readline()
        if not line:
            os._exit(1)  # the pipe has ended: the parent is gone
        return line


def finite(value: float) -> float | None:
    """Return the value, or None for what JSON cannot hold."""
    return value if math.isfinite(value) else None


class TorchMissingError(Exception):
    """There is no torch, or it is broken."""


class DeviceError(Exception):
    """A vendor's error with its meaning; the vendor's own text is its cause."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class VendorErrors:
    """Turns an error that the backend can explain into a `DeviceError`."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        explained = self._backend.explain(error) if isinstance(error, Exception) else None
        if explained is not None and error is not None:
            reason, meaning = explained
            raise DeviceError(reason, f"{meaning}: {first_line(error)}") from error


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return what ended the work, as the fields of a `Failed`."""
    hint: str | None = None
    reason: FailureReason = "bug"
    if isinstance(error, TorchMissingError):
        reason, hint = "unavailable", TORCH_HINT
    elif isinstance(error, DeviceError):
        reason = error.reason
    elif isinstance(error, MemoryError):
        reason = "out_of_memory"
    elif isinstance(error, ProtocolError):
        reason, hint = "wrong_order", "use the same trnbench for the parent and the worker"
    elif type(error).__name__ == "Unavailable":  # of a module that imports torch, as is `BadModel`
        reason, hint = "unavailable", getattr(error, "hint", None)
    elif type(error).__name__ == "BadModel":
        reason, hint = "bad_model", getattr(error, "hint", None)
    # Of a long report both ends are kept: the error's code is first, the cause last.
    detail = "".join(traceback.format_exception(error))
    return {
        "reason": reason,
        "message": first_line(error),
        "hint": hint,
        "detail": detail if len(detail) <= 8000 else f"{detail[:4000]}\n…\n{detail[-4000:]}",
    }


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, with the next if it only opens it; or its kind."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:500]
