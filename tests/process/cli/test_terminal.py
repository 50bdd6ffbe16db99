"""What a run draws on a real terminal: one line that moves, and the table at its end."""

import fcntl
import os
import pty
import re
import struct
import termios
from pathlib import Path

import pytest

from tests.command import COMMAND
from tests.fake_python import fake_python


def drawn_on_a_terminal(width: int, *arguments: str) -> tuple[int, str]:
    """Run `trnbench` on a terminal of this width; return its exit code and all that it wrote."""
    # Given in full, because readline, where it is loaded, puts COLUMNS into C's environment.
    hidden = ("NO_COLOR", "COLUMNS", "LINES")
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | {"TERM": "xterm"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(COMMAND[0], [*COMMAND, *arguments], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        written += part
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), written.decode()


@pytest.mark.parametrize("width", [60, 200])
def test_a_run_draws_a_live_line_and_then_the_results(width: int, tmp_path: Path) -> None:
    code, written = drawn_on_a_terminal(
        width, "run", "-o", str(tmp_path / "run"), "--python", fake_python(tmp_path),
        "--set", "measure.min_seconds=0", "--set", "sweep={model: [tiny-llama]}",
        "--usd-per-hour", "2",
    )  # fmt: skip
    assert code == 0, written
    assert re.search(r"(opening the device|measuring)  ?.*at most .* more", written)
    before, _, results = written.rpartition("sound: ")
    assert "\x1b[2K" in before, "the live line is wiped before it is drawn again"
    assert "tiny-llama" in results
    assert "\x1b[32msound\x1b[0m" in results
    assert "─────" in results
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in results.split("\n")]
    told = [line.strip("\r") for line in lines[2:] if str(tmp_path) not in line]
    assert max(map(len, told)) <= width


@pytest.mark.parametrize("width", [90, 200])
def test_a_listing_fits_the_terminal_and_cuts_no_figure(width: int) -> None:
    code, written = drawn_on_a_terminal(width, "prices", "trn2.48xlarge")
    assert code == 0
    assert max(len(line.rstrip("\r")) for line in written.split("\n")) <= width
    assert "trn2.48xlarge  capacity_block  us-east-2    35.7608  2026-07-22" in written
