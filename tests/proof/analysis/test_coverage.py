"""What the intervals promise: 95 % of them hold the truth, and the doubtful ones are told.

Each cell is 2,000 seeded series; its Monte Carlo error is half a percent, and the bounds below are
93 to 97 % with two of those on each side.
"""

import numpy as np
import pytest

from tests.pure.analysis.series import Noise, steady
from tests.pure.analysis.test_coverage import SD, coverage_of_mean, coverage_of_median, flagged

RUNS = 2000
LOWEST, HIGHEST = 0.920, 0.980

PHIS = [0.0, 0.3, 0.6]


@pytest.mark.parametrize("noise", ["lognormal", "gamma", "stalls"])
@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("n", [50, 100, 200])
def test_intervals_of_the_median_hold_it(noise: Noise, phi: float, n: int) -> None:
    assert LOWEST <= coverage_of_median(noise, phi, n, RUNS) <= HIGHEST


@pytest.mark.parametrize("noise", ["lognormal", "gamma"])
@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("n", [100, 200])
def test_intervals_of_the_mean_hold_it_where_nothing_stalls(
    noise: Noise, phi: float, n: int
) -> None:
    assert LOWEST <= coverage_of_mean(noise, phi, n, RUNS) <= HIGHEST


@pytest.mark.parametrize("n", [50, 100, 200])
def test_a_mean_that_stalls_decide_is_flagged(n: int) -> None:
    runs = steady(n, runs=RUNS, n=n, sd=SD, noise="stalls")
    hit = runs[runs.max(axis=1) > 1.10 * np.median(runs, axis=1)]
    assert len(hit) > RUNS / 3
    assert flagged(hit) >= 0.98


@pytest.mark.parametrize(("noise", "most"), [("lognormal", 0.01), ("gamma", 0.08)])
@pytest.mark.parametrize("n", [50, 100, 200])
def test_a_mean_without_stalls_is_not_flagged(noise: Noise, most: float, n: int) -> None:
    assert flagged(steady(n, runs=RUNS, n=n, sd=SD, noise=noise)) < most
