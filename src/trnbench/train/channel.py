"""The child's end of the door: records out on one descriptor, commands in on standard input."""

import os
import time
from collections.abc import Callable
from typing import BinaryIO

from trnbench.wire import COMMANDS, ChildRecord, Command, Task, decode, decode_task, encode


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
            WireError: the line is not a task of this version.
        """
        return decode_task(self._line())

    def receive(self) -> Command:
        """Wait for the next command.

        Raises:
            WireError: the line is not a command of this version.
        """
        command: Command = decode(self._line(), COMMANDS)
        return command

    def _line(self) -> bytes:
        """Wait for a line; the pipe's end means that the parent is gone, and ends this process."""
        line = self._commands.readline()
        if not line:
            os._exit(1)
        return line
