"""A tool that hangs, or leaves a child, is ended with all that it started."""

from pathlib import Path

import psutil
import pytest

from tests.command import processes_named
from tests.pure.machine.places import write, write_tool
from trnbench.machine.look import find_tool, run_tool


def test_a_tool_that_ends_gives_its_text_and_its_exit_code(tmp_path: Path) -> None:
    tool = write_tool(tmp_path, "tool", "echo said; echo noise >&2; exit 3")
    answer = run_tool([str(tool)], 10)
    assert (answer.text, answer.exit_code, answer.reason) == ("said\n", 3, None)


@pytest.mark.parametrize("hang", ["exec tail -f {path}", "tail -f {path} & wait"])
def test_a_tool_that_hangs_is_ended_with_its_children(tmp_path: Path, hang: str) -> None:
    followed = write(tmp_path, "followed")
    tool = write_tool(tmp_path, "tool", hang.format(path=followed))
    answer = run_tool([str(tool)], 0.2)
    assert (answer.text, answer.reason) == ("", "tool did not answer in 0.2 s")
    _, living = psutil.wait_procs(processes_named(str(followed)), timeout=30)
    assert living == []


def test_a_tool_speaks_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    tool = write_tool(tmp_path, "tool", 'echo "$LC_ALL $LANGUAGE"')
    assert run_tool([str(tool)], 10).text == "C.UTF-8 C\n"


def test_a_tool_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    answer = run_tool([str(tmp_path / "tool")], 1)
    assert answer.reason == "tool cannot be started: No such file or directory"


def test_a_tool_is_found_on_path_first_and_then_where_its_vendor_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path, vendors = tmp_path / "bin", tmp_path / "vendor"
    there = write_tool(vendors, "tool", "")
    monkeypatch.setenv("PATH", str(on_path))
    assert find_tool("tool", vendors) == str(there)
    here = write_tool(on_path, "tool", "")
    assert find_tool("tool", vendors) == str(here)
    assert find_tool("another", vendors) is None
