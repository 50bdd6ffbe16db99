"""A study: trial after trial, each the result of one way, until a limit, and what came of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trnbench.schema.result import Result
from trnbench.tune.search import Search
from trnbench.tune.space import PRECISION, RECOMPUTE, Space, Way

State = Literal["measured", "pruned", "out_of_memory", "invalid", "failed"]

OUT_OF_MEMORY = ("out_of_memory", "does_not_fit")
UNFINISHED = ("interrupted", "terminated", "out_of_budget", "disk_full", "cut_off")
"""Ends of a trial that say nothing of its way: it is made again."""

PRUNED = "pruned: "
"""What the outcome's reason of a pruned trial begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One way that was tried."""

    number: int
    """Of its folder, counted from 1 in the order in which trials were begun."""
    way: Way
    result: Result

    @property
    def state(self) -> State:
        """How it ended; `invalid`: its training was wrong, by the parity gate or a check."""
        outcome = self.result.outcome
        if outcome.status in OUT_OF_MEMORY:
            return "out_of_memory"
        if outcome.status != "finished" or self.result.standing == "failed":
            return "failed"
        if self.result.standing == "invalid":
            return "invalid"
        return "pruned" if outcome.reason.startswith(PRUNED) else "measured"

    @property
    def seconds(self) -> float | None:
        """Of a step; None where there is no figure that counts."""
        if self.state not in ("measured", "pruned"):
            return None
        return self.result.metrics["step_time_mean_seconds"].value

    @property
    def range_seconds(self) -> tuple[float, float] | None:
        """The ends of its interval; None without a figure, or where it has none."""
        figure = self.result.metrics["step_time_mean_seconds"]
        if self.seconds is None or figure.low is None or figure.high is None:
            return None
        return figure.low, figure.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All trials of a space so far, and why no more were made."""

    space: Space
    trials: Sequence[Trial]
    """In the order in which they were made."""
    ended: str
    """Why: every way is tried, or a limit, or a signal."""
    left_out: int = 0
    """Ways that were not tried, for one that needs no more memory ran out of it."""

    @property
    def best(self) -> Trial | None:
        """The fastest measured one, which at one rate is the cheapest too; None without any."""
        measured = [each for each in self.trials if each.state == "measured" and each.seconds]
        return min(measured, key=lambda each: each.seconds or 0.0, default=None)

    @property
    def ordered(self) -> list[Trial]:
        """Those with a figure, the fastest first, and then the others."""
        return sorted(
            self.trials,
            key=lambda each: (each.seconds is None, each.state == "pruned", each.seconds or 0.0),
        )

    @property
    def frontier(self) -> list[Trial]:
        """The measured trials than which none is surely faster and no dearer, or surely cheaper."""
        measured = [each for each in self.ordered if each.state == "measured"]
        return [
            each
            for each in measured
            if not any(is_dominated(each, other) for other in measured if other is not each)
        ]


def is_dominated(trial: Trial, by: Trial) -> bool:
    """Tell whether another trial is surely faster, or surely cheaper, and in neither worse.

    Surely: the intervals do not overlap. Of a figure without an interval nothing is sure.
    """
    axes = [(trial.range_seconds, by.range_seconds)]
    costs = [each.result.metrics["usd_per_million_tokens"] for each in (trial, by)]
    if all(cost.low is not None and cost.high is not None for cost in costs):
        mine, other = ((cost.low or 0.0, cost.high or 0.0) for cost in costs)
        axes.append((mine, other))
    known = [(mine, other) for mine, other in axes if mine is not None and other is not None]
    is_better = [other[1] < mine[0] for mine, other in known]
    is_worse = [mine[1] < other[0] for mine, other in known]
    return any(is_better) and not any(is_worse)


# --- the loop -------------------------------------------------------------------------------------

Measure = Callable[[Way, float | None], Trial | None]
"""Makes one trial, given the upper end of the best's seconds; None: it was not begun."""


def run_study(
    space: Space,
    measure: Measure,
    earlier: Iterable[Trial],
    *,
    most_trials: int,
    why_stop: Callable[[], str | None],
) -> Study:
    """Make trials until all ways are tried, `most_trials` are made, or `why_stop` says why.

    Args:
        space: the ways, in the planner's order.
        measure: makes one trial.
        earlier: trials of an earlier command in the same folder; they count.
        most_trials: of the whole study.
        why_stop: asked before each trial, and after one that did not end.
    """
    places = {way.plan.case_id: place for place, way in enumerate(space.ways)}
    search = Search(
        [{key: way.settings[key] for key in space.keys} for way in space.ways],
        [way.expected_seconds for way in space.ways],
    )
    trials = list(earlier)
    ended = None
    while ended is None:
        known = {places[each.way.plan.case_id]: each.seconds for each in trials}
        hopeless = frozenset(hopeless_places(space.ways, trials))
        place = search.next(known, hopeless)
        if place is None:
            ended = f"all {len(space.ways) - len(hopeless - known.keys())} ways are tried"
        elif len(trials) >= most_trials:
            ended = f"--trials {most_trials}: so many are made"
        elif (reason := why_stop()) is not None:
            ended = reason
        else:
            so_far = Study(space=space, trials=trials, ended="").best
            limit = so_far.range_seconds[1] if so_far and so_far.range_seconds else None
            trial = measure(space.ways[place], limit)
            if trial is None or trial.result.outcome.status in UNFINISHED:
                ended = why_stop()  # else its own limit ended it, which is an answer
            if trial is not None and ended is None:
                trials.append(trial)
            elif trial is None and ended is None:
                ended = "a trial could not be begun"
    return Study(
        space=space,
        trials=trials,
        ended=ended,
        left_out=len(hopeless - known.keys()),
    )


def hopeless_places(ways: Sequence[Way], trials: Sequence[Trial]) -> Iterable[int]:
    """Return the places of ways that need no less memory than one that ran out of it.

    They differ from it in the size of a pass and in recomputation alone, for the prediction of
    memory is of these.
    """
    failed = [each.way for each in trials if each.state == "out_of_memory"]
    for place, way in enumerate(ways):
        if any(
            way.needs_memory >= other.needs_memory > 0 and _rest(way) == _rest(other)
            for other in failed
        ):
            yield place


def _rest(way: Way) -> Mapping[str, str]:
    free = ("workload.micro_batch_size", RECOMPUTE)
    return {key: str(value) for key, value in way.settings.items() if key not in free}


def changes_work(space: Space) -> bool:
    """Tell whether the space has ways in several precisions, which are not the same work."""
    return PRECISION in space.keys
