"""A child process in a session of its own, which sends lines and is never left behind.

A Ctrl-C meant for the parent does not reach it. It does not outlive the parent either: a guardian
waits on a pipe that only the parent holds, and kills the child's whole group when that closes.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

MAX_LINE_BYTES = 16 * 2**20
"""A record of a thousand steps has some 60 kB, a report of 64 NeuronCores some 160 kB."""

_READ_BYTES = 2**16
_MAX_READ_BYTES = 2 * MAX_LINE_BYTES
_PIPE_BYTES = 2**20
"""The kernel's usual 64 kB would hold back a long line over several reads."""
_TAIL_BYTES = 32 * 1024
ENGLISH: Mapping[str, str] = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
"""Of every child: what vendors' tools and compilers say is looked up in English."""

_KILL_SECONDS = 10.0
"""A killed process that is still there after so long hangs inside a driver."""


class LineTooLongError(Exception):
    """More came without a line's end than a line may hold; it was thrown away."""


class Guardian:
    """Kills process groups once this process is gone, however it ended.

    It is a shell in a session of its own, which reads their numbers from a pipe that only this
    process holds.
    """

    _SCRIPT = """\
while read -r sign group; do
  kept=
  for each in $groups; do [ "$each" = "$group" ] || kept="$kept $each"; done
  groups=$kept
  [ "$sign" = - ] || groups="$groups $group"
done
for each in $groups; do kill -s KILL -- "-$each"; done
"""

    def __init__(self) -> None:
        """Start it; raise an OSError if it cannot be started."""
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", self._SCRIPT, "trnbench-guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def watch(self, group: int) -> None:
        """Kill this group when we are gone."""
        _write(self._process.stdin, f"+ {group}\n".encode())

    def release(self, group: int) -> None:
        """Leave this group alone from now on: it is gone, and its number may be another's."""
        _write(self._process.stdin, f"- {group}\n".encode())

    def close(self) -> None:
        """End it; what it still watches is killed."""
        _close(self._process.stdin)
        self._process.wait()


class Child:
    """A running child process, seen from the parent."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str | None] | None = None,
        *,
        lines_option: str | None = None,
        descriptors: Sequence[int] = (),
        guardian: Guardian | None = None,
    ) -> None:
        """Start it.

        Args:
            command: the program and its arguments.
            environment: variables on top of the parent's own; None takes one away.
            lines_option: the option that names the descriptor on which the child sends its lines;
                the end of what it prints is kept then. None: its lines are what it prints on
                standard output, and the end of standard error is kept.
            descriptors: of this process, which the child inherits under the same numbers.
            guardian: of several children; None: it has its own.

        Raises:
            OSError: it cannot be started.
        """
        self._guardian = guardian or Guardian()
        self._has_own_guardian = guardian is None
        lines, lines_end = os.pipe()
        tail, tail_end = os.pipe()
        named = [] if lines_option is None else [lines_option, str(lines_end)]
        try:
            self._process = subprocess.Popen(
                [*command, *named],
                stdin=subprocess.PIPE,
                stdout=tail_end if named else lines_end,
                stderr=tail_end,
                pass_fds=(*((lines_end,) if named else ()), *descriptors),
                start_new_session=True,
                env=_changed({**os.environ, **ENGLISH}, environment or {}),
            )
        except OSError:
            os.close(lines)
            os.close(tail)
            if self._has_own_guardian:
                self._guardian.close()
            raise
        finally:
            os.close(lines_end)
            os.close(tail_end)
        self.pid = self._process.pid
        self._guardian.watch(self.pid)
        self._lines, self._tail_pipe = lines, tail
        self._open = [lines, tail]
        for descriptor in self._open:
            os.set_blocking(descriptor, False)
        _enlarge(lines)
        if self._process.stdin is not None:
            _enlarge(self._process.stdin.fileno())
        self._rest = b""
        self._tail = b""
        self._printed = 0

    @property
    def exit_code(self) -> int | None:
        """Negative: the signal that ended it. None while it runs."""
        return self._process.poll()

    @property
    def descriptors(self) -> list[int]:
        """What to wait on for something to read; without the pipes that the child has closed."""
        return list(self._open)

    @property
    def output_descriptor(self) -> int | None:
        """The pipe of what it prints; None once the child has closed it."""
        return self._tail_pipe if self._tail_pipe in self._open else None

    @property
    def has_closed_lines(self) -> bool:
        """Whether the child closed the pipe of its lines: no more will come."""
        return self._lines not in self._open

    def read_lines(self) -> list[bytes]:
        r"""Return the whole lines that came since the last time, each with its `\n`; never wait.

        Raises:
            LineTooLongError: there is none, and more came than a line may hold.
        """
        parts, size = [self._rest], 0
        while size < _MAX_READ_BYTES and (content := self._read(self._lines)):
            parts.append(content)
            size += len(content)
            if len(content) < _READ_BYTES:  # the pipe is empty
                break
        *lines, self._rest = b"".join(parts).split(b"\n")
        if not lines and len(self._rest) > MAX_LINE_BYTES:
            self._rest = b""
            raise LineTooLongError
        return [line + b"\n" for line in lines]

    def read_output(self) -> None:
        """Empty the pipe of what it prints, a bounded part at a time, and keep the end."""
        for _ in range(16):
            content = self._read(self._tail_pipe)
            if not content:
                return
            self._tail = (self._tail + content)[-_TAIL_BYTES:]
            self._printed += len(content)
            if len(content) < _READ_BYTES:
                return

    @property
    def printed_bytes(self) -> int:
        """How much of what it prints was read so far."""
        return self._printed

    def output_tail(self, since: int = 0) -> str:
        """Return the end of what it printed, after its first `since` bytes."""
        self.read_output()
        new = min(self._printed - since, len(self._tail))
        return self._tail[len(self._tail) - new :].decode(errors="replace")

    def write(self, content: bytes) -> None:
        """Write to its standard input; its exit code says whether it is gone."""
        _write(self._process.stdin, content)

    def close_input(self) -> None:
        """Close its standard input: it reads the end of what was written."""
        _close(self._process.stdin)

    def signal(self, number: int) -> None:
        """Send it, and nothing that it started, a signal."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._process.send_signal(number)

    def terminate(self) -> None:
        """Ask it, and everything that it started, to end."""
        if self._process.poll() is None:
            self._signal_group(signal.SIGTERM)

    def end(self, grace_seconds: float = 0.0) -> None:
        """Kill it and everything that it started, after the time that it has to end by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_seconds)
        self._signal_group(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_SECONDS)
        _close(self._process.stdin)
        self._guardian.release(self.pid)
        if self._has_own_guardian:
            self._guardian.close()
        os.close(self._lines)
        os.close(self._tail_pipe)

    def _read(self, descriptor: int) -> bytes:
        """Read what is there; at the pipe's end stop waiting on it."""
        if descriptor not in self._open:
            return b""
        try:
            content = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return b""
        if not content:
            self._open.remove(descriptor)
        return content

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _changed(inherited: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return an environment with some variables set, and those of None taken away."""
    merged: dict[str, str | None] = {**inherited, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _write(pipe: IO[bytes] | None, content: bytes) -> None:
    """Write to a pipe whose reader may be gone."""
    if pipe is None:
        raise RuntimeError("the process was started without standard input")
    with contextlib.suppress(BrokenPipeError):
        pipe.write(content)
        pipe.flush()


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _enlarge(pipe: int) -> None:
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # another limit here: then it keeps its size
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
