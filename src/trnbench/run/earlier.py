"""What an earlier command left of a case in the same folder, and what of it is measured again."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from trnbench.errors import DataError
from trnbench.run.results import load_whole
from trnbench.run.store import CaseFolder, measurement_name, read_records
from trnbench.schema.plan import Plan

Retry = Literal["some", "all", "none"]
"""Of the cases that failed: those that another launch may mend; all; none."""

RETRIES: tuple[Retry, ...] = get_args(Retry)

UNFINISHED = frozenset({"interrupted", "terminated", "cut_off", "disk_full", "out_of_budget"})
"""Ends from outside: the case did not fail, and what is missing of it is measured in any case."""

ANSWERS = frozenset({"out_of_memory", "does_not_fit", "compile_failure", "unsupported"})
"""Failures that say something of the work itself on this device and its software: another launch of
the same says the same, and a compiler may take half an hour for it. Source: decision 0038."""


@dataclass(slots=True)
class Earlier:
    """The launches of a case that are on disk."""

    seconds: list[float] = field(default_factory=list)
    """Of each that finished, up to the first that did not."""
    failed: str | None = None
    """How the one after them ended, if it failed."""

    def is_kept(self, retry: Retry) -> bool:
        """Tell whether a failure is left as it is."""
        if self.failed is None or retry == "all":
            return False
        return retry == "none" or self.failed in ANSWERS


def look_at(case: CaseFolder, plan: Plan) -> Earlier:
    """Read how a case's launches ended: from its result where that is whole, which is quick.

    A plan that was damaged or lost is written again.
    """
    whole = load_whole(case.path) if case.has_plan(plan) else None
    if whole is None or not whole.launches:
        seconds = case.launches_measured(plan)
        return Earlier(seconds, _failure_after(case, len(seconds)))
    earlier = Earlier()
    for launch in whole.launches:
        if launch.status != "finished":
            earlier.failed = _failure(launch.status)
            break
        earlier.seconds.append(launch.total_seconds)
    return earlier


def _failure_after(case: CaseFolder, finished: int) -> str | None:
    """Return how the launch after the finished ones failed, by its records."""
    try:
        outcome = read_records(case.path / measurement_name(finished + 1)).outcome
    except DataError:
        return None
    return None if outcome is None else _failure(outcome.status)


def _failure(status: str) -> str | None:
    """Return a status that is a failure; one that finished is here without its plan."""
    return None if status == "finished" or status in UNFINISHED else status
