"""What stderr shows of a run: a case's phase, how far it is, tokens/s, time left and dollars.

On a terminal one line moves; elsewhere, in a pipe or in CI, there is a line for each phase and one
a minute. Dollars are of all launches of a case, by the second; what a contract bills is in the
result. Nothing is drawn inside a timed block, and no thread draws in between.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trnbench.reports.texts import plural
from trnbench.run.case import Observer, Progress
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result
from trnbench.units import say_seconds, say_usd

REDRAW_SECONDS = 0.25
QUIET_SECONDS = 60.0
"""Without a terminal something is written at least so often: CI ends jobs that are silent."""
BAR_WIDTH = 16

MANY_CASES = 100
"""Of more, a case that ends well leaves no line: how many did is said once a minute."""
MOST_FAILURES = 20
"""Of many cases, those whose failure has a line of its own."""

PHASES = {
    "start": "starting the worker",
    "probe": "opening the device",
    "gate": "checking its training with fp32 on the CPU",
    "ceiling": "timing matmuls alone",
    "build": "building the model",
    "train": "preparing the first step",
    "warm up": "warming up",
    "measure": "measuring",
    "teardown": "ending",
    "end": "ending",
}
"""In plain words; the keys are those that the worker's records have."""


@contextlib.contextmanager
def make_observer(
    stream: TextIO | None = None, most_usd: float | None = None, launches: int | None = None
) -> Iterator[Observer]:
    """Yield an observer for stderr: a line that moves on a terminal, plain lines elsewhere.

    Args:
        stream: where it is shown; by default stderr.
        most_usd: the limit of all cases together.
        launches: of the whole command, where it launches cases in turns.
    """
    stream = stream or sys.stderr
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield LineObserver(stream, most_usd=most_usd, launches=launches)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LineObserver(stream, live, most_usd=most_usd, launches=launches)


class LineObserver:
    """Writes lines that stay, and redraws the one that moves where there is a terminal."""

    def __init__(
        self,
        stream: IO[str],
        live: Live | None = None,
        clock: Callable[[], float] = time.monotonic,
        most_usd: float | None = None,
        launches: int | None = None,
    ) -> None:
        self._most_usd = math.inf if most_usd is None else most_usd
        self._stream = stream
        self._live = live
        self._clock = clock
        self._shown = -math.inf
        self._usd: dict[str, float] = {}  # what each case that has a price has cost so far
        self._usd_in_all = 0.0
        self._cases = 0
        self._tally: Tally | None = None  # of many cases
        self._launches, self._launch = launches, 0
        self._folders: list[Path] = []
        self._place = self._phase = ""

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """Write where results go, and what they can cost; of each folder once."""
        self._cases = len(plans)
        if folder in self._folders:
            return
        self._folders.append(folder)
        most = [plan.prediction.max_usd for plan in plans]
        known = [usd for usd in most if usd is not None]
        limit = ""
        if known and len(known) == len(most):
            limit = f", for at most {say_usd(min(sum(known), self._most_usd))}"
        cases = f"{len(plans):,} case{'s' if len(plans) != 1 else ''}"
        self._write(f"{cases} into {folder}{limit}")
        if len(plans) > MANY_CASES:
            self._tally = Tally(sum(plan.measure.launches for plan in plans), self._clock())

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """Show which case it is."""
        self._launch += 1
        self._place = f"[{number}/{self._cases}]" if self._cases else "[trial]"
        self._phase = ""
        count = plan.measure.launches
        if self._launches is not None:
            self._place = f"[launch {self._launch}/{self._launches}]"
        elif count > 1:
            self._place += f" launch {launch} of {count}"
        self._show(Line(self._place, _name_of(plan)), is_new=True)

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Show how far it is."""
        if progress.usd_spent is not None:
            self._note_usd(plan.case_id, progress.usd_spent)
        is_new, self._phase = progress.phase != self._phase, progress.phase
        self._show(self._line_of(plan, progress), is_new=is_new)

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """Write how it ended."""
        model = f"{result.model.name} {result.workload.precision} {result.device.backend}"
        outcome = result.outcome
        standing = result.standing if outcome.status == "finished" else outcome.status
        place = self._place if self._launches is not None else f"[{number:,}/{self._cases:,}]"
        said = f"{place}  {model}  {standing}: "
        if self._tally is not None:
            self._tally.take(result, was_measured_before=was_measured_before)
        if was_measured_before:
            kept = "" if standing != outcome.status else "; --retry all measures it again"
            self._say_end(f"{said}was measured before{kept}", is_news=False)
            return
        usd = result.metrics["case_usd"].value
        if usd is not None:
            self._note_usd(result.case_id, usd)
        line = f"{said}{outcome.reason}" + (f"  {say_usd(usd)}" if usd is not None else "")
        self._say_end(line, is_news=standing not in ("sound", "doubtful"))

    def _say_end(self, line: str, *, is_news: bool) -> None:
        """Write how a case ended; of many cases each failure, and once a minute how many ended."""
        tally = self._tally
        if tally is None:
            self._write(line)
            return
        if is_news and tally.failures_said < MOST_FAILURES:
            tally.failures_said += 1
            more = "" if tally.failures_said < MOST_FAILURES else "; more are counted, not shown"
            self._write(f"{line}{more}")
        now = self._clock()
        if now - tally.said >= QUIET_SECONDS or tally.ended == self._cases:
            tally.said = now
            usd = f"; {say_usd(self._usd_in_all)} so far" if self._usd else ""
            self._write(f"{tally.say(self._cases, self._launch, now)}{usd}")

    def _note_usd(self, case_id: str, usd: float) -> None:
        self._usd_in_all += usd - self._usd.get(case_id, 0.0)
        self._usd[case_id] = usd

    def _line_of(self, plan: Plan, progress: Progress) -> "Line":
        left = max(progress.limit_seconds - progress.elapsed_seconds, 0.0)
        spent = [] if progress.usd_spent is None else [say_usd(progress.usd_spent)]
        if len(self._usd) > 1:
            spent.append(f"{say_usd(self._usd_in_all)} in all")
        return Line(
            self._place,
            _name_of(plan),
            _phase_of(plan, progress),
            min(progress.elapsed_seconds / progress.limit_seconds, 1.0)
            if progress.limit_seconds
            else 1.0,
            _speed_of(plan, progress),
            f"{say_seconds(progress.elapsed_seconds)}, at most {say_seconds(left)} more",
            "  ".join(spent),
        )

    def _show(self, line: "Line", *, is_new: bool) -> None:
        """Redraw the line that moves, a few times a second; elsewhere write what is new."""
        now = self._clock()
        if self._live is None:
            if self._tally is not None:  # a line for each phase of thousands is too much to read
                is_new, self._shown = False, max(self._shown, self._tally.said)
            if is_new or now - self._shown >= QUIET_SECONDS:
                self._shown = now
                self._write(line.as_text())
        elif is_new or now - self._shown >= REDRAW_SECONDS:
            self._shown = now
            self._live.update(line.within(self._live.console.width), refresh=True)

    def _write(self, line: str) -> None:
        """Write a line that stays; on a terminal above the one that moves, which begins anew."""
        if self._live is None:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        else:
            self._live.update("")
            self._live.console.print(Text(line))


class Tally:
    """How many of many cases have ended, how, and how long the others may take."""

    def __init__(self, launches: int, began: float) -> None:
        self._left_launches = launches
        """Of the cases that were not measured before."""
        self._began = self.said = began
        self._before = 0
        self._ended: dict[str, int] = {}
        self.failures_said = 0

    @property
    def ended(self) -> int:
        """Cases that are over."""
        return sum(self._ended.values())

    def take(self, result: Result, *, was_measured_before: bool) -> None:
        """Count a case that is over."""
        self._ended[result.standing] = self._ended.get(result.standing, 0) + 1
        if was_measured_before:
            self._before += 1
            self._left_launches -= len(result.launches)

    def say(self, cases: int, launched: int, now: float) -> str:
        """Say it in a line; `launched` launches have begun, the last of which is still going on."""
        ended = self.ended
        parts = [f"{self._ended[each]:,} {each}" for each in STANDINGS if each in self._ended]
        before = f" ({self._before:,} before)" if self._before else ""
        took = now - self._began
        line = f"{ended:,} of {cases:,} cases{before}: {', '.join(parts) or 'none ended'}"
        line += f"; {say_seconds(took)}"
        left = self._left_launches - launched
        if launched and left > 0:
            line += f", about {say_seconds(took / launched * left)} more"
        return line


STANDINGS = ("sound", "doubtful", "invalid", "failed")


class Line(NamedTuple):
    """What is shown of a case, part by part."""

    place: str
    name: str
    phase: str = ""
    share: float | None = None
    """Of the time that the launch may take, 0 to 1."""
    speed: str = ""
    time: str = ""
    dollars: str = ""

    def as_text(self) -> str:
        """Return all of it."""
        parts = (self.place, self.name, self.phase, self.speed, self.time, self.dollars)
        return "  ".join(filter(None, parts))

    def within(self, width: int) -> RenderableType:
        """Return as much of it as a line of a terminal has room for: dollars are left out last."""
        line = self
        empty: Any
        for part, empty in (
            (None, None), ("share", None), ("name", ""), ("speed", ""), ("place", ""), ("time", ""),
        ):  # fmt: skip
            if part is not None:
                line = line._replace(**{part: empty})
            if line._width() <= width:
                break
        row = Table.grid(padding=(0, 2))
        cells = line._cells()
        for number, cell in enumerate(cells):
            # What is still too long is cut at the phase, not at the figures.
            least = cell.cell_len if isinstance(cell, Text) and number else None
            row.add_column(no_wrap=True, overflow="ellipsis", min_width=least)
        row.add_row(*cells)
        return row

    def _cells(self) -> list[Text | ProgressBar]:
        bar = None if self.share is None else ProgressBar(1.0, self.share, width=BAR_WIDTH)
        cells = (self.place, self.name, self.phase, bar, self.speed, self.time, self.dollars)
        return [Text(each) if isinstance(each, str) else each for each in cells if each]

    def _width(self) -> int:
        cells = self._cells()
        widths = [cell.cell_len if isinstance(cell, Text) else BAR_WIDTH for cell in cells]
        return sum(widths) + 2 * (len(widths) - 1)


def _name_of(plan: Plan) -> str:
    return f"{plan.model.name} {plan.workload.precision} {plan.order.backend}"


def _phase_of(plan: Plan, progress: Progress) -> str:
    words = PHASES.get(progress.phase, progress.phase)
    if progress.phase == "measure":
        return f"{words}, {plural(progress.samples, 'sample')}"
    if progress.phase == "train" and plan.order.execution == "compile":
        return f"{words}, which compiles"
    return words


def _speed_of(plan: Plan, progress: Progress) -> str:
    if progress.tokens_per_second is None:
        return ""
    half_width = progress.relative_half_width
    interval = ""
    if half_width is not None and half_width < 1:
        interval = f" ±{half_width:.1%} (±{plan.measure.relative_precision:.1%} is enough)"
    return f"{progress.tokens_per_second:,.0f} tokens/s{interval}"
