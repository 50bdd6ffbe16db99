"""How many tokens a second, and how long a step takes.

Source: docs/metrics.md, "Step time" and "Statistics".
"""

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import exactly, of_interval, reciprocal, unknown
from trnbench.analysis.summary import StepTimes
from trnbench.schema.result import MetricValue


def tokens_per_second(evidence: Evidence) -> MetricValue:
    """Tokens of a step over the arithmetic mean of the step's time: what a rented hour yields."""
    return reciprocal(step_time_mean_seconds(evidence), evidence.plan.workload.tokens_per_step)


def tokens_per_second_per_device(evidence: Evidence) -> MetricValue:
    """The same, divided by the devices that the job drove."""
    tokens = evidence.plan.workload.tokens_per_step / evidence.plan.parallel.world_size
    return reciprocal(step_time_mean_seconds(evidence), tokens)


def step_time_mean_seconds(evidence: Evidence) -> MetricValue:
    """Arithmetic mean over the steady samples, stalls included, because they are paid for."""
    times = evidence.summary.step_times
    return of_interval(times.mean) if times else unknown(_why_none(evidence))


def step_time_median_seconds(evidence: Evidence) -> MetricValue:
    """The typical step."""
    times = evidence.summary.step_times
    return of_interval(times.median) if times else unknown(_why_none(evidence))


def step_time_p95_seconds(evidence: Evidence) -> MetricValue:
    """One step in twenty takes longer; no interval is claimed for it."""
    times = evidence.summary.step_times
    return exactly(times.p95_seconds) if times else unknown(_why_none(evidence))


def tail_overhead(evidence: Evidence) -> MetricValue:
    """Mean over median, less one: what the slow steps add to the bill."""
    times = evidence.summary.step_times
    return exactly(_tail_overhead(times)) if times else unknown(_why_none(evidence))


def stall_share(evidence: Evidence) -> MetricValue:
    """Time lost to stalls as a part of all time."""
    times = evidence.summary.step_times
    return exactly(times.stalls.share) if times else unknown(_why_none(evidence))


def _tail_overhead(times: StepTimes) -> float:
    return times.mean.value / times.median.value - 1


def _why_none(evidence: Evidence) -> str:
    taken = len(evidence.summary.samples)
    if evidence.outcome.status == "finished":
        return f"{taken} timed samples are too few for an interval"
    return evidence.outcome.reason
