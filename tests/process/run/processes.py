"""Real child processes for the tests of the launcher, and looking whether they are gone."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from trnbench.run.job import Event, Exited, Job, Line

START = """\
import os, signal, subprocess, sys
records = int(sys.argv[-1])

def say(content):
    if isinstance(content, str):
        content = content.encode()
    while content:
        content = content[os.write(records, content):]

def wait():
    # Until the parent says something or is gone.
    return sys.stdin.readline()

"""
"""What every child's script begins with; none of them sleeps, they wait for a word."""

DEADLINE_SECONDS = 30.0


def script_command(folder: Path, body: str) -> list[str]:
    """Write a child's script and return the command that runs it, but for its record pipe."""
    script = folder / "child.py"
    script.write_text(START + body, encoding="utf-8")
    return [sys.executable, str(script)]


def all_events(job: Job) -> list[Event]:
    """Return everything until all workers ended."""
    return list(job.events())


def lines_of(events: Iterable[Event]) -> list[bytes]:
    """Return the texts of the lines among events."""
    return [event.text for event in events if isinstance(event, Line)]


def next_line(job: Job) -> bytes:
    """Return the next line of any rank; fail if there is none."""
    for event in job.events():
        if isinstance(event, Line):
            return event.text
        assert not isinstance(event, Exited), f"no line came: {job.output_tail(event.rank)}"
    raise AssertionError("events ended without an end")


def are_gone(pids: Iterable[int]) -> bool:
    """Wait until none of the processes runs; a zombie that nobody has reaped runs no more."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    while left and time.monotonic() < deadline:
        _, left = psutil.wait_procs(left, timeout=0.2)
        left = [process for process in left if not is_zombie(process)]
    return not left


def is_zombie(process: psutil.Process) -> bool:
    """Tell whether a process has ended and waits to be reaped, or is gone altogether."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
