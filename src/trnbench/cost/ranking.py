"""Which run is best, measured or published, by one metric, under one constraint.

Only like work is in one ranking, and runs that leave billed devices idle have one of their own. A
run that cannot be ranked is listed with its reason. Nothing is scaled to more machines than were
run, unless the user says with which efficiency.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trnbench.analysis.metrics import exactly, unknown
from trnbench.catalog.published import is_same_model
from trnbench.cost.ranked_runs import RankedRun
from trnbench.cost.training import TrainingCost, TrainingJob, cost_to_train
from trnbench.schema.result import MetricValue
from trnbench.units import SECONDS_PER_DAY

HIGHER_IS_BETTER = frozenset({
    "tokens_per_second", "tokens_per_second_per_device", "tokens_per_second_per_chip",
    "tokens_per_second_per_instance", "tokens_per_usd", "mfu", "mfu_full", "mfu_used_devices",
    "mfu_bf16_equivalent", "hfu", "ceiling_utilization",
})  # fmt: skip
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
    """A job on a multiple of the machines that were run."""

    copies: int
    cost: TrainingCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A run's place."""

    place: int
    run: RankedRun
    value: MetricValue
    trained: Trained | None
    is_pareto: bool
    """Whether no other run is both cheaper and faster."""
    break_even_usd_per_hour: float | None
    """Of one instance: the price at which a token costs what it does on the first; of the first,
    on the second."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Runs of one work, best first, and those that could not be ranked, with the reason."""

    work: str
    rows: tuple[Row, ...]
    left_out: tuple[tuple[RankedRun, str], ...]


def rank(
    runs: Sequence[RankedRun], metric: str, constraint: Constraint | None = None
) -> list[Ranking]:
    """Rank runs, each kind of work for itself; the metrics in `TO_TRAIN` need a constraint."""
    return [rank_alike(alike, metric, constraint) for alike in _by_work(runs)]


def _by_work(runs: Sequence[RankedRun]) -> list[list[RankedRun]]:
    """Group what trains one model, at one length, all of it or an adapter, on whole machines."""
    groups: list[list[RankedRun]] = []
    for run in runs:
        for group in groups:
            other = group[0]
            if (
                is_same_model(run.model, other.model)
                and run.sequence_length == other.sequence_length
                and run.is_adapter_training == other.is_adapter_training
                and (run.idle is None) == (other.idle is None)
            ):
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def rank_alike(
    runs: Sequence[RankedRun],
    metric: str,
    constraint: Constraint | None = None,
    work: str | None = None,
) -> Ranking:
    """Rank runs as of one work, which is named after the first of them unless it has a name."""
    known: list[tuple[RankedRun, MetricValue, Trained | None]] = []
    left_out: list[tuple[RankedRun, str]] = []
    for run in runs:
        trained = _train(run, constraint) if constraint else None
        reason = run.objection or (trained if isinstance(trained, str) else None)
        if reason is None and not isinstance(trained, str):
            value = _value(run, metric, trained)
            if value.value is not None:
                known.append((run, value, trained))
                continue
            reason = value.reason
        left_out.append((run, reason or f"it has no {metric}"))
    sign = -1 if metric in HIGHER_IS_BETTER else 1
    known.sort(key=lambda found: sign * (found[1].value or 0.0))
    points = [_point(run, trained) for run, _, trained in known]
    rows = tuple(
        Row(
            place=at + 1,
            run=run,
            value=value,
            trained=trained,
            is_pareto=_is_pareto(points[at], points),
            break_even_usd_per_hour=_break_even([run for run, _, _ in known], at),
        )
        for at, (run, value, trained) in enumerate(known)
    )
    return Ranking(work or _work_of(runs[0]), rows, tuple(left_out))


def _work_of(run: RankedRun) -> str:
    work = f"{run.model}, {run.sequence_length or 'unknown'} tokens a sequence"
    if run.is_adapter_training:
        work += ", low-rank adapter"
    if run.idle is not None:
        work += ", on a part of the machine that is paid for"
    return work


def _value(run: RankedRun, metric: str, trained: Trained | None) -> MetricValue:
    if metric in TO_TRAIN and trained is not None:
        return exactly(trained.cost.usd if metric == "train_usd" else trained.cost.total_seconds)
    return run.metrics.get(metric, unknown(f"it has no {metric}"))


def _train(run: RankedRun, constraint: Constraint) -> Trained | str:
    """Return the job on the fewest machines that keep the constraint, or why none do.

    With a budget and no deadline the fastest is wanted: the most machines that the budget pays for.
    """
    speed = run.metrics["tokens_per_second"].value
    if speed is None:
        return run.metrics["tokens_per_second"].reason or "no speed is known"
    if run.price is None:
        return run.price_reason or "no price is known"
    usd_per_hour = float(run.price.usd_per_hour)

    def on(copies: int) -> Trained:
        gain = (constraint.scaling_efficiency or 1.0) if copies > 1 else 1.0
        cost = cost_to_train(
            constraint.job,
            tokens_per_second=speed * copies * gain,
            usd_per_hour=usd_per_hour,
            instances=run.instances * copies,
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
        days = cost.total_seconds / SECONDS_PER_DAY
        hint = "" if most > 1 else "; `--scaling-efficiency` lets it be run on more"
        what = "as it was run" if most == 1 else f"on {chosen.copies} times the machines"
        return f"it takes {days:,.1f} days {what}{hint}"
    if constraint.budget_usd is not None and cost.usd > constraint.budget_usd:
        return f"it costs ${cost.usd:,.0f}"
    return chosen


def _fewest_within(
    on: Callable[[int], Trained], most: int, deadline_seconds: float | None
) -> Trained:
    """Return the fewest copies that end in time; where none do, the fastest."""
    one = on(1)
    if deadline_seconds is None or one.cost.total_seconds <= deadline_seconds or most == 1:
        return one
    low, enough = 1, on(most)
    if enough.cost.total_seconds > deadline_seconds:
        # More machines fail more often: with fewer of them the job may still end in time.
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


def _most_within(on: Callable[[int], Trained], most: int, budget_usd: float) -> Trained:
    """Return the fastest number of copies that the budget pays for; else one."""
    affordable = [found for found in map(on, _ladder(most)) if found.cost.usd <= budget_usd]
    return min(affordable, key=lambda found: found.cost.total_seconds, default=on(1))


def _ladder(most: int) -> list[int]:
    """Return numbers from 1 to the most, ten to a doubling."""
    steps = {round(2 ** (n / 10)) for n in range(math.ceil(10 * math.log2(most)) + 1)}
    return sorted({step for step in steps if step <= most} | {1, most})


def _point(run: RankedRun, trained: Trained | None) -> tuple[float, float] | None:
    """Return cost and time, of the job or of a token."""
    if trained is not None:
        return trained.cost.usd, trained.cost.total_seconds
    usd = run.metrics["usd_per_million_tokens"].value
    speed = run.metrics["tokens_per_second"].value
    return None if usd is None or speed is None else (usd, 1 / speed)


def _is_pareto(
    point: tuple[float, float] | None, points: Sequence[tuple[float, float] | None]
) -> bool:
    known = [other for other in points if other is not None and other != point]
    return point is not None and not any(
        other[0] <= point[0] and other[1] <= point[1] for other in known
    )


def _break_even(runs: Sequence[RankedRun], at: int) -> float | None:
    """Return a run's `Row.break_even_usd_per_hour`. Source: docs/metrics.md, "Two offers"."""
    if len(runs) < 2:
        return None
    run, other = runs[at], runs[1 if at == 0 else 0]
    speeds = [each.metrics["tokens_per_second"].value for each in (run, other)]
    if speeds[0] is None or speeds[1] is None:
        return None
    if run.usd_per_hour is None or other.usd_per_hour is None:
        return None
    return speeds[0] / speeds[1] * other.usd_per_hour / run.instances
