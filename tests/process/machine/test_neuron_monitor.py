"""The tool as a process, with executables of its name that print, die, hang, babble or are gone."""

import json
import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.run.processes import DEADLINE_SECONDS, are_gone
from trnbench.machine.neuron_monitor import (
    RESTART_PAUSES,
    SILENT_PERIODS,
    NeuronMonitorSource,
    monitor_config,
)
from trnbench.machine.source import Absent, Subject
from trnbench.process import MAX_LINE_BYTES
from trnbench.schema.measurement import Reading

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "neuron" / "neuron-monitor.sample.jsonl"

START = f"""\
import os, pathlib, signal, subprocess, sys
here = pathlib.Path(__file__).parent
with open(here / "pids", "a") as pids:
    print(os.getpid(), file=pids)
(here / "arguments").write_text(repr(sys.argv[1:]))
lines = pathlib.Path({str(SAMPLE)!r}).read_bytes().splitlines(keepends=True)

def say(content):
    while content:
        content = content[os.write(1, content):]

"""
"""What every stand-in begins with; none of them sleeps: they end, or wait for a signal."""


class Stage:
    """A folder with a stand-in for the tool, and what became of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: list[NeuronMonitorSource] = []

    def write(self, body: str) -> None:
        script = self.folder / "neuron_monitor.py"
        script.write_text(START + body)
        tool = self.folder / "neuron-monitor"
        # By way of a shell: a first line of `#!` cannot hold a space, and a checkout's path can.
        command = shlex.join([sys.executable, str(script)])
        tool.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        tool.chmod(0o755)

    def open(self, body: str) -> NeuronMonitorSource:
        self.write(body)
        source = NeuronMonitorSource.open(self.subject())
        assert isinstance(source, NeuronMonitorSource)
        self._opened.append(source)
        return source

    def subject(self) -> Subject:
        return Subject(environment={"PATH": str(self.folder)})

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folder / "pids").read_text().split()]

    def close(self) -> None:
        for source in self._opened:
            source.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()
    if (tmp_path / "pids").exists():
        assert are_gone(stage.pids)


def wait_for_output(source: NeuronMonitorSource) -> None:
    """Wait until the tool has printed something, or has closed its output."""
    waited_for = source.descriptors[:1]
    ready, _, _ = select.select(waited_for, [], [], DEADLINE_SECONDS if waited_for else 0.0)
    assert ready == waited_for, "the stand-in printed nothing"


def read_until(source: NeuronMonitorSource, count: int, at_seconds: float = 0.0) -> list[Reading]:
    """Read at one moment of the fake clock until so many readings have come."""
    readings: list[Reading] = []
    while len(readings) < count:
        wait_for_output(source)
        readings += source.read(at_seconds)
    return readings


def wait_for_end(pid: int) -> None:
    """Wait until a child has ended, and leave it to whoever started it to hear how."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


# --- reports ------------------------------------------------------------------------------------


def test_its_reports_become_readings_as_they_come(stage: Stage) -> None:
    source = stage.open("for line in lines: say(line)\nsignal.pause()")
    readings = read_until(source, 1 + 5 + 5 + 5 + 1, at_seconds=3.0)
    assert [r.device for r in readings] == [None, *[0, 1, 2, 3, None] * 3, None]
    assert {(r.source, r.at_seconds, r.is_valid) for r in readings} == {
        ("neuron-monitor", 3.0, True)
    }


def test_a_report_that_has_only_begun_is_waited_for(stage: Stage) -> None:
    os.mkfifo(stage.folder / "go")
    source = stage.open(
        "say(lines[2][:700])\n(here / 'go').read_bytes()\nsay(lines[2][700:])\nsignal.pause()"
    )
    wait_for_output(source)
    assert source.read(0.0) == []
    (stage.folder / "go").write_bytes(b"on")
    assert len(read_until(source, 5)) == 5


def test_it_is_told_its_period_its_filter_and_its_groups(stage: Stage) -> None:
    stage.write("say(lines[0])\nsignal.pause()")
    subject = Subject(
        environment={"PATH": str(stage.folder)}, period_seconds=2.5, neuron_tag_filter="^mine$"
    )
    source = NeuronMonitorSource.open(subject)
    assert isinstance(source, NeuronMonitorSource)
    wait_for_output(source)
    option, path = eval((stage.folder / "arguments").read_text())
    config = json.loads(Path(path).read_text())
    source.close()
    assert option == "-c"
    assert config == monitor_config(2.5, "^mine$")
    assert config["period"] == "2.5s"
    (runtimes,) = config["neuron_runtimes"]
    assert runtimes["tag_filter"] == "^mine$"
    assert [metric["type"] for metric in runtimes["metrics"]] == [
        "neuroncore_counters",
        "execution_stats",
        "memory_used",
        "neuron_runtime_vcpu_usage",
    ]
    assert [m["type"] for m in config["system_metrics"]] == ["neuron_hw_counters", "memory_info"]
    assert not Path(path).exists()


# --- absence ------------------------------------------------------------------------------------


def test_without_the_tool_the_source_is_absent(tmp_path: Path) -> None:
    subject = Subject(environment={"PATH": str(tmp_path)})
    source = NeuronMonitorSource.open(subject, tools=tmp_path / "tools")
    assert isinstance(source, Absent)
    assert "neither on the PATH nor in" in source.reason


def test_the_tool_is_found_where_its_package_puts_it(stage: Stage) -> None:
    stage.write("say(lines[0])\nsignal.pause()")
    source = NeuronMonitorSource.open(Subject(environment={"PATH": ""}), tools=stage.folder)
    assert isinstance(source, NeuronMonitorSource)
    assert len(read_until(source, 1)) == 1
    source.close()


def test_a_tool_that_cannot_be_started_makes_the_source_absent(tmp_path: Path) -> None:
    tool = tmp_path / "neuron-monitor"
    tool.write_text("#!/nowhere/at/all\n")
    tool.chmod(0o755)
    source = NeuronMonitorSource.open(Subject(environment={"PATH": str(tmp_path)}))
    assert isinstance(source, Absent)
    assert "cannot be started" in source.reason


# --- trouble ------------------------------------------------------------------------------------


def test_silence_is_told_after_some_periods_and_is_over_with_the_next_report(stage: Stage) -> None:
    os.mkfifo(stage.folder / "go")
    source = stage.open("(here / 'go').read_bytes()\nsay(lines[0])\nsignal.pause()")
    assert source.read(10.0) == []
    assert source.read(10.0 + SILENT_PERIODS - 0.1) == []
    (silent,) = source.read(10.0 + SILENT_PERIODS)
    assert (silent.is_valid, silent.values) == (False, {})
    assert silent.note == "silent: no line for 3 s"
    (stage.folder / "go").write_bytes(b"on")
    (reading,) = read_until(source, 1, at_seconds=20.0)
    assert reading.is_valid
    assert source.read(22.0) == []


def test_rubbish_is_told_once_and_counted(stage: Stage) -> None:
    source = stage.open(
        "say(b'starting up\\n' + bytes(range(256)) + b'\\n\\n{}\\n' + lines[0])\nsignal.pause()"
    )
    told, reading = read_until(source, 2)
    assert (told.is_valid, reading.is_valid) == (False, True)
    assert told.note == "wrote a line that is not a report: 'starting up'"
    # Of the 256 bytes one is a newline itself.
    assert reading.values["unreadable_lines"] == source.unreadable_lines == 4.0


def test_a_line_without_an_end_is_rubbish_and_not_kept(stage: Stage) -> None:
    size = MAX_LINE_BYTES + 2**20
    source = stage.open(f"say(b'x' * {size})\nsay(b'\\n' + lines[0])\nsignal.pause()")
    told, reading = read_until(source, 2)
    assert not told.is_valid
    assert reading.values["memory_system_bytes"] == 6442450944.0


def test_one_that_dies_is_started_again_after_growing_pauses_and_then_given_up(
    stage: Stage,
) -> None:
    source = stage.open("say(lines[0])\nprint('no driver', file=sys.stderr)\nsys.exit(3)")
    now = 100.0
    for turn, pause in enumerate(RESTART_PAUSES):
        report, ended = read_until(source, 2, now)
        assert report.is_valid
        assert len(stage.pids) == turn + 1
        assert ended.note == (f"ended (exit code 3): no driver; it is started again in {pause:g} s")
        assert source.read(now + pause - 0.1) == []
        now += pause
        assert source.read(now) == []
    _, given_up = read_until(source, 2, now)
    assert given_up.note == "ended (exit code 3): no driver; given up after 4 starts"
    assert source.read(now + 1e6) == []
    assert len(stage.pids) == 4


def test_what_it_said_before_it_died_is_still_heard(stage: Stage) -> None:
    source = stage.open("for line in lines: say(line)\nos.kill(os.getpid(), signal.SIGKILL)")
    wait_for_output(source)
    wait_for_end(stage.pids[0])
    *readings, ended = source.read(1.0)
    assert len(readings) == 17
    assert ended.note == "ended (exit code -9); it is started again in 1 s"


def test_one_that_closes_its_output_and_stays_is_killed(stage: Stage) -> None:
    source = stage.open("os.close(1)\nos.close(2)\nsignal.pause()")
    wait_for_output(source)
    assert source.read(1.0) == []
    (ended,) = source.read(2.0)
    assert ended.note == "closed its output; it is started again in 1 s"
    assert are_gone(stage.pids)


def test_one_that_is_gone_when_it_shall_be_started_again_is_told(stage: Stage) -> None:
    source = stage.open("sys.exit(0)")
    wait_for_output(source)
    wait_for_end(stage.pids[0])
    source.read(0.0)
    (stage.folder / "neuron-monitor").unlink()
    (told,) = source.read(5.0)
    assert told.note is not None
    assert "cannot be started" in told.note
    assert source.descriptors == []


def test_babble_on_stderr_neither_blocks_it_nor_is_kept(stage: Stage) -> None:
    source = stage.open(
        "sys.stderr.write('x' * 300_000 + '\\nlast words\\n')\nsys.stderr.flush()\nsys.exit(1)"
    )
    readings = source.read(0.0)
    while not readings:  # the stand-in goes on as its stderr is read
        select.select(source.descriptors, [], [], 0.01)
        readings = source.read(0.0)
    (told,) = readings
    assert told.note == "ended (exit code 1): last words; it is started again in 1 s"


# --- the end ------------------------------------------------------------------------------------

WITH_A_CHILD = """\
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
with open(here / "pids", "a") as pids:
    print(child.pid, file=pids)
say(lines[0])
signal.pause()
"""


def test_closing_kills_it_with_what_it_started(stage: Stage) -> None:
    source = stage.open(WITH_A_CHILD)
    read_until(source, 1)
    source.close()
    assert len(stage.pids) == 2
    assert are_gone(stage.pids)
    source.close()
    assert source.read(1e9) == []


def test_it_does_not_outlive_a_parent_that_is_killed(stage: Stage) -> None:
    stage.write(WITH_A_CHILD)
    parent = f"""
import select, sys
from trnbench.machine.source import Subject
from trnbench.machine.neuron_monitor import NeuronMonitorSource
source = NeuronMonitorSource.open(Subject(environment={{"PATH": {str(stage.folder)!r}}}))
select.select(source.descriptors[:1], [], [])
print(source._config, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().decode().strip())
        process.send_signal(signal.SIGKILL)
    assert are_gone(stage.pids)
    left.unlink()  # nobody was there to remove it
