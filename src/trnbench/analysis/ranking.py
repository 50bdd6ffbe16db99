"""Which is best, by one metric, under one constraint: only like work stands in one ranking.

A candidate that cannot be ranked is told with its reason. Nothing is scaled to more machines than
were run, unless the user says with which efficiency.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trnbench.analysis.break_even import Between, even_price
from trnbench.analysis.candidates import Candidate
from trnbench.analysis.training_cost import TrainingCost, TrainingJob, cost_to_train
from trnbench.catalog.published import is_same_model
from trnbench.schema.result import MetricValue

HIGHER_IS_BETTER = frozenset(
    {
        "tokens_per_second", "tokens_per_second_per_device", "tokens_per_second_per_chip",
        "tokens_per_usd", "mfu", "mfu_full",
    }
)  # fmt: skip
"""Of every other metric the lowest is best."""

TO_TRAIN = ("train_usd", "train_seconds")
"""Metrics of a job that is named by its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A job, and what it may take."""

    job: TrainingJob
    deadline_seconds: float | None = None
    budget_usd: float | None = None
    scaling_efficiency: float | None = None
    """Speed of n machines over n times that of those that were run; None: only those count."""
    max_copies: int = 10_000
    """Times the machines that were run."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A job on so many times the machines that were run."""

    copies: int
    cost: TrainingCost


RunOn = Callable[[int], Trained]
"""What a job comes to on so many times the machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A candidate's place."""

    place: int
    candidate: Candidate
    value: MetricValue
    trained: Trained | None
    is_pareto: bool
    """Whether no other is both cheaper and faster."""
    break_even_usd_per_hour: float | None
    """Of one instance: the price at which it would cost what the first does; of the first, what
    the second does."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates of one kind of work, best first, and those that could not be ranked."""

    work: str
    rows: tuple[Row, ...]
    left_out: tuple[tuple[Candidate, str], ...]


def rank(
    candidates: Sequence[Candidate], metric: str, constraint: Constraint | None = None
) -> list[Ranking]:
    """Rank candidates, each kind of work for itself.

    Args:
        candidates: in any order.
        metric: by which.
        constraint: what a job may take; needed for the metrics in `TO_TRAIN`.
    """
    return [_rank_alike(alike, metric, constraint) for alike in _by_work(candidates)]


def _by_work(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Group what trains one model, at one length, all of it or an adapter."""
    groups: list[list[Candidate]] = []
    for candidate in candidates:
        for group in groups:
            if _is_like(candidate, group[0]):
                group.append(candidate)
                break
        else:
            groups.append([candidate])
    return groups


def _is_like(one: Candidate, other: Candidate) -> bool:
    return (
        is_same_model(one.model, other.model)
        and one.sequence_length == other.sequence_length
        and one.is_adapter_training == other.is_adapter_training
    )


def say_work(candidate: Candidate) -> str:
    """Name the work in words."""
    length = candidate.sequence_length
    what = f"{candidate.model}, {length or 'unknown'} tokens a sequence"
    return f"{what}, low-rank adapter" if candidate.is_adapter_training else what


def _rank_alike(
    candidates: Sequence[Candidate], metric: str, constraint: Constraint | None
) -> Ranking:
    known: list[tuple[Candidate, MetricValue, Trained | None]] = []
    left_out: list[tuple[Candidate, str]] = []
    for candidate in candidates:
        trained = _train(candidate, constraint) if constraint else None
        reason = candidate.objection or (trained if isinstance(trained, str) else None)
        if reason is None and not isinstance(trained, str):
            value = _value(candidate, metric, trained)
            if value.value is not None:
                known.append((candidate, value, trained))
                continue
            reason = value.reason
        left_out.append((candidate, reason or f"it has no {metric}"))
    sign = -1 if metric in HIGHER_IS_BETTER else 1
    known.sort(key=lambda found: sign * (found[1].value or 0.0))
    points = [_point(candidate, trained) for candidate, _, trained in known]
    rows = tuple(
        Row(
            place=place,
            candidate=candidate,
            value=value,
            trained=trained,
            is_pareto=_is_pareto(points[place - 1], points),
            break_even_usd_per_hour=_break_even(known, place - 1),
        )
        for place, (candidate, value, trained) in enumerate(known, start=1)
    )
    return Ranking(say_work(candidates[0]), rows, tuple(left_out))


def _value(candidate: Candidate, metric: str, trained: Trained | None) -> MetricValue:
    if metric in TO_TRAIN and trained is not None:
        cost = trained.cost
        return MetricValue(value=cost.usd if metric == "train_usd" else cost.total_seconds)
    absent = MetricValue(value=None, reason=f"it has no {metric}")
    return candidate.metrics.get(metric, absent)


# --- a job under constraints ----------------------------------------------------------------------


def _train(candidate: Candidate, constraint: Constraint) -> Trained | str:
    """Return the job on the fewest machines that keep the constraint, or why none do.

    Without a deadline but with a budget it is the most machines that the budget pays for, since
    then the fastest is looked for.
    """
    speed = candidate.metrics["tokens_per_second"].value
    if speed is None:
        return candidate.metrics["tokens_per_second"].reason or "no speed is known"
    if candidate.price is None:
        return candidate.price_reason or "no price is known"

    def on(copies: int) -> Trained:
        gain = (constraint.scaling_efficiency or 1.0) if copies > 1 else 1.0
        cost = cost_to_train(
            constraint.job,
            tokens_per_second=speed * copies * gain,
            usd_per_hour=float(candidate.price.usd_per_hour) if candidate.price else 0.0,
            instances=candidate.instances * copies,
        )
        return Trained(copies, cost)

    most = 1 if constraint.scaling_efficiency is None else constraint.max_copies
    if constraint.deadline_seconds is None and constraint.budget_usd is not None:
        chosen = _most_within(on, most, constraint.budget_usd)
    else:
        chosen = _fewest_within(on, most, constraint.deadline_seconds)
    return _judged(chosen, constraint, most)


def _judged(chosen: Trained, constraint: Constraint, most: int) -> Trained | str:
    cost = chosen.cost
    if not math.isfinite(cost.usd):
        return "failures leave it no time to get from one checkpoint to the next"
    if constraint.deadline_seconds is not None and cost.total_seconds > constraint.deadline_seconds:
        days = cost.total_seconds / 86_400
        hint = "" if most > 1 else "; `--scaling-efficiency` lets it be run on more"
        what = "as it was run" if most == 1 else f"on {chosen.copies} times the machines"
        return f"it takes {days:,.1f} days {what}{hint}"
    if constraint.budget_usd is not None and cost.usd > constraint.budget_usd:
        return f"it costs ${cost.usd:,.0f}"
    return chosen


def _fewest_within(on: RunOn, most: int, deadline_seconds: float | None) -> Trained:
    """Return the fewest copies that end in time; where none do, those that come nearest."""
    one = on(1)
    if deadline_seconds is None or one.cost.total_seconds <= deadline_seconds or most == 1:
        return one
    low, enough = 1, on(most)
    if enough.cost.total_seconds > deadline_seconds:
        # More machines fail more often: somewhere between, the job may still end in time.
        enough = min(map(on, _ladder(most)), key=lambda found: found.cost.total_seconds)
    if enough.cost.total_seconds > deadline_seconds:
        return enough
    while enough.copies - low > 1:
        middle = on((low + enough.copies) // 2)
        if middle.cost.total_seconds <= deadline_seconds:
            enough = middle
        else:
            low = middle.copies
    return enough


def _most_within(on: RunOn, most: int, budget_usd: float) -> Trained:
    """Return the fastest number of copies that the budget pays for; else one."""
    affordable = [found for found in map(on, _ladder(most)) if found.cost.usd <= budget_usd]
    return min(affordable, key=lambda found: found.cost.total_seconds, default=on(1))


def _ladder(most: int) -> list[int]:
    """Return numbers from 1 to the most, ten to a doubling."""
    steps = {round(2 ** (n / 10)) for n in range(math.ceil(10 * math.log2(most)) + 1)}
    return sorted({step for step in steps if step <= most} | {1, most})


# --- what stands beside a place -------------------------------------------------------------------


def _point(candidate: Candidate, trained: Trained | None) -> tuple[float, float] | None:
    """Return cost and time, of the job or of a token."""
    if trained is not None:
        return trained.cost.usd, trained.cost.total_seconds
    usd = candidate.metrics["usd_per_million_tokens"].value
    speed = candidate.metrics["tokens_per_second"].value
    return None if usd is None or speed is None else (usd, 1 / speed)


def _is_pareto(
    point: tuple[float, float] | None, points: Sequence[tuple[float, float] | None]
) -> bool:
    if point is None:
        return False
    return not any(
        other is not None
        and other[0] <= point[0]
        and other[1] <= point[1]
        and (other[0] < point[0] or other[1] < point[1])
        for other in points
    )


def _break_even(
    known: Sequence[tuple[Candidate, MetricValue, Trained | None]], place: int
) -> float | None:
    """Return an instance's price at which the candidate costs what the first, or second, does."""
    if len(known) < 2:
        return None
    candidate, other = known[place][0], known[1 if place == 0 else 0][0]
    speeds = [each.metrics["tokens_per_second"].value for each in (candidate, other)]
    if speeds[0] is None or speeds[1] is None:
        return None
    if candidate.usd_per_hour is None or other.usd_per_hour is None:
        return None
    speed = Between(speeds[0] / speeds[1])
    return even_price(other.usd_per_hour, speed).value / candidate.instances
