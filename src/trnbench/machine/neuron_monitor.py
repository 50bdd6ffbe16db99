"""`neuron-monitor` as a process beside the run: started, read, started again, ended.

It writes a line of JSON each period. It sees every Neuron process of the host, so a filter on their
tags picks out the run's own.
"""

import contextlib
import dataclasses
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from trnbench.machine.look import ROOT, find_tool
from trnbench.machine.neuron import TOOLS
from trnbench.machine.neuron_report import NAME, parse_report
from trnbench.machine.source import Absent, Subject, failure
from trnbench.process import Child, LineTooLongError
from trnbench.redact import redact
from trnbench.schema.measurement import Reading

RESTART_PAUSES = (1.0, 5.0, 25.0)
"""Seconds before it is started again; after the last of them it is given up."""

SILENT_PERIODS = 3
"""After so many periods without a line the source is reported as silent."""

_NICENESS = 10


def monitor_config(period_seconds: float, tag_filter: str) -> dict[str, Any]:
    """Return the tool's configuration: the groups that are read, and no others.

    Source: Neuron Monitor User Guide, "Configuration file", Neuron SDK 2.32, read 2026-11-23.
    """
    runtime_groups = (
        "neuroncore_counters", "execution_stats", "memory_used", "neuron_runtime_vcpu_usage",
    )  # fmt: skip
    return {
        "period": f"{period_seconds:g}s",
        "neuron_runtimes": [
            {"tag_filter": tag_filter, "metrics": [{"type": group} for group in runtime_groups]}
        ],
        "system_metrics": [{"type": "neuron_hw_counters"}, {"type": "memory_info"}],
    }


class NeuronMonitorSource:
    """Reads what the tool says of the run's cores."""

    name = NAME

    @classmethod
    def open(cls, subject: Subject, tools: Path = ROOT / TOOLS) -> "NeuronMonitorSource | Absent":
        """Find the tool and start it, or say why there is none."""
        program = find_tool(NAME, tools, path=subject.environment.get("PATH", os.defpath))
        if program is None:
            return Absent(f"{NAME} is neither on the PATH nor in {tools}")
        config = monitor_config(subject.period_seconds, subject.neuron_tag_filter)
        try:
            descriptor, path = tempfile.mkstemp(prefix="trnbench-", suffix=".json")
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(config, stream)
        except OSError as error:
            return Absent(f"its configuration cannot be written: {error.strerror}")
        source = cls([program, "-c", path], Path(path), subject.period_seconds)
        problem = source.start()
        if problem is not None:
            source.close()
            return Absent(problem)
        return source

    def __init__(self, command: list[str], config: Path, period_seconds: float) -> None:
        self._command = command
        self._config = config
        self._silent_seconds = SILENT_PERIODS * period_seconds
        self._child: Child | None = None
        self._heard_at: float | None = None
        """When a line last came, or it was started; None until it is first read."""
        self._restarts = 0
        self._restart_at = math.inf
        self._closed_at: float | None = None
        """When its output was found closed."""
        self.unreadable_lines = 0
        """Lines that were no report."""

    def start(self) -> str | None:
        """Start the tool; return what is wrong if it cannot be."""
        try:
            self._child = Child(self._command)
        except OSError as error:
            return f"{NAME} cannot be started: {error.strerror}"
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, _NICENESS)
        self._closed_at = None
        return None

    @property
    def descriptors(self) -> list[int]:
        """What a caller that has nothing else to do can wait on; none while it does not run."""
        return [] if self._child is None else self._child.descriptors

    def read(self, at_seconds: float) -> list[Reading]:
        """Return what has come since the last time, and what became of the tool."""
        if self._heard_at is None:
            self._heard_at = at_seconds
        if self._child is None:
            return self._start_again(at_seconds)
        exit_code = self._child.exit_code  # before reading: what it said before is then all there
        self._child.read_output()
        try:
            lines = self._child.read_lines()
        except LineTooLongError:
            lines = [b"(no end of the line)"]
        readings = []
        for line in filter(None, map(bytes.strip, lines)):
            self._heard_at = at_seconds
            readings += self._parse(line, at_seconds)
        # One that closed its output is about to end: its exit code is waited for until next time.
        is_left = self._closed_at is not None and at_seconds > self._closed_at
        if exit_code is not None or is_left:
            return [*readings, self._ended(exit_code, at_seconds)]
        if at_seconds - self._heard_at >= self._silent_seconds:
            why = f"silent: no line for {self._silent_seconds:g} s"
            readings.append(failure(NAME, at_seconds, why))
        if self._child.has_closed_lines and self._closed_at is None:
            self._closed_at = at_seconds
        return readings

    def close(self) -> None:
        """Kill the tool with everything that it started, and remove its configuration."""
        if self._child is not None:
            self._child.end()
            self._child = None
        self._restart_at = math.inf
        with contextlib.suppress(OSError):
            self._config.unlink(missing_ok=True)

    def _parse(self, line: bytes, at_seconds: float) -> list[Reading]:
        readings = parse_report(line, at_seconds)
        if readings is None:
            self.unreadable_lines += 1
            if self.unreadable_lines > 1:
                return []
            text = redact(line[:80].decode(errors="replace"))
            return [failure(NAME, at_seconds, f"wrote a line that is not a report: {text!r}")]
        return [self._completed(r) if r.device is None else r for r in readings]

    def _completed(self, reading: Reading) -> Reading:
        """Redact the note, and add the count of unreadable lines."""
        values = dict(reading.values)
        if self.unreadable_lines:
            values["unreadable_lines"] = float(self.unreadable_lines)
        note = redact(reading.note) if reading.note else None
        return dataclasses.replace(reading, note=note, values=values)

    def _ended(self, exit_code: int | None, at_seconds: float) -> Reading:
        """End what is left of the tool, and say what will be done."""
        words = ""
        if self._child is not None:
            said = [line.strip() for line in self._child.output_tail().splitlines()]
            words = redact(next((line[:200] for line in reversed(said) if line), ""))
            self._child.end()
            self._child = None
        how = "closed its output" if exit_code is None else f"ended (exit code {exit_code})"
        return self._try_later(f"{how}: {words}" if words else how, at_seconds)

    def _try_later(self, what: str, at_seconds: float) -> Reading:
        if self._restarts == len(RESTART_PAUSES):
            self._restart_at = math.inf
            return failure(NAME, at_seconds, f"{what}; given up after {self._restarts + 1} starts")
        pause = RESTART_PAUSES[self._restarts]
        self._restarts += 1
        self._restart_at = at_seconds + pause
        return failure(NAME, at_seconds, f"{what}; it is started again in {pause:g} s")

    def _start_again(self, at_seconds: float) -> list[Reading]:
        if at_seconds < self._restart_at:
            return []
        self._heard_at = at_seconds
        problem = self.start()
        return [self._try_later(problem, at_seconds)] if problem else []
