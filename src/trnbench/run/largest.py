"""`micro_batch_size: max`: short launches, from the predicted size up or down, to the largest size.

Out of memory is an answer here, whoever says it: the device, its compiler, or the kernel that kills
the process. Each trial's records, and the answers, stay in a hidden folder of the run, so that the
same command repeats none of them. Sizes and their order: `plan/largest.py`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from trnbench.errors import DataError
from trnbench.run.case import Observer, Progress
from trnbench.run.disk import StorageFull, write_whole
from trnbench.run.session import Session
from trnbench.run.stopping import Budget, TrialRule
from trnbench.run.store import read_model
from trnbench.run.watch import Interruption
from trnbench.schema.plan import PassSearch, PassTrial, Plan
from trnbench.schema.result import Result
from trnbench.units import say_bytes, say_seconds

TRIALS_FOLDER = ".pass-sizes"
"""Of a run, hidden from what looks for results: a trial has no figure."""

OUT_OF_MEMORY = ("out_of_memory", "does_not_fit")

KILLED = ("signal 9", "exit code 137", "compiler was killed", "want of host memory")
"""In the words of an outcome: killed, most likely for want of memory. Source: run/outcomes.py,
catalog/faults.csv."""

PlanAt = Callable[[int], Plan]
"""The plan with so many sequences a pass."""


class Trials(Observer):
    """Shows where a trial is, as a run does, without its first and last lines."""

    def __init__(self, shown: Observer) -> None:
        self._shown = shown

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """Show nothing: the run has yet to begin."""
        return

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """Show nothing: the trial's own line follows."""
        return

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """Show which case it is."""
        self._shown.case_begins(number, plan, launch)

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Show how far it is."""
        self._shown.case_moves(plan, progress)


def settle_pass_size(
    plan: Plan,
    plan_at: PlanAt,
    folder: Path,
    *,
    open_session: Callable[..., Session],
    observer: Observer,
    interruption: Interruption,
    notify: Callable[[str], None],
) -> Plan:
    """Find the largest size of a pass that fits, and return the plan with it and all trials.

    Args:
        plan: with the sizes, and the one to try first.
        plan_at: makes the plan of another size.
        folder: the run's.
        open_session: a Session on this machine, given plans, a folder, an observer and a rule.
        observer: notified while trials go on.
        interruption: after a signal no further trial is made.
        notify: given a line for each trial.

    Raises:
        ConfigError, RunError: the folder cannot be written, or is in use.
    """
    search = plan.workload.search
    if search is None:
        return plan
    place = folder / TRIALS_FOLDER / plan.case_id
    known = {each.micro_batch_size: each for each in _read_trials(place, search)}

    def attempt(size: int) -> PassTrial:
        if size in known:
            return known[size]
        trial = _attempt(plan_at(size), place / str(size), open_session, Trials(observer))
        notify(_say(trial))
        return trial

    sizes = [each.micro_batch_size for each in search.sizes]
    made: list[PassTrial] = []
    for trial in find_largest(sizes, search.first, attempt):
        if interruption.signal is not None:
            break
        made.append(trial)
        fitting = [each.micro_batch_size for each in made if each.fits]
        search = search.model_copy(
            update={"trials": tuple(made), "taken": max(fitting, default=None)}
        )
        with contextlib.suppress(StorageFull):  # the run itself says so, at its first record
            write_whole(place / "search.json", search.model_dump_json(indent=1))
    if not made:
        return plan
    notify(say_taken(search))
    # Where none is seen to fit the case is launched with the last size, and its outcome says so.
    settled = plan_at(search.taken or made[-1].micro_batch_size)
    workload = settled.workload.model_copy(update={"search": search, "reason": say_taken(search)})
    return settled.model_copy(update={"workload": workload})


def find_largest(
    sizes: Sequence[int], first: int, attempt: Callable[[int], PassTrial]
) -> Iterator[PassTrial]:
    """Try sizes until the largest that fits is known, and yield each trial.

    From the first one upwards while it fits; else down, ever faster, and between what is known. A
    trial that failed for another reason than memory says nothing of sizes, and ends it.
    """
    low, high, at, step = -1, len(sizes), sizes.index(first), 1
    while low + 1 < high:
        trial = attempt(sizes[at])
        yield trial
        if trial.fits is None:
            return
        if trial.fits:
            low = at
        else:
            high = at
        if high == len(sizes):
            at = low + 1
        elif low >= 0:
            at = (low + high) // 2
        else:
            at, step = max(high - step, 0), step * 2


def _read_trials(place: Path, search: PassSearch) -> tuple[PassTrial, ...]:
    """Return the trials of an earlier command; those that said nothing of memory are made again."""
    try:
        earlier = read_model(place / "search.json", PassSearch)
    except DataError:
        return ()
    return tuple(each for each in earlier.trials if each.fits is not None)


def _attempt(
    plan: Plan, folder: Path, open_session: Callable[..., Session], observer: Observer
) -> PassTrial:
    """Launch one size for a few steps."""
    began = time.perf_counter()
    ending = open_session(
        [_trial_plan(plan)], folder=folder, observer=observer, make_rule=_trial_rule
    ).run()
    seconds = time.perf_counter() - began
    size = plan.workload.micro_batch_size
    if not ending.cases:
        why = ending.storage_full or "it was stopped, or its dollars were used up"
        return PassTrial(
            micro_batch_size=size, fits=None, status="not_made", reason=why, seconds=seconds
        )
    (result,) = ending.load_results(folder)
    outcome = result.outcome
    return PassTrial(
        micro_batch_size=size,
        fits=_fits(result),
        status=outcome.status,
        reason=outcome.reason,
        peak_memory_bytes=result.metrics["peak_memory_bytes"].value,
        seconds=seconds,
    )


def _trial_plan(plan: Plan) -> Plan:
    """Return a plan without all that says nothing of its memory."""
    return plan.model_copy(
        update={
            "order": replace(plan.order, gate=None, measure_ceiling=False),
            "measure": plan.measure.model_copy(
                update={"launches": 1, "gate": False, "ceiling": False, "telemetry": False}
            ),
        }
    )


def _trial_rule(plan: Plan, budget: Budget) -> TrialRule:
    return TrialRule(plan.measure, budget.reason)


def _fits(result: Result) -> bool | None:
    outcome = result.outcome
    if outcome.status == "finished":
        return True
    is_killed = any(word in f"{outcome.reason} {outcome.hint}" for word in KILLED)
    return False if outcome.status in OUT_OF_MEMORY or is_killed else None


def _say(trial: PassTrial) -> str:
    said = f"micro_batch_size {trial.micro_batch_size}: "
    if trial.fits:
        peak = trial.peak_memory_bytes
        return f"{said}fits" + (f", {say_bytes(peak)} at most" if peak else "")
    return f"{said}{trial.status}: {trial.reason}"


def say_taken(search: PassSearch) -> str:
    """Say which sizes were tried, which failed and with what words, and which was taken."""
    tried = "; ".join(
        f"{each.micro_batch_size} {'fits' if each.fits else f'{each.status} ({each.reason})'}"
        for each in search.trials
    )
    if search.taken is None:
        taken = f"none was seen to fit, so {search.trials[-1].micro_batch_size} is launched"
    else:
        batch = "the global batch stays" if search.is_batch_given else "the global batch follows"
        taken = f"{search.taken} is taken, {batch}"
    if any(each.fits is None for each in search.trials):
        taken += "; no other size was tried, for a trial failed for another reason than memory"
    return f"micro_batch_size max: {tried}: {taken} (trials took {say_seconds(search.seconds)})"
