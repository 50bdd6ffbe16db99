"""Seeded series of step times with a known mean, median and history."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.stats import gamma, norm

Series = npt.NDArray[np.float64]
Noise = Literal["lognormal", "gamma", "stalls"]

GAMMA_SHAPE = 4.0
STALL_SHARE, STALL_MEAN = 0.02, 0.3


def autoregressive(seed: int, *, runs: int, n: int, phi: float) -> Series:
    """Standard normal series with this lag-one correlation, one run in each row."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((runs, n))
    noise[:, 1:] *= np.sqrt(1 - phi * phi)
    series: Series = lfilter([1.0], [1.0, -phi], noise, axis=1)
    return series


def steady(
    seed: int, *, runs: int, n: int, sd: float = 0.01, phi: float = 0.0, noise: Noise = "lognormal"
) -> Series:
    """Times about one second, one run in each row."""
    normal = autoregressive(seed, runs=runs, n=n, phi=phi)
    if noise == "gamma":
        standard = (gamma.ppf(norm.cdf(normal), GAMMA_SHAPE) - GAMMA_SHAPE) / GAMMA_SHAPE**0.5
        skewed: Series = 1 + sd * standard
        return skewed
    times: Series = np.exp(sd * normal)
    if noise == "stalls":
        generator = np.random.default_rng(seed + 1)
        hit = generator.random(times.shape) < STALL_SHARE
        times = times * (1 + hit * generator.exponential(STALL_MEAN, times.shape))
    return times


def true_mean(sd: float, noise: Noise) -> float:
    """Mean of the distribution that `steady` draws from."""
    if noise == "gamma":
        return 1.0
    whole = float(np.exp(sd * sd / 2))
    return whole * (1 + STALL_SHARE * STALL_MEAN) if noise == "stalls" else whole


def true_median(sd: float, noise: Noise) -> float:
    """Median of the distribution that `steady` draws from."""
    if noise == "gamma":
        middle = float(gamma.ppf(0.5, GAMMA_SHAPE))
        return 1 + sd * (middle - GAMMA_SHAPE) / GAMMA_SHAPE**0.5
    # A stall lies above the middle all but surely, so half of all is 0.5 / 0.98 of the rest.
    part = 0.5 / (1 - STALL_SHARE) if noise == "stalls" else 0.5
    return float(np.exp(sd * norm.ppf(part)))
