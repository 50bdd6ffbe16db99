"""Calling the command, in a process of its own or in this one, and looking at what it left."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest

from trnbench.cli.main import main

COMMAND = [sys.executable, "-m", "trnbench"]


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def trnbench(*arguments: object, cwd: Path | None = None, **environment: str) -> Done:
    """Run `trnbench` with these arguments to its end."""
    return run_to_end(arguments, cwd, environment)


def run_to_end(
    arguments: Sequence[object],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = 240,
) -> Done:
    """Run `trnbench` with these arguments; its end must come within the seconds."""
    process = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Done(process.returncode, process.stdout, process.stderr)


def in_process(*arguments: object, cwd: Path | None = None, **environment: str) -> Done:
    """Run `trnbench` with these arguments in this process: for what it writes and its exit code.

    Signals, pipes, logging and what is imported need `trnbench`, a process of its own.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, {"NO_COLOR": "1", "COLUMNS": "200", **environment}),
        patch.object(sys, "argv", ["trnbench", *map(str, arguments)]),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    return Done(int(end.value.code or 0), out.getvalue(), err.getvalue())


def environment_of_copy(package_parent: Path) -> dict[str, str]:
    """Return the variables under which a changed copy of the package runs in the package's place.

    What runs of it is not counted: it has the package's name, and its lines are not the package's.
    """
    before = os.environ.get("PYTHONPATH")
    places = [str(package_parent), before] if before else [str(package_parent)]
    return {**uncounted_environment(), "PYTHONPATH": os.pathsep.join(places)}


def uncounted_environment() -> dict[str, str]:
    """Return the variables under which a process does not count what it runs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


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
