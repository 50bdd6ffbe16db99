"""The live line on stderr: a case's phase, step, tokens/s, interval, time and dollars so far.

Dollars are the case's, all its launches together; where there are several cases, those of the whole
run stand beside them. They count by the second; what a contract bills is in the result. The line is
drawn when the session says that something moved, which is never inside a timed block, and no thread
draws it in between.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from trnbench.run.case import Observer, Progress
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result
from trnbench.units import say_seconds, say_usd

REDRAW_SECONDS = 0.25


@contextlib.contextmanager
def make_observer(stream: TextIO | None = None) -> Iterator[Observer]:
    """Yield an observer for stderr: a line that moves on a terminal, plain lines elsewhere."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield PlainObserver(stream)
        return
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveObserver(live)


class RunCost:
    """What a run has cost so far: the last known cost of each case."""

    def __init__(self) -> None:
        self._usd: dict[str, float] = {}

    def note(self, case_id: str, usd: float | None) -> None:
        """Take what a case has cost so far; None where it has no price."""
        if usd is not None:
            self._usd[case_id] = usd

    @property
    def usd(self) -> float | None:
        """Return the sum, or None where fewer than two cases have a cost: it would say no more."""
        return sum(self._usd.values()) if len(self._usd) > 1 else None


def line_of(
    number: int, cases: int, plan: Plan, progress: Progress, run_usd: float | None = None
) -> str:
    """Return a case's state in one line; `run_usd` is the cost of the whole run so far."""
    parts = [f"[{number}/{cases}]", name_of(plan), progress.phase, f"step {progress.steps}"]
    if progress.tokens_per_second is not None:
        rate = f"{progress.tokens_per_second:,.0f} tokens/s"
        if progress.relative_half_width is not None:
            rate += f" ±{progress.relative_half_width:.1%}"
        parts.append(rate)
    parts.append(say_seconds(progress.elapsed_seconds))
    if progress.usd_spent is not None:
        parts.append(say_usd(progress.usd_spent))
    if run_usd is not None:
        parts.append(f"{say_usd(run_usd)} in all")
    return "  ".join(parts)


def name_of(plan: Plan) -> str:
    """Name a case shortly."""
    return f"{plan.model.name} {plan.workload.precision} {plan.order.backend}"


def _beginning(folder: Path, plans: Sequence[Plan]) -> str:
    said = f"{len(plans)} case{'s' if len(plans) != 1 else ''} into {folder}"
    most = [plan.prediction.max_usd for plan in plans]
    known = [usd for usd in most if usd is not None]
    if not known or len(known) < len(most):
        return said
    return f"{said}, for at most {say_usd(sum(known))}"


def _of_launches(plan: Plan, launch: int) -> str:
    count = plan.measure.launches
    return f"  launch {launch} of {count}" if count > 1 else ""


def _ending(number: int, cases: int, result: Result, *, was_measured_before: bool) -> str:
    model = f"{result.model.name} {result.workload.precision} {result.device.backend}"
    how = "was measured before" if was_measured_before else result.outcome.reason
    standing = result.standing if result.outcome.status == "finished" else result.outcome.status
    usd = result.metrics["case_usd"].value
    cost = "" if usd is None or was_measured_before else f"  {say_usd(usd)}"
    return f"[{number}/{cases}]  {model}  {standing}: {how}{cost}"


class PlainObserver:
    """Writes a line when a case begins, changes its phase, or ends."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._cost = RunCost()
        self._cases = self._number = 0
        self._phase = ""

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """Say where results go, and what they can cost."""
        self._cases = len(plans)
        self.keep(_beginning(folder, plans))

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """Say which case it is."""
        self._number, self._phase = number, ""
        self.keep(f"[{number}/{self._cases}]  {name_of(plan)}{_of_launches(plan, launch)}")

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Say that a phase has begun."""
        self._cost.note(plan.case_id, progress.usd_spent)
        if progress.phase != self._phase:
            self._phase = progress.phase
            self.keep(line_of(self._number, self._cases, plan, progress, self._cost.usd))

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """Say how it ended."""
        if not was_measured_before:
            self._cost.note(result.case_id, result.metrics["case_usd"].value)
        self.keep(_ending(number, self._cases, result, was_measured_before=was_measured_before))

    def keep(self, line: str) -> None:
        """Write a line that stays."""
        self._stream.write(f"{line}\n")
        self._stream.flush()


class LiveObserver(PlainObserver):
    """Redraws one line, and leaves one behind for each case that ended."""

    def __init__(self, live: Live, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(live.console.file)
        self._live = live
        self._clock = clock
        self._drawn = -REDRAW_SECONDS

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """Show which case it is."""
        self._number = number
        self._draw(f"[{number}/{self._cases}]  {name_of(plan)}{_of_launches(plan, launch)}  start")

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Show where it stands, a few times a second at most."""
        self._cost.note(plan.case_id, progress.usd_spent)
        if self._clock() - self._drawn >= REDRAW_SECONDS:
            self._draw(line_of(self._number, self._cases, plan, progress, self._cost.usd))

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """Leave a line that says how it ended."""
        super().case_ends(number, result, was_measured_before=was_measured_before)
        self._draw("")

    def keep(self, line: str) -> None:
        """Print a line above the one that moves."""
        self._live.console.print(Text(line))

    def _draw(self, line: str) -> None:
        self._drawn = self._clock()
        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
