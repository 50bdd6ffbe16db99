"""Which way is tried next: the planner's first ones, then the one that promises the most.

What is known of a step's seconds is a Gaussian process over their logarithm: its mean is what the
planner expects, and ways are alike as far as their settings are. The next way has the largest
expected improvement over the best so far. A way that needs no less memory than one that ran out of
it, and differs from it in nothing else, comes last of all: it is left out.

Source: Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions",
J. Global Optimization 13 (1998), section 3; Rasmussen and Williams, "Gaussian Processes for Machine
Learning" (2006), algorithm 2.1. Why not a library: docs/decisions/0037-tune.md.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import norm

FIRST = 3
"""Ways that are tried by the planner's order alone."""

NOISE = 0.02
"""Relative standard deviation of a trial's step time: launches differ by that much."""
LEAST_SPREAD = 0.1
"""Relative standard deviation by which the planner is assumed to err before it is measured."""
DOUBLINGS = 2.0
"""Sizes that differ by so many doublings are as alike as two values of another setting."""

Settings = Mapping[str, Any]
Array = NDArray[np.float64]


def distances(ways: Sequence[Settings]) -> Array:
    """Return the squared distance of each way from each, summed over their settings."""
    total = np.zeros((len(ways), len(ways)))
    for key in ways[0] if ways else ():
        values = [way[key] for way in ways]
        if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            logs = np.log2(np.maximum(np.array(values, dtype=float), 0.5)) / DOUBLINGS
            total += (logs[:, None] - logs[None, :]) ** 2
        else:
            codes = np.array([sorted(set(map(str, values))).index(str(value)) for value in values])
            total += codes[:, None] != codes[None, :]
    return total


class Search:
    """Chooses the next of some ways, which are in the planner's order, the best first."""

    def __init__(
        self, ways: Sequence[Settings], expected_seconds: Sequence[float], first: int = FIRST
    ) -> None:
        """Begin; `first` ways are tried by the planner's order alone."""
        self._expected = np.log(np.array(expected_seconds, dtype=float))
        self._likeness: Array = np.exp(-0.5 * distances(ways))
        self._first = first

    def next(self, known: Mapping[int, float | None], left_out: frozenset[int]) -> int | None:
        """Return the place of the way to try next; None: none is left.

        Args:
            known: the seconds of a step of each way that was tried, by its place; None: it failed.
            left_out: places of ways that need not be tried.
        """
        left = [n for n in range(len(self._expected)) if n not in known and n not in left_out]
        measured = {place: math.log(seconds) for place, seconds in known.items() if seconds}
        if not left or len(known) < self._first or not measured:
            return left[0] if left else None
        mean, deviation = self.predict(measured, left)
        best = min(measured.values())
        z = (best - mean) / deviation
        gain = deviation * (z * norm.cdf(z) + norm.pdf(z))
        return left[int(np.argmax(gain))]  # of equals the planner's first

    def predict(self, measured: Mapping[int, float], places: Sequence[int]) -> tuple[Array, Array]:
        """Return mean and standard deviation of the log of ways' seconds, given measured ones."""
        seen = list(measured)
        off = np.array([measured[place] for place in seen]) - self._expected[seen]
        level = float(np.mean(off))
        spread = max(LEAST_SPREAD, float(np.std(off)))
        kernel = spread**2 * self._likeness[np.ix_(seen, seen)] + NOISE**2 * np.eye(len(seen))
        factor = cho_factor(kernel, lower=True)
        cross = spread**2 * self._likeness[np.ix_(places, seen)]
        mean = self._expected[places] + level + cross @ cho_solve(factor, off - level)
        variance = spread**2 - np.sum(cross * cho_solve(factor, cross.T).T, axis=1)
        return mean, np.sqrt(np.maximum(variance, NOISE**2))
