"""What a metric is computed from, and the forms its answer takes."""

from dataclasses import dataclass

from trnbench.analysis.statistics import Interval
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue, ResultUtilization


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the derived metrics rest on; a stored result has all of it, so it can be re-costed."""

    tokens_per_second: MetricValue
    total_seconds: float
    instances_billed: int
    chips_billed: int | None
    """None where no accelerator is known."""
    joules_per_token: MetricValue
    """As it was metered, or why it was not."""
    utilization: ResultUtilization
    price: Price | None
    price_reason: str | None


def of_interval(interval: Interval) -> MetricValue:
    """Carry an estimate over; a low end at or below zero, as wild samples can have, is no bound."""
    low = interval.low if interval.low > 0 else None
    return MetricValue(value=interval.value, low=low, high=interval.high)


def exactly(value: float) -> MetricValue:
    """Return a figure that was counted, not estimated."""
    return MetricValue(value=value)


def unknown(reason: str) -> MetricValue:
    """Return no figure, and why."""
    return MetricValue(value=None, reason=reason)


def scaled(metric: MetricValue, factor: float) -> MetricValue:
    """Multiply a figure and its interval by an exact positive factor; an unknown stays unknown."""
    if metric.value is None:
        return metric
    return MetricValue(
        value=metric.value * factor,
        low=None if metric.low is None else metric.low * factor,
        high=None if metric.high is None else metric.high * factor,
    )


def reciprocal(metric: MetricValue, numerator: float) -> MetricValue:
    """Return numerator / metric; the interval's ends change places."""
    if metric.value is None:
        return metric
    return MetricValue(
        value=numerator / metric.value,
        low=None if metric.high is None else numerator / metric.high,
        high=None if metric.low is None else numerator / metric.low,
    )
