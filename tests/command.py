"""Starting the real command as a subprocess, and looking at what it left."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

COMMAND = [sys.executable, "-m", "trnbench"]


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def trnbench(*arguments: object, cwd: Path | None = None, **environment: str) -> Done:
    """Run `trnbench` with these arguments to its end."""
    process = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Done(process.returncode, process.stdout, process.stderr)


def heed_signals() -> None:
    """Undo what nohup and a shell's `&` do: in a child, before it becomes a program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def only_case(run: Path) -> Path:
    """Return the one case folder of a run."""
    (case,) = [path.parent for path in run.glob("*/plan.json")]
    return case


def records_of(case: Path) -> list[dict[str, Any]]:
    """Return the records of a case, as plain JSON."""
    lines = (case / "measurement.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def processes_named(part: str) -> list[psutil.Process]:
    """Return the living processes that have `part` in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        is_living = process.info["status"] != psutil.STATUS_ZOMBIE
        if is_living and part in " ".join(process.info["cmdline"] or ()):
            found.append(process)
    return found


def is_living(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not yet collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
