"""What can be compared of two launches: one line a metric, in the order of reports.

A comparable reads one figure of one launch. Metrics that are the same figure in other units (a
throughput, a mean step time, a cost at a constant price) share a `statistic`, so that comparing
all of them counts as one comparison.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from trnbench.compare.launches import Launch
from trnbench.schema.result import CompileCache, MetricValue

Unit = Literal["tokens_per_second", "seconds", "bytes", "ratio", "usd", "tokens_per_usd", "tokens"]

TARGET_WINDOW_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One figure of one launch, or why there is none."""

    value: float | None
    error: float | None = None
    """Relative standard error inside the launch; None where nothing is known of it."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparable:
    """A metric that can be compared."""

    name: str
    better: Literal["higher", "lower"]
    unit: Unit
    statistic: str
    read: Callable[[Launch, float], Reading]
    """Given a launch and the target's excess loss in nats."""
    is_default: bool = True
    needs_price: bool = False
    needs_seeds: bool = False
    """Whether it hangs on the seed, so that launches of one seed say nothing of its spread."""


def _of_result(name: str) -> Callable[[Launch, float], Reading]:
    def read(launch: Launch, _target: float) -> Reading:
        metric = launch.result.metrics.get(name)
        if metric is None:
            return Reading(value=None, reason="the version that wrote this result had no such one")
        return _reading(metric)

    return read


def _reading(metric: MetricValue) -> Reading:
    """Carry a metric over; only a finite figure above zero has a ratio."""
    if metric.value is None:
        return Reading(value=None, reason=metric.reason or "it has no figure")
    if not (math.isfinite(metric.value) and metric.value > 0):
        return Reading(value=None, reason=f"{metric.value:g} has no ratio to anything")
    return Reading(value=metric.value, error=metric.relative_error)


def _compile_seconds(launch: Launch, target: float) -> Reading:
    """Read what compiling took where nothing was found compiled.

    A launch that found some of its programs has spent another time than it would with an empty
    cache: the two are never held against each other.
    """
    told = launch.result.compilation
    if told is None:
        return Reading(value=None, reason="its version did not tell what was compiled")
    if told.cache == "cold":
        return _of_result("compile_seconds")(launch, target)
    return Reading(value=None, reason=_NOT_COLD[told.cache])


_NOT_COLD: Mapping[CompileCache, str] = {
    "none": "nothing was compiled",
    "cached": "its programs were found compiled, and cold and cached are not compared",
    "mixed": "some of its programs were found compiled, and cold and cached are not compared",
    "failed": "the compiler gave up",
    "unknown": "this device's software does not tell what was compiled",
}


def _first_step_seconds(launch: Launch, _target: float) -> Reading:
    seconds = launch.result.timing.first_step_seconds
    reason = None if seconds else "the first step was not timed alone"
    return _reading(MetricValue(value=seconds or None, reason=reason))


def steps_to_target(launch: Launch, target: float) -> Reading:
    """Return the steps after which the excess loss, over a window of five, is down to `target`.

    Between two steps it is interpolated: a case that takes thirty of them would else be known to
    three percent at best.
    """
    if not launch.excess_losses:
        return Reading(value=None, reason="its raw records, with the losses, were not kept")
    before: float | None = None
    window = TARGET_WINDOW_STEPS
    for end in range(window, len(launch.excess_losses) + 1):
        recent = [loss for loss in launch.excess_losses[end - window : end] if loss is not None]
        if len(recent) < window:
            return Reading(value=None, reason="a loss on the way was no number")
        mean = math.fsum(recent) / window
        if mean <= target:
            past = 0.0 if before is None else (before - target) / (before - mean)
            return Reading(value=end if before is None else end - 1 + past)
        before = mean
    steps = len(launch.excess_losses)
    return Reading(
        value=None,
        reason=f"in {steps} steps its loss never came within {target:g} nat of the best possible",
    )


def _tokens_to_target(launch: Launch, target: float) -> Reading:
    steps = steps_to_target(launch, target)
    if steps.value is None:
        return steps
    return Reading(value=steps.value * launch.result.workload.tokens_per_step)


def _usd_to_target(launch: Launch, target: float) -> Reading:
    tokens = _tokens_to_target(launch, target)
    if tokens.value is None:
        return tokens
    cost = _of_result("usd_per_million_tokens")(launch, target)
    if cost.value is None:
        return cost
    return Reading(value=tokens.value * cost.value / 1e6)


COMPARABLES: Mapping[str, Comparable] = {
    comparable.name: comparable
    for comparable in (
        Comparable(
            name="tokens_per_second", better="higher", unit="tokens_per_second",
            statistic="mean_time", read=_of_result("tokens_per_second"),
        ),
        Comparable(
            name="tokens_per_second_per_device", better="higher", unit="tokens_per_second",
            statistic="mean_time_per_device", is_default=False,
            read=_of_result("tokens_per_second_per_device"),
        ),
        Comparable(
            name="step_time_mean_seconds", better="lower", unit="seconds",
            statistic="mean_time", read=_of_result("step_time_mean_seconds"), is_default=False,
        ),
        Comparable(
            name="step_time_median_seconds", better="lower", unit="seconds",
            statistic="median_time", read=_of_result("step_time_median_seconds"),
        ),
        Comparable(
            name="mfu", better="higher", unit="ratio", statistic="mfu", is_default=False,
            read=_of_result("mfu"),
        ),
        Comparable(
            name="peak_memory_bytes", better="lower", unit="bytes", statistic="memory",
            read=_of_result("peak_memory_bytes"),
        ),
        Comparable(
            name="compile_seconds", better="lower", unit="seconds", statistic="compiling",
            read=_compile_seconds,
        ),
        Comparable(
            name="first_step_seconds", better="lower", unit="seconds", statistic="first_step",
            read=_first_step_seconds, is_default=False,
        ),
        Comparable(
            name="usd_per_million_tokens", better="lower", unit="usd", statistic="mean_time",
            read=_of_result("usd_per_million_tokens"), needs_price=True,
        ),
        Comparable(
            name="tokens_per_usd", better="higher", unit="tokens_per_usd", statistic="mean_time",
            read=_of_result("tokens_per_usd"), needs_price=True, is_default=False,
        ),
        Comparable(
            name="tokens_to_target_loss", better="lower", unit="tokens", statistic="learning",
            read=_tokens_to_target, needs_seeds=True, is_default=False,
        ),
        Comparable(
            name="usd_to_target_loss", better="lower", unit="usd", statistic="learning_cost",
            read=_usd_to_target, needs_price=True, needs_seeds=True,
        ),
    )
}  # fmt: skip
"""Every metric that can be compared, in the order of reports."""
