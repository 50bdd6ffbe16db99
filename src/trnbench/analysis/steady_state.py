"""Where warm-up ends: the change points of a series of timed samples, and whether it settled.

Part of rule set `stats-v2`. Source: docs/metrics.md, "Statistics". Known limit: a drift below about
2 % over the series is not reliably seen.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from trnbench.analysis.statistics import Samples, once_a_series

MIN_SEGMENT = 8
MIN_TAIL = 30
MOST_WARMUP = 2 / 3
"""Of a series: with a longer warm-up, the last level may be one of several."""
LEAST_TREND = math.log(1.005)
"""Of the logarithm over the steady part: less is within what one launch cannot see anyway."""
MOST_EXAMINED = 2000
"""A longer series is searched by the means of neighbours, so that it takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyState:
    """The steady part of a series, and whether it is steady."""

    start: int
    """Samples before this one are warm-up: kept and counted, not summarized."""
    verdict: Literal["steady", "no_steady", "slowdown", "drift"]
    evidence: str
    is_warming: bool = False
    """Whether the steady part may still become faster: a look of the stopping rule waits for more
    samples at a weaker sign of a trend than one that makes a result doubtful."""


@dataclass(frozen=True, slots=True)
class _Noise:
    """Noise of the logarithm, from differences, so that a shift of level does not raise it."""

    variance: float
    inflation: float


def find_steady_state(samples: Sequence[float] | Samples) -> SteadyState:
    """Find where a series of positive times, planned warm-up left out, has settled.

    A series shorter than 30 samples is `no_steady` only if a change is seen.
    """
    return _found_in(np.asarray(samples, dtype=np.float64))


@once_a_series
def _found_in(samples: Samples) -> SteadyState:
    log_times = np.log(samples)
    if len(log_times) < 2 * MIN_SEGMENT:
        return SteadyState(start=0, verdict="steady", evidence="too few samples to see a change")
    clipped = _hampel_clipped(log_times)
    size = math.ceil(len(clipped) / MOST_EXAMINED)
    if size == 1:
        return _found(clipped)
    groups = clipped[: len(clipped) // size * size].reshape(-1, size).mean(axis=1)
    found = _found(groups, size)
    return replace(found, start=found.start * size)


def _found(clipped: Samples, size: int = 1) -> SteadyState:
    """Search a series in which each value is the mean of `size` samples."""
    noise = _noise(clipped)
    bounds = [0, *_change_points(clipped, noise), len(clipped)]
    segments = [clipped[a:b] for a, b in itertools.pairwise(bounds)]
    first_kept = _first_of_merged_tail(segments, noise)
    start = _padded_start(bounds[first_kept], len(clipped))
    return _judged(segments[:first_kept], clipped[start:], start, noise, size)


def _judged(
    left_out: list[Samples], tail: Samples, start: int, noise: _Noise, size: int
) -> SteadyState:
    if left_out and len(tail) < MIN_TAIL:
        few = f"only {len(tail) * size} samples since the last level shift"
        return SteadyState(start=start, verdict="no_steady", evidence=few)
    level = float(np.median(tail))
    for segment in left_out:
        rise = level - float(np.median(segment))
        error = _standard_error(noise, len(segment), len(tail))
        if len(segment) >= 10 and rise > max(math.log(1.02), 4 * error):
            slower = f"{_percent(rise)} slower than an earlier stretch"
            return SteadyState(start=start, verdict="slowdown", evidence=slower)
    back = _fell_back(left_out, tail, noise)
    if back is not None:
        switched = f"it became {_percent(back)} slower and fast again, which no warm-up does"
        return SteadyState(start=start, verdict="no_steady", evidence=switched)
    warmup, whole = sum(len(segment) for segment in left_out), start + len(tail)
    if warmup > MOST_WARMUP * whole:
        most = f"{warmup * size} of {whole * size} samples came before the last change of level"
        return SteadyState(start=start, verdict="no_steady", evidence=most)
    half = len(tail) // 2
    shift = float(np.median(tail[half:]) - np.median(tail[:half]))
    error = _standard_error(noise, half, len(tail) - half)
    if abs(shift) > max(math.log(1.01), 3 * error):
        shifted = f"the second half differs from the first by {_percent(shift)}"
        return SteadyState(start=start, verdict="drift", evidence=shifted)
    trend, error = _trend(tail, noise)
    if -trend > max(LEAST_TREND, 4 * error):
        slope = f"it still becomes faster: {_percent(trend)} from its first sample to its last"
        return SteadyState(start=start, verdict="drift", evidence=slope)
    is_warming = -trend > max(LEAST_TREND, error)
    level_of = f"{len(tail)} samples in one level"
    return SteadyState(start=start, verdict="steady", evidence=level_of, is_warming=is_warming)


def _trend(tail: Samples, noise: _Noise) -> tuple[float, float]:
    """Return by how much a line through the tail rises over it, and the standard error of that.

    A warm-up that decays over as many samples as there are shows as a slope, not as a level.
    """
    n = len(tail)
    place = (np.arange(n) - (n - 1) / 2) / n
    rise = float(np.dot(place, tail) / np.dot(place, place))
    return rise, math.sqrt(noise.variance * noise.inflation / float(np.dot(place, place)))


def _fell_back(left_out: list[Samples], tail: Samples, noise: _Noise) -> float | None:
    """Return by how much an earlier level rose before it fell to the last; None if none did.

    A warm-up is one approach to a level: each level is faster than the one before.
    """
    for before, after in itertools.pairwise([*left_out, tail]):
        rise = float(np.median(after) - np.median(before))
        error = _standard_error(noise, len(before), len(after))
        is_long = min(len(before), len(after)) >= 10
        if after is not tail and is_long and rise > max(math.log(1.02), 4 * error):
            return rise
    return None


def _percent(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):+.1f} %"


def _hampel_clipped(y: Samples, window: int = 7) -> Samples:
    """Replace a lone spike by the median around it, for detection only."""
    half = window // 2
    padded = np.pad(y, half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    medians = np.median(windows, axis=1)
    deviations = 1.4826 * np.median(np.abs(windows - medians[:, None]), axis=1)
    clipped: Samples = np.where(np.abs(y - medians) > 3 * deviations, medians, y)
    return clipped


def _noise(y: Samples) -> _Noise:
    one, two = _mad_variance(y[1:] - y[:-1]), _mad_variance(y[2:] - y[:-2])
    if one == 0:
        return _Noise(variance=1e-12, inflation=1.0)
    phi = min(max(two / one - 1, 0.0), 0.8)
    return _Noise(variance=one / (2 * (1 - phi)), inflation=(1 + phi) / (1 - phi))


def _mad_variance(x: Samples) -> float:
    return (1.4826 * float(np.median(np.abs(x - np.median(x))))) ** 2


def _standard_error(noise: _Noise, n1: int, n2: int) -> float:
    """Return the standard error of the difference of two medians."""
    return 1.2533 * math.sqrt(noise.variance * noise.inflation * (1 / n1 + 1 / n2))


def _change_points(y: Samples, noise: _Noise) -> list[int]:
    """Find the changes of mean by PELT with squared-error cost.

    Source: Killick, Fearnhead and Eckley, "Optimal detection of changepoints with a linear
    computational cost", JASA 107 (2012).
    """
    n = len(y)
    penalty = 4 * math.log(n) * noise.variance * noise.inflation
    sums = np.concatenate(([0.0], np.cumsum(y)))
    squares = np.concatenate(([0.0], np.cumsum(y * y)))
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    previous = np.zeros(n + 1, dtype=np.intp)
    candidates = np.array([0])
    for end in range(MIN_SEGMENT, n + 1):
        length = end - candidates
        total = sums[end] - sums[candidates]
        cost = squares[end] - squares[candidates] - total * total / length
        values = best[candidates] + cost + penalty
        chosen = int(np.argmin(values))
        best[end], previous[end] = values[chosen], candidates[chosen]
        kept = candidates[best[candidates] + cost <= best[end]]
        candidates = np.append(kept, end - MIN_SEGMENT + 1) if end >= 2 * MIN_SEGMENT - 1 else kept
    points = []
    at = int(previous[n])
    while at > 0:
        points.append(at)
        at = int(previous[at])
    return points[::-1]


def _first_of_merged_tail(segments: list[Samples], noise: _Noise) -> int:
    """Go back from the last segment while the level is the same; return where the tail begins."""
    first = len(segments) - 1
    tail = segments[first]
    while first > 0:
        before = segments[first - 1]
        difference = abs(float(np.median(before)) - float(np.median(tail)))
        if difference > max(math.log(1.01), 3 * _standard_error(noise, len(before), len(tail))):
            break
        tail = np.concatenate((before, tail))
        first -= 1
    return first


def _padded_start(warmup: int, n: int) -> int:
    """Leave out half as much again after a warm-up, but keep a tail of `MIN_TAIL`."""
    return warmup if warmup == 0 else min(warmup + math.ceil(warmup / 2), max(n - MIN_TAIL, warmup))
