"""Processes that hold a device: their number and program, and nothing that tells whose they are."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import psutil

from trnbench.run.scrub import scrub


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a device open."""

    device: str
    pid: int
    program: str | None
    """The file name of what runs; None where it cannot be seen, as from inside a container."""


def program_of(command_line: str) -> str | None:
    """Return the program of a command line without its folder and its arguments."""
    words = command_line.split()
    return scrub(PurePosixPath(words[0]).name)[:40] or None if words else None


def program_of_process(pid: int) -> str | None:
    """Return the program that a living process runs."""
    try:
        return program_of(psutil.Process(pid).name().replace(" ", "_"))
    except (psutil.Error, ValueError):
        return None
