"""An engine's own client as a process: asked once, or read as it prints."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from trnbench.errors import UnavailableError

ANSWER_SECONDS = 60.0
END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client said."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The last line in which it said what is wrong; of nothing, its exit code."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


def ask(words: Sequence[str], *, text: str | None = None, hint: str) -> Answer:
    """Run a client to its end, with a text on its standard input.

    Raises:
        UnavailableError: it is not installed, or does not answer; `hint` says what helps.
    """
    try:
        done = subprocess.run(
            words,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except OSError as error:
        raise _missing(words[0], error, hint) from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"{words[0]}: did not answer within {ANSWER_SECONDS:.0f} s", hint=hint
        ) from error
    return Answer(done.returncode, done.stdout, done.stderr)


def _missing(program: str, error: OSError, hint: str) -> UnavailableError:
    if isinstance(error, FileNotFoundError):
        return UnavailableError(f"{program}: is not installed on this machine", hint=hint)
    return UnavailableError(f"{program}: cannot be started: {error.strerror}", hint=hint)


class Stream:
    """A client that goes on printing: its lines as they come, standard output and error alike."""

    def __init__(self, words: Sequence[str], *, hint: str) -> None:
        """Start it in a process group of its own, so that Ctrl-C is ours to handle."""
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise _missing(words[0], error, hint) from error
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    @property
    def code(self) -> int | None:
        """Its exit code, once it has ended and every line is here."""
        if self._process.poll() is None or self._reader.is_alive():
            return None
        return self._process.returncode

    def new_lines(self) -> list[str]:
        """Return the lines that came since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._lines.get_nowait())
        return found

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        self._reader.join()
        return self._process.wait()

    def close(self) -> None:
        """End it and all that it started, if it has not ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
                break
        self._reader.join(END_SECONDS)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
