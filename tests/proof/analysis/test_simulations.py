"""All cells of the simulations of which `tests/pure/analysis` has a few."""

import pytest

from tests.pure.analysis.series import Noise, steady
from tests.pure.analysis.test_doubts import share_of_two_levels
from tests.pure.analysis.test_steady_state import (
    CELLS,
    SETTLES,
    History,
    accepted,
    judge,
    throttled,
)


@pytest.mark.parametrize("noise", ["lognormal", "gamma", "stalls"])
@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("n", [30, 50, 100])
def test_noise_of_one_level_is_seldom_taken_for_two(noise: Noise, phi: float, n: int) -> None:
    series = steady(17, runs=1000, n=n, sd=0.05, phi=phi, noise=noise)
    assert share_of_two_levels(series) <= 0.005


@pytest.mark.parametrize(("sd", "phi"), CELLS)
@pytest.mark.parametrize(("history", "least"), SETTLES)
def test_a_series_that_settles_is_accepted(
    history: History, least: float, sd: float, phi: float
) -> None:
    assert accepted(judge(history, sd=sd, phi=phi)) >= least


@pytest.mark.parametrize(("sd", "phi"), CELLS[:3])
def test_a_throttled_chip_is_flagged_more_surely_in_a_longer_run(sd: float, phi: float) -> None:
    assert accepted(judge(throttled, sd=sd, phi=phi, n=200)) <= 0.06
