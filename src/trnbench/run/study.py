"""`trnbench tune` on this machine: each trial is a run of one case, in a folder of its own.

The folders `trial-1`, `trial-2`, … of a study are all that is kept of it: the same command reads
them and goes on. What comes next is `tune/study.py`'s to say.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from trnbench.errors import DataError
from trnbench.run.ending import Ending
from trnbench.run.results import load_result
from trnbench.run.session import Session
from trnbench.run.stopping import LEAST_SECONDS, Budget, PruningRule
from trnbench.run.store import PLAN_FILE
from trnbench.run.watch import Clock, Interruption
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result
from trnbench.tune.space import Space, Way
from trnbench.tune.study import UNFINISHED, Study, Trial, run_study

PREFIX = "trial-"


@dataclass(slots=True, kw_only=True)
class StudyRun:
    """Makes the trials of one study on this machine."""

    space: Space
    folder: Path
    open_session: Callable[..., Session]
    """A Session on this machine, given plans, a folder and a rule."""
    interruption: Interruption
    most_seconds: float
    """Of this command; infinite without --max-minutes."""
    notify: Callable[[str], None]
    """Given a line before each trial."""
    clock: Clock = time.monotonic
    last: Ending | None = None
    """How the last trial's session ended."""
    _began: float = field(init=False)

    def run(self, most_trials: int) -> Study:
        """Make what is missing of so many trials.

        Raises:
            ConfigError, RunError: a folder cannot be written, or another process measures into it.
        """
        self._began = self.clock()
        return run_study(
            self.space,
            self._measure,
            self.earlier(),
            most_trials=most_trials,
            why_stop=self._why_stop,
        )

    def earlier(self) -> list[Trial]:
        """Return the trials of earlier commands that ended, in order."""
        ways = {way.plan.case_id: way for way in self.space.ways}
        return [
            Trial(number=number, way=ways[case.name], result=result)
            for number, case, result in self._made()
            if case.name in ways and result.outcome.status not in UNFINISHED
        ]

    def _made(self) -> Iterator[tuple[int, Path, Result]]:
        for number, folder in sorted(self._folders().items()):
            for plan in sorted(folder.glob(f"*/{PLAN_FILE}")):
                try:
                    yield number, plan.parent, load_result(plan.parent, folder.name)
                except DataError:  # without a record: it is made again
                    continue

    def _folders(self) -> dict[int, Path]:
        found = self.folder.glob(f"{PREFIX}*") if self.folder.is_dir() else ()
        numbers = {each: each.name.removeprefix(PREFIX) for each in found}
        return {int(text): each for each, text in numbers.items() if text.isdecimal()}

    def _why_stop(self) -> str | None:
        if self.interruption.signal is not None:
            return self.interruption.reason
        if self.last is not None and self.last.storage_full is not None:
            return self.last.storage_full
        if self.last is not None and self.last.unpaid:
            return "--max-usd: less is left than a trial costs"
        if self._left() < LEAST_SECONDS:
            return "--max-minutes: less is left than a trial takes"
        return None

    def _left(self) -> float:
        return self.most_seconds - (self.clock() - self._began)

    def _measure(self, way: Way, best_seconds: float | None) -> Trial | None:
        plan = _limited(way.plan, self._left())
        number = self._number_of(plan)
        folder = self.folder / f"{PREFIX}{number}"
        self.notify(f"trial {number}: {self.space.say(way)}")
        self.last = self.open_session(
            [plan], folder=folder, make_rule=partial(_rule, best_seconds)
        ).run()
        results = self.last.load_results(folder)
        return Trial(number=number, way=way, result=results[0]) if results else None

    def _number_of(self, plan: Plan) -> int:
        """Return the number of a way's unfinished trial, or a new one."""
        folders = self._folders()
        made = (n for n, each in folders.items() if (each / plan.case_id / PLAN_FILE).exists())
        return next(made, max(folders, default=0) + 1)


def _rule(best_seconds: float | None, plan: Plan, budget: Budget) -> PruningRule:
    return PruningRule(plan.measure, budget.reason, best_seconds)


def _limited(plan: Plan, seconds: float) -> Plan:
    """Return the plan of one launch that ends when the command does."""
    minutes = min(plan.measure.max_minutes, seconds / 60)
    measure = plan.measure.model_copy(update={"launches": 1, "max_minutes": minutes})
    return plan.model_copy(update={"measure": measure})
