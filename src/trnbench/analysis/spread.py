"""Several launches of one case: their middle with its interval, and how much they differ.

A launch is a fresh process. It counts as one value, however many steps it timed, because launches
differ by more than the steps within one tell. Rules, with their sources: docs/metrics.md,
"Launches" and "Comparison".
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from trnbench.analysis.statistics import CONFIDENCE

LEAST_LAUNCHES = 3
"""Launches from which their own spread is used."""

ROUNDING = 1e-12
"""Logarithms that differ by less are the same figure, rounded differently."""

LARGEST_LOG = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A relative standard deviation with its 95 % interval."""

    value: float
    low: float
    high: float


def middle_of(values: Sequence[float]) -> float:
    """Return the geometric mean of values above zero."""
    return statistics.geometric_mean(values)


def interval_of(
    values: Sequence[float], errors: Sequence[float | None]
) -> tuple[float, float, float] | None:
    """Return the geometric mean over launches with its 95 % interval.

    Fewer than three launches, and such as took the very same time, have the interval that each has
    by itself, which allows for what one launch cannot see.

    Args:
        values: of each launch, above zero.
        errors: relative standard error of each by its own samples; None where nothing is known.

    Returns:
        The middle and its ends; None where nothing tells an interval.
    """
    logs = [math.log(value) for value in values]
    known = [error for error in errors if error is not None]
    is_timed = len(known) == len(values)
    seen = deviation_of(logs) if len(logs) > 1 else 0.0
    if len(logs) >= LEAST_LAUNCHES and not (is_timed and seen == 0):
        if len(set(logs)) == 1:
            return values[0], values[0], values[0]
        error, degrees = seen / math.sqrt(len(logs)), float(len(logs) - 1)
    elif is_timed:
        error, degrees = math.sqrt(max(mean_square(known), seen**2) / len(logs)), None
    else:
        return None
    centre = statistics.fmean(logs)
    half_width = t_quantile(0.5 + CONFIDENCE / 2, degrees) * error
    return exp_of(centre), exp_of(centre - half_width), exp_of(centre + half_width)


def between_launches(values: Sequence[float]) -> Deviation:
    """Return by how much launches differ, with the chi-squared interval.

    Args:
        values: of each launch, above zero; at least two.
    """
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
    """Return the deviation that the launches' own samples would make one expect between them."""
    return math.sqrt(mean_square(errors)) if errors else None


def deviation_of(values: Sequence[float]) -> float:
    """Return the standard deviation, exactly zero for values that differ by rounding alone."""
    deviation = statistics.stdev(values)
    return deviation if deviation > ROUNDING else 0.0


def mean_square(values: Sequence[float]) -> float:
    """Return the mean of the squares."""
    return statistics.fmean([value * value for value in values])


def exp_of(logarithm: float) -> float:
    """Return e to this power, kept finite: ends of an interval may lie beyond all numbers."""
    return math.exp(min(max(logarithm, -LARGEST_LOG), LARGEST_LOG))


def t_quantile(part: float, degrees: float | None) -> float:
    """Return Student's quantile; of the normal distribution where no spread was estimated."""
    from scipy.special import ndtri, stdtrit  # a tenth of a second that not every command can spare

    return float(ndtri(part) if degrees is None else stdtrit(degrees, part))
