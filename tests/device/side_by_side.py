"""One worker among several, started, pinned and spoken to as the product does it."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trnbench.protocol.codec import decode
from trnbench.protocol.orders import Command, Train, WorkOrder
from trnbench.protocol.records import CHILD_RECORDS, Failed
from trnbench.run import worker
from trnbench.run.environment import environment_of_worker
from trnbench.run.job import Exited, Line

PATIENCE_SECONDS = 1800.0


class Job:
    """A worker that trains on one device."""

    def __init__(self, order: WorkOrder, folder: Path) -> None:
        variables = environment_of_worker(order, os.environ, folder)
        self._job = worker.start(sys.executable, [Train(order=order)], [variables])
        self._events = self._job.events()

    def tell(self, command: Command) -> None:
        """Tell it what is next."""
        self._job.send(command)

    def hear(self, name: str) -> Any:
        """Return the next record of a kind, or of a phase of this name; fail if none comes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for event in self._events:
            if isinstance(event, Line):
                record = decode(event.text, CHILD_RECORDS)
                if isinstance(record, Failed):
                    pytest.fail(f"{record.reason}: {record.message}\n{record.detail}")
                if name in (record.kind, getattr(record, "name", None)):
                    return record
            if isinstance(event, Exited) or time.monotonic() > deadline:
                break
        pytest.fail(f"the worker never said {name!r}: {self._job.output_tail()}")

    def end(self) -> None:
        """End it."""
        self._job.end()
