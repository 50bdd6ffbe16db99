"""The child's end of the protocol: records out on one descriptor, commands in on standard input.

Whatever ends the child is described in a record too, in our words where they are known. Standard
library only: it must also report that torch is missing.
"""

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
    """Sends records as lines and waits for commands; `at_seconds` counts from its making."""

    def __init__(self, records: BinaryIO, commands: BinaryIO) -> None:
        self._records = records
        self._commands = commands
        self._started = time.perf_counter()

    def now(self) -> float:
        """Return the seconds since the child began."""
        return time.perf_counter() - self._started

    def send(self, make: Callable[..., ChildRecord], **fields: object) -> None:
        """Write one record, stamped with the time, and hand it over at once."""
        record = make(at_seconds=self.now(), **fields)
        self._records.write(encode(record).encode() + b"\n")
        self._records.flush()

    def receive_task(self) -> Task:
        """Wait for what is to be done, which comes before any command.

        Raises:
            ProtocolError: the line is not a task of this version.
        """
        return decode_task(self._line())

    def receive(self) -> Command:
        """Wait for the next command.

        Raises:
            ProtocolError: the line is not a command of this version.
        """
        command: Command = decode(self._line(), COMMANDS)
        return command

    def _line(self) -> bytes:
        """Wait for a line; the pipe's end means that the parent is gone, and ends this process."""
        line = self._commands.readline()
        if not line:
            os._exit(1)
        return line


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
        if explained is not None:
            reason, meaning = explained
            raise DeviceError(reason, f"{meaning}: {_first_line(error)}") from error


class TorchMissingError(Exception):
    """There is no torch, or it is broken."""


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return whatever ended the work as the fields of a `Failed`."""
    hint: str | None = None
    reason: FailureReason = "bug"
    if isinstance(error, TorchMissingError):
        reason, hint = "unavailable", TORCH_HINT
    elif isinstance(error, DeviceError):
        reason = error.reason
    elif isinstance(error, MemoryError):
        reason = "out_of_memory"
    elif isinstance(error, ProtocolError):
        reason, hint = "wrong_order", "use the same trnbench for the parent and the child"
    elif type(error).__name__ == "Unavailable":
        reason, hint = "unavailable", getattr(error, "hint", None)
    elif type(error).__name__ == "BadModel":
        reason, hint = "bad_model", getattr(error, "hint", None)
    # Of a long report both ends are kept: the code stands first, the cause last.
    detail = "".join(traceback.format_exception(error))
    return {
        "reason": reason,
        "message": _first_line(error) or type(error).__name__,
        "hint": hint,
        "detail": detail if len(detail) <= 8000 else f"{detail[:4000]}\n…\n{detail[-4000:]}",
    }


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__
