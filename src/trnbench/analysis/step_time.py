"""From a case's timed blocks to its step time, its interval, and what is unusual in it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trnbench.analysis.records import Loss
from trnbench.analysis.statistics import (
    LOOKING_INFLATION,
    Interval,
    Samples,
    Stalls,
    find_stalls,
    is_tail_dominated,
    mean_interval,
    median_interval,
    percentile,
    single_launch_interval,
)
from trnbench.analysis.steady_state import SteadyState, find_steady_state
from trnbench.protocol.records import Block

MIN_SAMPLES = 3
"""Fewer samples than this have no interval, and a figure without one is not given."""

LEAST_SHARE = 0.1
"""Of the samples, at either of two levels: fewer are stalls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bimodality:
    """How a series' samples divide in two."""

    separation: float
    """Part of the variance of the logarithm that lies between the groups: 2/π = 0.64 of a normal
    distribution, 0.75 of a uniform one, 0.81 of a sine, near 1 where there are two levels."""
    gap: float
    """How much slower the upper group's median is, relative."""
    upper_share: float
    """Part of the samples in the upper group."""
    switches: int
    """How often a sample is not in the group of the one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Seconds of one optimizer step over the steady samples."""

    mean: Interval
    """What is paid for; its interval allows for how launches differ, as the median's does."""
    median: Interval
    relative_half_width: float
    """The wider of the two within this launch, by which the stopping rule decides."""
    stalls: Stalls
    is_tail_dominated: bool
    p95_seconds: float
    standard_error: float
    """Relative, of the mean, by these samples alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One case's timed blocks, summarized."""

    samples: tuple[float, ...]
    """Mean step time of every timed sample, in order, seconds."""
    steps_per_sample: int
    steady: SteadyState | None
    """None with fewer than `MIN_SAMPLES`."""
    step_times: StepTimes | None
    """Of the samples that count; None where they are too few for an interval."""
    bimodality: Bimodality | None
    """Of the samples that count, or of all where they are not steady; None where all are equal."""
    warmup_steps: int
    """Steps before the first sample that counts, planned or found."""
    measured_steps: int
    """Steps in the samples that count."""
    timed_seconds: float
    """Inside the timed blocks that measure."""
    spanned_seconds: float
    """From the start of the first such block to the end of the last, all work included."""
    first_step_seconds: float | None


def summarize(blocks: Sequence[Block]) -> Summary:
    """Summarize the blocks of one case, in the order in which they were run."""
    measured = [block for block in blocks if block.purpose == "measure"]
    samples = tuple(block.seconds / block.steps for block in measured)
    steady = find_steady_state(samples) if len(samples) >= MIN_SAMPLES else None
    start = steady.start if steady else 0
    is_steady = steady is not None and steady.verdict == "steady"
    forced = sum(block.steps for block in blocks if block.purpose == "warmup")
    found = sum(block.steps for block in measured[:start])
    return Summary(
        samples=samples,
        steps_per_sample=measured[0].steps if measured else 0,
        steady=steady,
        step_times=_step_times(samples[start:]),
        bimodality=find_bimodality(samples[start:] if is_steady else samples),
        warmup_steps=forced + found,
        measured_steps=sum(block.steps for block in measured[start:]),
        timed_seconds=sum(block.seconds for block in measured),
        spanned_seconds=_spanned_seconds(measured),
        first_step_seconds=_first_step_seconds(blocks),
    )


def losses_by_step(blocks: Iterable[Block]) -> list[Loss]:
    """Return each step's loss with that of a model that knows the stream."""
    return [
        pair for block in blocks for pair in zip(block.losses, block.oracle_losses, strict=True)
    ]


def _step_times(samples: Sequence[float]) -> StepTimes | None:
    if len(samples) < MIN_SAMPLES:
        return None
    mean, median = mean_interval(samples), median_interval(samples)
    half_width = LOOKING_INFLATION * max(mean.relative_half_width, median.relative_half_width)
    return StepTimes(
        mean=single_launch_interval(mean.widened(LOOKING_INFLATION)),
        median=single_launch_interval(median.widened(LOOKING_INFLATION)),
        relative_half_width=half_width,
        stalls=find_stalls(samples),
        is_tail_dominated=is_tail_dominated(samples),
        p95_seconds=percentile(samples, 95),
        standard_error=mean.standard_error / mean.value,
    )


def _spanned_seconds(measured: Sequence[Block]) -> float:
    """Return the time to the last block's record, which is sent after its losses were read."""
    if not measured:
        return 0.0
    began = measured[0].at_seconds - measured[0].seconds
    return measured[-1].at_seconds - began


def _first_step_seconds(blocks: Sequence[Block]) -> float | None:
    """Return the time of step 0, compilation included, if it was timed alone."""
    if blocks and blocks[0].first_step == 0 and blocks[0].steps == 1:
        return blocks[0].seconds
    return None


def find_bimodality(samples: Sequence[float] | Samples) -> Bimodality | None:
    """Divide the samples in two so that most of the variance of their logarithms lies between.

    None of samples that are all the same, or too few to have a tenth in each part.

    Source: Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. Syst. Man
    Cybern. 9 (1979).
    """
    in_order = np.log(np.asarray(samples, dtype=np.float64))
    y = np.sort(in_order)
    n = len(y)
    least = max(math.ceil(LEAST_SHARE * n), 1)
    if n < 2 * least:
        return None
    centred = y - np.mean(y)
    total = float(np.dot(centred, centred))
    if total <= 1e-24 * n:  # equal samples differ from their mean by a rounding
        return None
    lower = np.arange(least, n - least + 1)
    sums = np.cumsum(centred)[lower - 1]
    between = sums**2 * n / (lower * (n - lower))
    chosen = int(np.argmax(between))
    at = int(lower[chosen])
    return Bimodality(
        separation=min(float(between[chosen]) / total, 1.0),
        gap=math.expm1(float(np.median(y[at:]) - np.median(y[:at]))),
        upper_share=(n - at) / n,
        switches=int(np.count_nonzero(np.diff(in_order >= y[at]))),
    )
