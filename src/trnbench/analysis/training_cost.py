"""What it costs to train so many tokens: the pure work, and all that is paid for around it.

Source: docs/metrics.md, "Cost to train". Failures come at random (Poisson) and a restart can fail
too; the exponential form is exact for that, and a first-order one is not good enough where failures
are frequent. The best checkpoint interval is Young's (Communications of the ACM 17, 1974).
"""

import math
from dataclasses import dataclass, field, replace

from trnbench.schema.units import SECONDS_PER_HOUR

SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR

PUBLISHED_FAILURES_PER_INSTANCE_DAY = 419 / (54 * 16_384 / 8)
"""Unplanned interruptions in Llama 3 405B's training: 419 in 54 days on 16,384 H100s, eight to a
machine. Source: arXiv 2407.21783, section 3.3.4 (read 2026-11). Nobody has published one for
Trainium."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How often the job is interrupted, and what that takes; planning values, to be set."""

    failures_per_instance_day: float = PUBLISHED_FAILURES_PER_INSTANCE_DAY
    restart_seconds: float = 900.0
    """To see it, replace what broke, start, load, and find the compiled programs again."""
    checkpoint_seconds: float = 60.0
    """For which training stands still at a checkpoint."""
    checkpoint_interval_seconds: float | None = None
    """None: Young's, the square root of 2 x checkpoint_seconds x mean time between failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Tokens to train, and what is paid for beside the training."""

    tokens: float
    reliability: Reliability = field(default_factory=Reliability)
    start_seconds: float = 0.0
    compile_seconds: float = 0.0
    """The first time, with no compiled program found."""
    evaluation_seconds: float = 0.0
    idle_seconds: float = 0.0
    """Paid for and not used: before the start, after the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCost:
    """What a job comes to; infinite where failures leave no time between them."""

    productive_seconds: float
    """All tokens at the measured speed."""
    total_seconds: float
    usd: float
    goodput: float
    """Productive part of the time in which it trains, checkpoints and restarts included (ETTR)."""
    utilisation: float
    """Productive part of all time that is paid for."""


@dataclass(frozen=True, slots=True)
class CostRange:
    """A job's cost at the speed that was measured, and at its best and its worst.

    Best: the upper end of the speed's interval and half the failures; worst: its lower end and
    twice the failures.
    """

    best: TrainingCost
    expected: TrainingCost
    worst: TrainingCost


def cost_to_train(
    job: TrainingJob, *, tokens_per_second: float, usd_per_hour: float, instances: int
) -> TrainingCost:
    """Work out one job.

    Args:
        job: what is trained, and what is around it.
        tokens_per_second: of the whole job.
        usd_per_hour: for one instance.
        instances: that are paid for.
    """
    productive = job.tokens / tokens_per_second
    running = seconds_with_failures(productive, job.reliability, instances)
    around = job.start_seconds + job.compile_seconds + job.evaluation_seconds + job.idle_seconds
    total = running + around
    return TrainingCost(
        productive_seconds=productive,
        total_seconds=total,
        usd=usd_per_hour * instances * total / SECONDS_PER_HOUR,
        goodput=productive / running,
        utilisation=productive / total,
    )


def range_to_train(
    job: TrainingJob,
    *,
    tokens_per_second: tuple[float, float, float],
    usd_per_hour: float,
    instances: int,
) -> CostRange:
    """Work out a job and how far it can be off.

    Args:
        job: what is trained, and what is around it.
        tokens_per_second: low end, value and high end.
        usd_per_hour: for one instance.
        instances: that are paid for.
    """

    def at(speed: float, failures: float) -> TrainingCost:
        rate = job.reliability.failures_per_instance_day * failures
        changed = replace(job, reliability=replace(job.reliability, failures_per_instance_day=rate))
        return cost_to_train(
            changed, tokens_per_second=speed, usd_per_hour=usd_per_hour, instances=instances
        )

    low, value, high = tokens_per_second
    return CostRange(best=at(high, 0.5), expected=at(value, 1.0), worst=at(low, 2.0))


def seconds_with_failures(productive: float, reliability: Reliability, instances: int) -> float:
    """Return how long so many seconds of work take, with checkpoints, failures and restarts.

    W / tau x (1 / lambda) x exp(lambda R) x (exp(lambda (tau + w)) - 1), which goes to
    W (1 + w / tau) where nothing fails.
    """
    per_second = reliability.failures_per_instance_day * instances / SECONDS_PER_DAY
    blocked = reliability.checkpoint_seconds
    interval = checkpoint_interval_seconds(reliability, instances)
    if per_second == 0:
        return productive if interval is None else productive * (1 + blocked / interval)
    if interval is None:
        raise ValueError("checkpoints without a length have no best interval: give one")
    try:
        lost = math.exp(per_second * reliability.restart_seconds)
        lost *= math.expm1(per_second * (interval + blocked)) / per_second
    except OverflowError:
        return math.inf
    return productive / interval * lost


def checkpoint_interval_seconds(reliability: Reliability, instances: int) -> float | None:
    """Return the interval between checkpoints: the one that is set, else Young's.

    None where nothing fails and none is set: then there is nothing to save for.
    """
    if reliability.checkpoint_interval_seconds is not None:
        return reliability.checkpoint_interval_seconds
    per_second = reliability.failures_per_instance_day * instances / SECONDS_PER_DAY
    if per_second == 0:
        return None
    return math.sqrt(2 * reliability.checkpoint_seconds / per_second) or None
