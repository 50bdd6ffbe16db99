"""Vendors' command-line tools: found where they are put, run for a limited time."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool wrote, or why it wrote nothing that can be used."""

    text: str
    exit_code: int | None
    reason: str | None = None
    """Set where it could not be run to its end."""


def find_tool(name: str, *folders: Path) -> str | None:
    """Return the tool's path: from `PATH`, else from a folder that its vendor uses."""
    on_path = shutil.which(name)
    return on_path or shutil.which(name, path=os.pathsep.join(map(str, folders)))


def run_tool(command: Sequence[str], seconds: float, folder: Path | None = None) -> Answer:
    """Run a tool that leaves nothing behind; end it, and all that it started, in good time.

    Args:
        command: the tool and its arguments.
        seconds: after which it is ended.
        folder: where it writes what it likes to; by default where we are.
    """
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
        )
    except OSError as error:
        return Answer("", None, f"{name} cannot be started: {error.strerror}")
    with process:
        try:
            written, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            return Answer("", None, f"{name} did not answer in {seconds:g} s")
    return Answer(written.decode(errors="replace"), process.returncode)
