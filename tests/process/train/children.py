"""Starting the child as the parent does: a real process, its task and commands on a pipe."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trnbench.protocol.codec import decode, encode
from trnbench.protocol.orders import PROTOCOL_VERSION, Command, Task, WorkOrder, encode_task
from trnbench.protocol.records import CHILD_RECORDS
from trnbench.train import entry

ENTRY = Path(entry.__file__)


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that is over."""

    records: list[Any]
    exit_code: int
    printed: str
    errors: str

    @property
    def kinds(self) -> list[str]:
        """The kinds of its records in order, a phase by its name."""
        return [getattr(record, "name", record.kind) for record in self.records]


def line_of(order: WorkOrder, **changes: Any) -> bytes:
    """Return the line that asks for a training, with some of the order's fields replaced."""
    version = changes.pop("wire_version", PROTOCOL_VERSION)
    task = {"kind": "train", "order": {**json.loads(encode(order)), **changes}}
    return json.dumps({"wire_version": version, "task": task}).encode() + b"\n"


def run_child(
    folder: Path,
    task: Task | bytes,
    *,
    commands: Sequence[Command] | bytes = (),
    python: Sequence[str] = (sys.executable,),
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a child to its end, all its commands given in advance."""
    begin = task if isinstance(task, bytes) else encode_task(task).encode() + b"\n"
    given = begin + (commands if isinstance(commands, bytes) else _lines(commands))
    with (folder / "records").open("w+b") as records:
        descriptor = records.fileno()
        process = subprocess.run(
            [*python, str(ENTRY), "--records-fd", str(descriptor)],
            input=given,
            capture_output=True,
            pass_fds=(descriptor,),
            env={**os.environ, **(environment or {})},
            timeout=120,
        )
        records.seek(0)
        sent = [decode(line, CHILD_RECORDS) for line in records]
    printed, errors = process.stdout.decode(), process.stderr.decode()
    return Ended(sent, process.returncode, printed, errors)


def _lines(commands: Sequence[Command]) -> bytes:
    return b"".join(encode(command).encode() + b"\n" for command in commands)
