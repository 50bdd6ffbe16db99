"""Points with intervals from timed samples, and from launches.

Rule set `stats-v2`. Source: docs/metrics.md, "Statistics" and "Launches". Samples are sequences of
positive, finite times in order: few, correlated, now and then stalled. A launch is one value, and
launches are summarized on logarithms.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

RULES = "stats-v2"

CONFIDENCE = 0.95

BETWEEN_LAUNCH_SD = 0.005
"""Relative standard deviation between launches that one launch cannot see.

Source: MLPerf Training v5.0 public logs, about the 90th percentile over 94 submissions.
"""

LARGEST_LAUNCH_SD = 0.0208
"""The same of the submission whose runs differ most: what differs by more is not noise alone.

Source: MLPerf Training v5.0 public logs, the largest of 94 submissions.
"""

BATCHES = 6
"""Stretches of a series whose means are compared: so few that each outlasts the noise of a shared
machine, which comes and goes within seconds."""

LEAST_FOR_BATCHES = 24
"""Samples: stretches shorter than four add nothing to what neighbours show."""

LOOKING_INFLATION = 1.05
"""Widens every interval for having looked at the data before stopping; keeps coverage at 93-97 %
over the stopping rule's checkpoints (simulated)."""

Samples = npt.NDArray[np.float64]

LEAST_LAUNCHES = 3
"""Launches from which their own deviation is used."""

ROUNDING = 1e-12
"""Logarithms that differ by less are the same figure, rounded differently."""

LARGEST_LOG = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Samples."""
    n_effective: float
    """Independent samples that would be worth as much."""
    method: str

    @property
    def standard_error(self) -> float:
        """The standard error that the t interval was made from."""
        return (self.high - self.low) / 2 / _t_at(self.n_effective)

    @property
    def relative_half_width(self) -> float:
        """Half of the interval's width, as a part of the value."""
        return (self.high - self.low) / 2 / self.value

    def widened(self, factor: float) -> "Interval":
        """Return the same estimate with an interval `factor` times as wide."""
        return replace(
            self,
            low=self.value - (self.value - self.low) * factor,
            high=self.value + (self.high - self.value) * factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """Samples far above the rest; they are counted and kept, never dropped."""

    count: int
    share: float
    """Time lost to them, as a part of all time."""
    largest: tuple[tuple[int, float], ...]
    """Position and value of up to three, largest first."""


Made = TypeVar("Made")


def once_a_series(make: Callable[[Samples], Made]) -> Callable[[Samples], Made]:
    """Make a function of a series remember its last answer.

    The stopping rule's last look and the result that follows it ask the same of one series.
    """

    @lru_cache(maxsize=1)
    def remembered(values: bytes) -> Made:
        return make(np.frombuffer(values, dtype=np.float64))

    return lambda samples: remembered(samples.tobytes())


def mean_interval(samples: Sequence[float] | Samples) -> Interval:
    """Estimate the mean with a t interval at the effective sample size.

    Source: docs/metrics.md, "Statistics", ESS-t for the mean: the small-sample correction of the
    autocorrelation by Kendall and by Marriott and Pope; slow noise by overlapping batch means.
    """
    return _mean_interval(_checked(samples))


@once_a_series
def _mean_interval(x: Samples) -> Interval:
    return _t_interval(float(np.mean(x)), x, "ess-t mean")


def median_interval(samples: Sequence[float] | Samples) -> Interval:
    """Estimate the median with a t interval that stalls cannot widen.

    The deviation is of the samples winsorised at Tukey's fences, the autocorrelation that of a
    Gaussian series after hard clipping (arcsine law), and slow noise that of batch means.

    Source: docs/metrics.md, "Statistics", ESS-t for the median.
    """
    return _median_interval(_checked(samples))


@once_a_series
def _median_interval(x: Samples) -> Interval:
    first, third = np.percentile(x, [25, 75])
    spread = 1.5 * (third - first)
    winsorised = np.clip(x, first - spread, third + spread)
    return _t_interval(float(np.median(x)), winsorised, "ess-t median", is_median=True)


def single_launch_interval(interval: Interval) -> Interval:
    """Widen a within-launch interval by the variance between launches that it cannot see.

    Source: docs/metrics.md, "Statistics", widening.
    """
    inside = interval.relative_half_width
    outside = 1.96 * BETWEEN_LAUNCH_SD
    half_width = interval.value * math.hypot(inside, outside)
    return replace(
        interval,
        low=interval.value - half_width,
        high=interval.value + half_width,
        method=f"{interval.method}, prior-widened",
    )


def find_stalls(samples: Sequence[float] | Samples) -> Stalls:
    """Label the samples that are stalls: beyond five deviations and five percent of the median."""
    x = _checked(samples)
    positions = _stall_positions(x)
    by_size = sorted(positions, key=lambda i: -x[i])[:3]
    return Stalls(
        count=len(positions),
        share=float(np.sum(x[positions] - np.median(x)) / np.sum(x)),
        largest=tuple((int(i), float(x[i])) for i in by_size),
    )


def is_tail_dominated(samples: Sequence[float] | Samples) -> bool:
    """Tell whether leaving the stalls out would move the mean by over a quarter of its half-width.

    Then no interval for the mean can be trusted.
    """
    x = _checked(samples)
    positions = _stall_positions(x)
    if len(positions) == 0:
        return False
    interval = mean_interval(x)
    half_width = (interval.high - interval.low) / 2
    moved = interval.value - float(np.mean(np.delete(x, positions)))
    return moved > half_width / 4


def percentile(samples: Sequence[float] | Samples, part: float) -> float:
    """Return a percentile by linear interpolation (type 7); `part` in percent."""
    return float(np.percentile(_checked(samples), part))


def _stall_positions(x: Samples) -> npt.NDArray[np.intp]:
    median = float(np.median(x))
    deviation = 1.4826 * float(np.median(np.abs(x - median)))
    return np.flatnonzero(x > median + max(5 * deviation, 0.05 * median))


def _checked(samples: Sequence[float] | Samples) -> Samples:
    x = np.asarray(samples, dtype=np.float64)
    if x.ndim != 1 or len(x) < 3:
        raise ValueError(f"needs at least 3 samples in a row, got shape {x.shape}")
    if not np.all(np.isfinite(x)):
        raise ValueError("samples must be finite")
    return x


def _lag_one_autocorrelation(x: Samples) -> float:
    centred = x - np.mean(x)
    variance = float(np.dot(centred, centred))
    rounding = 1e-24 * float(np.dot(x, x))  # equal samples differ from their mean by as much
    return float(np.dot(centred[:-1], centred[1:])) / variance if variance > rounding else 0.0


def _corrected_autocorrelation(x: Samples) -> float:
    """Correct the downward bias of a short series' autocorrelation, and bound it."""
    raw = _lag_one_autocorrelation(x)
    return min(max(raw + (1 + 4 * raw) / len(x), 0.0), 0.95)


def _slow_inflation(x: Samples, inflation: float) -> float:
    """Return by how much the mean varies more than the correlation of neighbours makes it, or 1.

    A machine that others use is slower for seconds at a time, which a lag of one hardly shows and
    means of long stretches do.

    Source: overlapping batch means, Meketon and Schmeiser, Winter Simulation Conference 1984, with
    the bias of n / BATCHES taken off.
    """
    n = len(x)
    if n < LEAST_FOR_BATCHES:
        return 1.0
    length = n // BATCHES
    sums = np.concatenate(([0.0], np.cumsum(x - np.mean(x))))
    means = (sums[length:] - sums[:-length]) / length
    by_batches = length / (1 - length / n) * float(np.mean(means**2))
    by_neighbours = float(np.var(x, ddof=1)) * inflation
    return max(by_batches / by_neighbours, 1.0) if by_neighbours > 0 else 1.0


def _t_interval(value: float, x: Samples, method: str, *, is_median: bool = False) -> Interval:
    n = len(x)
    r = _corrected_autocorrelation(x)
    inflation = of_mean = (1 + r) / (1 - r)
    deviation = float(np.std(x, ddof=1))
    if is_median:
        lags = np.arange(1, 200)
        inflation = 1 + 2 * float(np.sum((2 / math.pi) * np.arcsin(np.power(r, lags))))
        deviation *= 1.2533
    slow = _slow_inflation(x, of_mean)
    correction = 1 / max(1 - of_mean / n, 0.3)
    error = deviation * math.sqrt(inflation * slow * correction / n)
    n_effective = max(n / (of_mean * slow), 3.0)
    t = _t_at(n_effective)
    return Interval(
        value=value,
        low=value - t * error,
        high=value + t * error,
        n=n,
        n_effective=n_effective,
        method=method,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A relative standard deviation with its 95 % interval."""

    value: float
    low: float
    high: float


def interval_of(
    values: Sequence[float], errors: Sequence[float | None]
) -> tuple[float, float, float] | None:
    """Return the geometric mean over launches with its 95 % interval; None where none is known.

    One launch, and launches of exactly equal time, have the interval that each has by itself, which
    allows for what one launch cannot see. Of two, that is worth as much as their own deviation: a
    degree of freedom each. `errors` are relative standard errors of each launch by its own samples.
    """
    logs = [math.log(value) for value in values]
    known = [error for error in errors if error is not None]
    is_timed = len(known) == len(values)
    seen = deviation_of(logs) if len(logs) > 1 else 0.0
    if len(logs) >= LEAST_LAUNCHES and not (is_timed and seen == 0):
        if len(set(logs)) == 1:
            return values[0], values[0], values[0]
        error, degrees = seen / math.sqrt(len(logs)), float(len(logs) - 1)
    elif is_timed and len(logs) == 2 and seen > 0:
        error, degrees = math.sqrt((mean_square(known) + seen**2) / 2 / len(logs)), 2.0
    elif is_timed:
        error, degrees = math.sqrt(max(mean_square(known), seen**2) / len(logs)), None
    else:
        return None
    centre = statistics.fmean(logs)
    half_width = t_975(degrees) * error
    return exp_of(centre), exp_of(centre - half_width), exp_of(centre + half_width)


def between_launches(values: Sequence[float]) -> Deviation:
    """Return the deviation between at least two launches, with the chi-squared interval."""
    from scipy.special import chdtri

    degrees = len(values) - 1
    deviation = deviation_of([math.log(value) for value in values])
    tail = (1 - CONFIDENCE) / 2
    return Deviation(
        value=deviation,
        low=deviation * math.sqrt(degrees / float(chdtri(degrees, tail))),
        high=deviation * math.sqrt(degrees / float(chdtri(degrees, 1 - tail))),
    )


def within_launches(errors: Sequence[float]) -> float | None:
    """Return the deviation between launches that their own samples predict."""
    return math.sqrt(mean_square(errors)) if errors else None


def deviation_of(values: Sequence[float]) -> float:
    """Return the standard deviation; zero for values that differ by rounding alone."""
    deviation = statistics.stdev(values)
    return deviation if deviation > ROUNDING else 0.0


def mean_square(values: Sequence[float]) -> float:
    """Return the mean of the squares."""
    return statistics.fmean([value * value for value in values])


def exp_of(logarithm: float) -> float:
    """Return e to this power, kept finite: an interval may end beyond the largest number."""
    return math.exp(min(max(logarithm, -LARGEST_LOG), LARGEST_LOG))


def t_quantile(part: float, degrees: float | None) -> float:
    """Return Student's quantile; the normal one where `degrees` is None."""
    from scipy.special import ndtri, stdtrit  # a tenth of a second that not every command can spare

    return float(ndtri(part) if degrees is None else stdtrit(degrees, part))


def t_975(degrees: float | None) -> float:
    """Return how many standard errors the 95 % interval reaches to either side."""
    return t_quantile(0.5 + CONFIDENCE / 2, degrees)


def _t_at(n_effective: float) -> float:
    return t_975(max(n_effective - 1, 2.0))
