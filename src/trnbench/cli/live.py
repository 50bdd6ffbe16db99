"""What stderr shows of a run: a case's phase, step, tokens/s, interval, time and dollars so far.

Dollars are of all launches of a case, by the second; what a contract bills is in the result.
Nothing is drawn inside a timed block, and no thread draws in between.
"""

import contextlib
import math
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
def make_observer(
    stream: TextIO | None = None, most_usd: float | None = None
) -> Iterator[Observer]:
    """Yield an observer for stderr: a line that moves on a terminal, plain lines elsewhere.

    `most_usd` is the limit of all cases together.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield LineObserver(stream, most_usd=most_usd)
        return
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LineObserver(stream, live, most_usd=most_usd)


class LineObserver:
    """Writes lines that stay, and redraws the one that moves where there is a terminal."""

    def __init__(
        self,
        stream: IO[str],
        live: Live | None = None,
        clock: Callable[[], float] = time.monotonic,
        most_usd: float | None = None,
    ) -> None:
        self._most_usd = math.inf if most_usd is None else most_usd
        self._stream = stream
        self._live = live
        self._clock = clock
        self._drawn = -REDRAW_SECONDS
        self._usd: dict[str, float] = {}  # what each case that has a price has cost so far
        self._cases = self._number = 0
        self._phase = ""

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """Write where results go, and what they can cost."""
        self._cases = len(plans)
        most = [plan.prediction.max_usd for plan in plans]
        known = [usd for usd in most if usd is not None]
        limit = ""
        if known and len(known) == len(most):
            limit = f", for at most {say_usd(min(sum(known), self._most_usd))}"
        self._write(f"{len(plans)} case{'s' if len(plans) != 1 else ''} into {folder}{limit}")

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """Show which case it is."""
        self._number, self._phase = number, ""
        count = plan.measure.launches
        which = f"  launch {launch} of {count}" if count > 1 else ""
        self._show(f"[{number}/{self._cases}]  {_name_of(plan)}{which}", is_new=True)

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Show how far it is."""
        if progress.usd_spent is not None:
            self._usd[plan.case_id] = progress.usd_spent
        is_new, self._phase = progress.phase != self._phase, progress.phase
        parts = [f"[{self._number}/{self._cases}]", _name_of(plan), *_parts_of(progress)]
        if len(self._usd) > 1:
            parts.append(f"{say_usd(sum(self._usd.values()))} in all")
        self._show("  ".join(parts), is_new=is_new)

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """Write how it ended."""
        model = f"{result.model.name} {result.workload.precision} {result.device.backend}"
        outcome = result.outcome
        standing = result.standing if outcome.status == "finished" else outcome.status
        said = f"[{number}/{self._cases}]  {model}  {standing}: "
        if was_measured_before:
            self._write(f"{said}was measured before")
            return
        usd = result.metrics["case_usd"].value
        if usd is not None:
            self._usd[result.case_id] = usd
        self._write(f"{said}{outcome.reason}" + (f"  {say_usd(usd)}" if usd is not None else ""))

    def _show(self, line: str, *, is_new: bool) -> None:
        """Redraw the line that moves, a few times a second; elsewhere write what is new."""
        if self._live is None:
            if is_new:
                self._write(line)
            return
        now = self._clock()
        if is_new or now - self._drawn >= REDRAW_SECONDS:
            self._drawn = now
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _write(self, line: str) -> None:
        """Write a line that stays; on a terminal above the one that moves, which begins anew."""
        if self._live is None:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        else:
            self._live.update("")
            self._live.console.print(Text(line))


def _name_of(plan: Plan) -> str:
    return f"{plan.model.name} {plan.workload.precision} {plan.order.backend}"


def _parts_of(progress: Progress) -> Iterator[str]:
    yield progress.phase
    yield f"step {progress.steps}"
    if progress.tokens_per_second is not None:
        half_width = progress.relative_half_width
        interval = f" ±{half_width:.1%}" if half_width is not None else ""
        yield f"{progress.tokens_per_second:,.0f} tokens/s{interval}"
    yield say_seconds(progress.elapsed_seconds)
    if progress.usd_spent is not None:
        yield say_usd(progress.usd_spent)
