"""`trnbench` in processes of its own, each with a mark by which all that it starts is found.

Most are forks of this process, which has loaded the package already: a real process that can be
killed, for a tenth of the processor time. Where the loading itself, or Python's end, is part of
what is tried, the command is executed.
"""

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from trnbench.cli.main import main

MARK = "TRNBENCH_FAULT"
"""The environment variable by which the processes of one fault are found."""

END_SECONDS = 90.0
"""A command that has not ended after so long does not end."""

GONE_SECONDS = 10.0
"""So long may processes still be there after their command has ended."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int | None
    """Negative: the signal that ended it. None: it did not end, and was killed."""
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a command is started."""

    is_executed: bool = False
    """Rather than forked."""
    stdout: int | str | None = None
    """A descriptor or a path to write to; `closed`; None: a file that is read at the end."""
    stderr: int | str | None = None
    prefix: Sequence[str] = ()
    """Words before the command: of `unshare`, or of a shell that sets limits."""
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], None] | None = None
    """Called in the forked process before the command."""


@dataclass(slots=True)
class Started:
    """A running command."""

    pid: int
    folder: Path
    _pidfd: int

    def wait(self, seconds: float = END_SECONDS) -> Ended:
        """Wait for its end; kill it after so many seconds."""
        was_ended = self.has_ended_within(seconds)
        os.close(self._pidfd)
        if not was_ended:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status) if was_ended else None
        return Ended(code, _text(self.folder / "stdout"), _text(self.folder / "stderr"))

    def has_ended_within(self, seconds: float) -> bool:
        """Wait for a while; tell whether it has ended."""
        return bool(select.select([self._pidfd], [], [], seconds)[0])


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def start(arguments: Sequence[object], folder: Path, mark: str, way: Way | None = None) -> Started:
    """Start `trnbench` in a session of its own; `folder` takes what it writes."""
    way = way or Way()
    words = [str(each) for each in arguments]
    environment = {
        "NO_COLOR": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1", MARK: mark, **way.environment,
    }  # fmt: skip
    streams = [_open(way.stdout, folder / "stdout"), _open(way.stderr, folder / "stderr")]
    pid = os.fork()
    if pid == 0:
        _become(words, environment, streams, way)
    for stream, asked in zip(streams, (way.stdout, way.stderr), strict=True):
        if stream is not None and not isinstance(asked, int):
            os.close(stream)
    return Started(pid, folder, os.pidfd_open(pid))


def _open(asked: int | str | None, default: Path) -> int | None:
    if asked == "closed":
        return None
    if isinstance(asked, int):
        return asked
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return os.open(asked or default, flags, 0o644)


def _become(
    words: list[str], environment: Mapping[str, str], streams: Sequence[int | None], way: Way
) -> NoReturn:
    """In a fork: run the command, and end the process."""
    code: object = 70
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for place, stream in enumerate(streams, start=1):
            if stream is None:
                os.close(place)
            else:
                os.dup2(stream, place)
        os.environ.update(environment)
        if way.is_executed:
            command = [*way.prefix, sys.executable, "-m", "trnbench", *words]
            os.execvpe(command[0], command, os.environ)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
        sys.stderr = io.TextIOWrapper(os.fdopen(os.dup(2), "wb", 0), "utf-8", write_through=True)
        sys.argv = ["trnbench", *words]
        if way.before is not None:
            way.before()
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001 - what Python would print of it, this prints
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(int(code) if isinstance(code, int) else 1)


# --- the processes of a fault ---------------------------------------------------------------------


def marked(mark: str) -> dict[int, str]:
    """Return the processes that live with a mark in their environment: number and command."""
    wanted, found = f"{MARK}={mark}".encode(), {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            place = Path("/proc", name)
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                found[int(name)] = command
    return found


def left_after(mark: str, seconds: float = GONE_SECONDS) -> dict[int, str]:
    """Return the processes of a fault that do not go by themselves, and kill them."""
    deadline = time.monotonic() + seconds
    while found := marked(mark):
        if time.monotonic() > deadline:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return found
        time.sleep(0.02)
    return {}


def children(pid: int, part: str) -> list[int]:
    """Return the children of a process that have `part` in their command, oldest first."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            parent = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and part in Path("/proc", name, "cmdline").read_text():
                found.append(int(name))
    return sorted(found)


def compile_clock(folder: Path) -> Path | None:
    """Compile a library that adds the seconds in the file `$FAULT_CLOCK` to the time of day.

    None where no C compiler is here.
    """
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(CLOCK)
    try:
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True,
            capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return library


CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
  char text[32] = {0};
  const char *path = getenv("FAULT_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return 0;
  if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
  close(file);
  return atol(text);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
  int code = (int)syscall(SYS_clock_gettime, clock, now);
  if (!code && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
  return code;
}
int gettimeofday(struct timeval *now, void *zone) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *out) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (out) *out = precise.tv_sec;
  return precise.tv_sec;
}
"""
