"""What can be compared of two launches: one line a metric, in the order of reports."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trnbench.compare.launches import Launch
from trnbench.compare.ratio import Sample
from trnbench.schema.comparison import Direction
from trnbench.schema.result import CompileCache, MetricValue

Unit = Literal["tokens_per_second", "seconds", "bytes", "ratio", "usd", "tokens_per_usd", "tokens"]

TARGET_WINDOW_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One figure of one launch, or why there is none."""

    value: float | None = None
    error: float | None = None
    """Relative standard error inside the launch; None where nothing is known of it."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparable:
    """A metric, and how one launch's figure is read.

    Metrics that are the same figure in other units (a throughput, a mean step time, a cost at a
    constant price) share a `statistic`, so that comparing all of them is one comparison.
    """

    name: str
    label: str
    """In tables."""
    better: Direction
    unit: Unit
    statistic: str
    computed: Callable[[Launch, float], Reading] | None = None
    """From a launch and the target's excess loss in nats; None: the result has it by this name."""
    is_default: bool = True
    needs_price: bool = False
    needs_seeds: bool = False
    """Whether it depends on the seed, so that launches of one seed say nothing of its spread."""

    def read(self, launch: Launch, target: float) -> Reading:
        """Read it of one launch; `target` is an excess loss in nats."""
        if self.computed is not None:
            return self.computed(launch, target)
        return _of_result(launch, self.name)

    def sample(self, launches: Sequence[Launch], target: float) -> Sample | str:
        """Read it of every launch."""
        return sample_of([self.read(launch, target) for launch in launches])


def sample_of(readings: Sequence[Reading]) -> Sample | str:
    """Return the sample of these launches' readings; where one has no value there is none."""
    lacking = next((reading for reading in readings if reading.value is None), None)
    if lacking is not None:
        return lacking.reason or "it has no figure"
    return Sample(
        values=tuple(reading.value for reading in readings if reading.value is not None),
        errors=tuple(reading.error for reading in readings),
    )


def _of_result(launch: Launch, name: str) -> Reading:
    metric = launch.result.metrics.get(name)
    if metric is None:
        return Reading(reason="the version that wrote this result had no such metric")
    return _reading(metric)


def _reading(metric: MetricValue) -> Reading:
    """Only a finite figure above zero has a ratio."""
    if metric.value is None:
        return Reading(reason=metric.reason or "it has no figure")
    if not (math.isfinite(metric.value) and metric.value > 0):
        return Reading(reason=f"{metric.value:g} has no ratio to anything")
    return Reading(value=metric.value, error=metric.relative_error)


def _compile_seconds(launch: Launch, _target: float) -> Reading:
    """Read it of cold launches alone: a launch that found some of its programs took less."""
    compilation = launch.result.compilation
    if compilation is None:
        return Reading(reason="its version did not report what was compiled")
    if compilation.cache == "cold":
        return _of_result(launch, "compile_seconds")
    return Reading(reason=_NOT_COLD[compilation.cache])


_NOT_COLD: Mapping[CompileCache, str] = {
    "none": "nothing was compiled",
    "cached": "its programs were found compiled, and cold and cached are not compared",
    "mixed": "some of its programs were found compiled, and cold and cached are not compared",
    "failed": "the compiler gave up",
    "unknown": "this device's software does not report what was compiled",
}


def _first_step_seconds(launch: Launch, _target: float) -> Reading:
    seconds = launch.result.timing.first_step_seconds
    reason = None if seconds else "the first step was not timed alone"
    return _reading(MetricValue(value=seconds or None, reason=reason))


def steps_to_target(launch: Launch, target: float) -> Reading:
    """Return the steps after which the excess loss, over a window of five, is down to `target`.

    Between two steps it is interpolated: else a case that takes thirty of them is known to three
    percent at best.
    """
    if not launch.excess_losses:
        return Reading(reason="its raw records, with the losses, were not kept")
    before: float | None = None
    window = TARGET_WINDOW_STEPS
    for end in range(window, len(launch.excess_losses) + 1):
        recent = [loss for loss in launch.excess_losses[end - window : end] if loss is not None]
        if len(recent) < window:
            return Reading(reason="a loss on the way was no number")
        mean = math.fsum(recent) / window
        if mean <= target:
            past = 0.0 if before is None else (before - target) / (before - mean)
            return Reading(value=end if before is None else end - 1 + past)
        before = mean
    steps = len(launch.excess_losses)
    return Reading(
        reason=f"in {steps} steps its loss did not come within {target:g} nat of the best possible"
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
    cost = _of_result(launch, "usd_per_million_tokens")
    if cost.value is None:
        return cost
    return Reading(value=tokens.value * cost.value / 1e6)


COMPARABLES: Mapping[str, Comparable] = {
    comparable.name: comparable
    for comparable in (
        Comparable(
            name="tokens_per_second", label="tokens/s", better="higher", unit="tokens_per_second",
            statistic="mean_time",
        ),
        Comparable(
            name="tokens_per_second_per_device", label="tokens/s/device", better="higher",
            unit="tokens_per_second", statistic="mean_time_per_device", is_default=False,
        ),
        Comparable(
            name="tokens_per_second_per_chip", label="tokens/s/chip", better="higher",
            unit="tokens_per_second", statistic="mean_time_per_chip", is_default=False,
        ),
        Comparable(
            name="tokens_per_second_per_instance", label="tokens/s/instance", better="higher",
            unit="tokens_per_second", statistic="mean_time_per_instance", is_default=False,
        ),
        Comparable(
            name="step_time_mean_seconds", label="mean step", better="lower", unit="seconds",
            statistic="mean_time", is_default=False,
        ),
        Comparable(
            name="step_time_median_seconds", label="median step", better="lower", unit="seconds",
            statistic="median_time",
        ),
        Comparable(
            name="mfu", label="MFU", better="higher", unit="ratio", statistic="mfu",
            is_default=False,
        ),
        Comparable(
            name="mfu_used_devices", label="MFU of used", better="higher", unit="ratio",
            statistic="mfu_used", is_default=False,
        ),
        Comparable(
            name="peak_memory_bytes", label="peak memory", better="lower", unit="bytes",
            statistic="memory",
        ),
        Comparable(
            name="compile_seconds", label="compile time", better="lower", unit="seconds",
            statistic="compiling", computed=_compile_seconds,
        ),
        Comparable(
            name="first_step_seconds", label="first step", better="lower", unit="seconds",
            statistic="first_step", computed=_first_step_seconds, is_default=False,
        ),
        Comparable(
            name="usd_per_million_tokens", label="$ per M tokens", better="lower", unit="usd",
            statistic="mean_time", needs_price=True,
        ),
        Comparable(
            name="tokens_per_usd", label="tokens per $", better="higher", unit="tokens_per_usd",
            statistic="mean_time", needs_price=True, is_default=False,
        ),
        Comparable(
            name="tokens_to_target_loss", label="tokens to loss", better="lower", unit="tokens",
            statistic="learning", computed=_tokens_to_target, needs_seeds=True, is_default=False,
        ),
        Comparable(
            name="usd_to_target_loss", label="$ to loss", better="lower", unit="usd",
            statistic="learning_cost", computed=_usd_to_target, needs_price=True, needs_seeds=True,
        ),
    )
}  # fmt: skip
