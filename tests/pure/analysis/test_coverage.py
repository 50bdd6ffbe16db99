"""What the intervals promise, by a few cells of the simulation in `tests/proof/analysis`."""

import numpy as np
import pytest

from tests.pure.analysis.series import Noise, Series, steady, true_mean, true_median
from trnbench.analysis.statistics import (
    Interval,
    is_tail_dominated,
    mean_interval,
    median_interval,
)

SD = 0.01
RUNS = 500
LOWEST, HIGHEST = 0.910, 0.990
"""93 to 97 %, and two Monte Carlo errors of 500 runs on each side."""


def share_that_holds(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([found.low <= truth <= found.high for found in intervals]))


def coverage_of_median(noise: Noise, phi: float, n: int, runs: int) -> float:
    """Return in which share of seeded series the interval holds the true median."""
    series = steady(n + int(10 * phi), runs=runs, n=n, sd=SD, phi=phi, noise=noise)
    return share_that_holds([median_interval(run) for run in series], true_median(SD, noise))


def coverage_of_mean(noise: Noise, phi: float, n: int, runs: int) -> float:
    """Return the same of the mean."""
    series = steady(n + int(10 * phi), runs=runs, n=n, sd=SD, phi=phi, noise=noise)
    return share_that_holds([mean_interval(run) for run in series], true_mean(SD, noise))


def flagged(runs: Series) -> float:
    return float(np.mean([is_tail_dominated(run) for run in runs]))


@pytest.mark.parametrize(
    ("noise", "phi", "n"),
    [("lognormal", 0.0, 50), ("gamma", 0.3, 100), ("stalls", 0.6, 200), ("stalls", 0.0, 50)],
)
def test_intervals_of_the_median_hold_it(noise: Noise, phi: float, n: int) -> None:
    assert LOWEST <= coverage_of_median(noise, phi, n, RUNS) <= HIGHEST


@pytest.mark.parametrize(("noise", "phi", "n"), [("lognormal", 0.3, 200), ("gamma", 0.6, 100)])
def test_intervals_of_the_mean_hold_it_where_nothing_stalls(
    noise: Noise, phi: float, n: int
) -> None:
    assert LOWEST <= coverage_of_mean(noise, phi, n, RUNS) <= HIGHEST


def test_no_interval_of_the_mean_can_be_trusted_where_a_few_steps_stall() -> None:
    """That is why such a mean is flagged: rare stalls cannot be estimated from a short run."""
    assert 0.45 <= coverage_of_mean("stalls", 0.0, 50, 400) <= 0.65


def test_a_mean_that_stalls_decide_is_flagged_and_no_other() -> None:
    stalled = steady(100, runs=RUNS, n=100, sd=SD, noise="stalls")
    hit = stalled[stalled.max(axis=1) > 1.10 * np.median(stalled, axis=1)]
    assert len(hit) > RUNS / 3
    assert flagged(hit) >= 0.98
    assert flagged(steady(100, runs=RUNS, n=100, sd=SD, noise="lognormal")) < 0.02
