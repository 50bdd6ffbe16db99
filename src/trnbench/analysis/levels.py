"""Whether a series of timed samples has one level, or switches between two.

Part of rule set `stats-v2`, in full in docs/metrics.md, "Checks". A mean over two levels is
still what is paid for; but there is no typical step, and the next launch may get more of one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trnbench.analysis.statistics import Samples

LEAST_SHARE = 0.1
"""Of the samples at either level: fewer are stalls, which have a rule of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The two groups that a series' samples part into best."""

    separation: float
    """Part of the variance of the logarithm that lies between the groups: 2/π = 0.64 of a normal
    distribution, 0.75 of an even one, 0.81 of a sine, near 1 where there are two levels."""
    gap: float
    """How much slower the upper group's middle is, relative."""
    upper_share: float
    """Part of the samples in the upper group."""
    switches: int
    """How often a sample is in the other group than the one before it."""


def split_levels(samples: Sequence[float] | Samples) -> Levels | None:
    """Part the samples in two so that as much as can be of their variance lies between the parts.

    The threshold is the one of Otsu, "A threshold selection method from gray-level histograms",
    IEEE Trans. Syst. Man Cybern. 9 (1979), of the logarithms, with no histogram in between.

    Args:
        samples: positive times in order.

    Returns:
        None of samples that are all the same, or too few to have a tenth in each part.
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
    return Levels(
        separation=min(float(between[chosen]) / total, 1.0),
        gap=math.expm1(float(np.median(y[at:]) - np.median(y[:at]))),
        upper_share=(n - at) / n,
        switches=int(np.count_nonzero(np.diff(in_order >= y[at]))),
    )
