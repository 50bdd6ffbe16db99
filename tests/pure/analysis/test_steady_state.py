"""Where warm-up ends: nine histories at four noises, and what must hold for any series."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.pure.analysis.series import Series, steady
from trnbench.analysis.steady_state import MIN_TAIL, SteadyState, find_steady_state

RUNS = 200

CELLS = [(0.005, 0.0), (0.01, 0.3), (0.01, 0.6), (0.03, 0.3)]
"""Standard deviation of one sample, and lag-one correlation."""

History = Callable[[int], Series]


def flat(n: int) -> Series:
    return np.ones(n)


def slow_first(n: int) -> Series:
    return np.where(np.arange(n) < 15, 1.25, 1.0)


def recompiled_twice(n: int) -> Series:
    history = np.ones(n)
    history[[5, 20]] = 60, 40
    return history


def decaying(height: float, samples: float) -> History:
    return lambda n: 1 + height * np.exp(-np.arange(n) / samples)


def throttled(n: int) -> Series:
    return np.where(np.arange(n) >= 0.6 * n, 1.05, 1.0)


def drifting(n: int) -> Series:
    return 1 + 0.04 * np.arange(n) / n


def judge(history: History, *, sd: float, phi: float, n: int = 100) -> list[SteadyState]:
    return [
        find_steady_state(run) for run in steady(5, runs=RUNS, n=n, sd=sd, phi=phi) * history(n)
    ]


def accepted(found: list[SteadyState]) -> float:
    return float(np.mean([each.verdict == "steady" for each in found]))


SETTLES: list[tuple[History, float]] = [
    (flat, 0.90),
    (slow_first, 0.90),
    (recompiled_twice, 0.88),
    (decaying(0.3, 10), 0.92),
    (decaying(0.1, 30), 0.80),
]
"""What settles, and how often it must at least be accepted."""


# Each history once; tests/proof has the whole product.
@pytest.mark.parametrize(
    ("history", "least", "sd", "phi"),
    [(*each, *CELLS[place % len(CELLS)]) for place, each in enumerate(SETTLES)],
    ids=["flat", "slow first", "recompiled twice", "decays in 10", "decays in 30"],
)
def test_a_series_that_settles_is_accepted(
    history: History, least: float, sd: float, phi: float
) -> None:
    assert accepted(judge(history, sd=sd, phi=phi)) >= least


@pytest.mark.parametrize(("sd", "samples"), [(0.002, 100), (0.002, 150), (0.01, 100)])
def test_a_slow_warm_up_is_waited_for_or_doubted(sd: float, samples: int) -> None:
    """3 % that decay over 100 samples and more were called steady in every run."""
    runs = judge(decaying(0.03, samples), sd=sd, phi=0.0, n=100)
    noticed = [each.is_warming or each.verdict != "steady" for each in runs]
    assert sum(noticed) >= 0.75 * len(runs)
    still = judge(flat, sd=sd, phi=0.0, n=100)
    assert sum(each.is_warming for each in still) <= 0.2 * len(still)


@pytest.mark.parametrize(("sd", "phi"), CELLS)
def test_stalls_are_no_change_of_level(sd: float, phi: float) -> None:
    runs = steady(5, runs=RUNS, n=100, sd=sd, phi=phi, noise="stalls")
    assert accepted([find_steady_state(run) for run in runs]) >= 0.90


@pytest.mark.parametrize(
    ("sd", "phi", "least"),
    [(0.005, 0.0, 1.0), (0.01, 0.3, 0.90), (0.01, 0.6, 0.90), (0.03, 0.3, 0.5)],
)
def test_a_throttled_chip_is_flagged(sd: float, phi: float, least: float) -> None:
    found = judge(throttled, sd=sd, phi=phi)
    assert 1 - accepted(found) >= least
    flagged = [each.verdict for each in found if each.verdict != "steady"]
    assert flagged.count("slowdown") > 0.85 * len(flagged)


def test_a_drift_of_four_percent_is_flagged_where_noise_is_low() -> None:
    assert accepted(judge(drifting, sd=0.005, phi=0.0)) <= 0.10


@pytest.mark.parametrize(("sd", "phi"), CELLS)
def test_a_step_is_found_where_it_is(sd: float, phi: float) -> None:
    """After 15 slow samples half as many again are left out."""
    starts = np.array([each.start for each in judge(slow_first, sd=sd, phi=phi)])
    assert np.mean(np.abs(starts - 23) <= 3) >= 0.90


@pytest.mark.parametrize(
    ("history", "most"),
    [(slow_first, 0.0015), (recompiled_twice, 0.0015), (decaying(0.3, 10), 0.006)],
    ids=["slow first", "recompiled twice", "decays in 10"],
)
def test_what_is_left_has_the_level_that_it_settled_at(history: History, most: float) -> None:
    runs = steady(5, runs=RUNS, n=100, sd=0.01, phi=0.3) * history(100)
    found = [(run, find_steady_state(run)) for run in runs]
    medians = [np.median(run[each.start :]) for run, each in found if each.verdict == "steady"]
    assert abs(float(np.mean(medians)) - 1) <= most


def quiet(n: int) -> Series:
    (run,) = steady(11, runs=1, n=n, sd=0.002)
    return run


def test_a_quiet_series_is_steady_from_its_first_sample() -> None:
    found = find_steady_state(quiet(100))
    assert found == SteadyState(start=0, verdict="steady", evidence="100 samples in one level")


def test_equal_samples_are_steady() -> None:
    found = find_steady_state([0.25] * 64)
    assert (found.start, found.verdict) == (0, "steady")


def test_two_levels_without_noise_are_told_apart() -> None:
    found = find_steady_state([1.2] * 20 + [1.0] * 60)
    assert (found.start, found.verdict) == (30, "steady")


def test_a_slowdown_says_by_how_much() -> None:
    assert find_steady_state(throttled(100)) == SteadyState(
        start=70, verdict="slowdown", evidence="+5.0 % slower than an earlier stretch"
    )


@pytest.mark.parametrize(("fast", "verdict"), [(9, "steady"), (10, "slowdown")])
def test_only_a_stretch_of_ten_samples_tells_of_a_slowdown(fast: int, verdict: str) -> None:
    assert find_steady_state([1.0] * fast + [1.05] * 60).verdict == verdict


def test_switching_between_levels_is_no_warm_up() -> None:
    fast_last = np.concatenate([np.tile([1.2] * 15 + [1.0] * 15, 9), np.ones(30)])
    found = find_steady_state(fast_last * quiet(300))
    assert found.verdict == "no_steady"
    assert "slower and fast again" in found.evidence


def test_a_last_level_that_is_a_small_part_of_the_series_is_none_to_rely_on() -> None:
    found = find_steady_state(quiet(100) * np.where(np.arange(100) >= 68, 1.0, 1.1))
    assert found.verdict == "no_steady"
    assert found.evidence == "68 of 100 samples came before the last change of level"


def test_levels_within_one_percent_are_one_level() -> None:
    found = find_steady_state(quiet(100) * np.where(np.arange(100) >= 40, 1.008, 1.0))
    assert (found.start, found.verdict) == (0, "steady")


def test_a_speed_up_is_no_slowdown() -> None:
    found = find_steady_state(quiet(100) / throttled(100))
    assert (found.start, found.verdict) == (70, "steady")


def test_a_change_near_the_end_leaves_nothing_steady() -> None:
    found = find_steady_state(quiet(100) * np.where(np.arange(100) >= 85, 0.9, 1.0))
    assert found == SteadyState(
        start=85, verdict="no_steady", evidence="only 15 samples since the last level shift"
    )


def test_a_drift_without_a_step_says_by_how_much_the_halves_differ() -> None:
    (run,) = steady(22, runs=1, n=100, sd=0.01, phi=0.6)
    assert find_steady_state(run * (1 + 0.03 * np.arange(100) / 100)) == SteadyState(
        start=0, verdict="drift", evidence="the second half differs from the first by +1.9 %"
    )


@pytest.mark.parametrize("n", [3, 8, 15])
def test_a_series_that_is_too_short_is_not_judged(n: int) -> None:
    samples = [9.0] * (n // 2) + [1.0] * (n - n // 2)
    assert find_steady_state(samples) == SteadyState(
        start=0, verdict="steady", evidence="too few samples to see a change"
    )


def test_the_shortest_series_that_is_judged_has_two_segments() -> None:
    assert find_steady_state([1.3] * 8 + [1.0] * 8) == SteadyState(
        start=8, verdict="no_steady", evidence="only 8 samples since the last level shift"
    )


def test_a_short_series_is_judged_only_if_it_changes() -> None:
    assert find_steady_state(quiet(24)).verdict == "steady"
    changed = find_steady_state(quiet(24) * np.where(np.arange(24) >= 12, 1.3, 1.0))
    assert changed.verdict == "no_steady"


# --- for any series ------------------------------------------------------------------------------


levels = st.lists(
    st.tuples(st.floats(0.01, 100.0), st.integers(1, 60)), min_size=1, max_size=4
).filter(lambda parts: sum(n for _, n in parts) >= 3)


@st.composite
def series(draw: st.DrawFn) -> Series:
    """Some levels with some noise, or anything positive."""
    if draw(st.booleans()):
        anything = st.lists(st.floats(0.001, 1000.0), min_size=3, max_size=80)
        return np.array(draw(anything))
    times = np.concatenate([np.full(n, level) for level, n in draw(levels)])
    sd = draw(st.sampled_from([0.0, 0.001, 0.01, 0.1]))
    noise = np.random.default_rng(draw(st.integers(0, 1000))).standard_normal(len(times))
    return times * np.exp(sd * noise)


@given(series())
def test_what_is_called_steady_is_long_enough_to_summarise(samples: Series) -> None:
    found = find_steady_state(samples)
    assert 0 <= found.start < len(samples)
    assert found.evidence
    if found.start > 0 and found.verdict != "no_steady":
        assert len(samples) - found.start >= MIN_TAIL


@given(series(), st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_unit_of_time_changes_nothing(samples: Series, factor: float) -> None:
    spread = np.log(samples.max() / samples.min())
    assume(spread > 1e-6)
    found, scaled = find_steady_state(samples), find_steady_state(factor * samples)
    assert (found.start, found.verdict) == (scaled.start, scaled.verdict)


@given(series())
def test_judging_leaves_the_samples_as_they_are(samples: Series) -> None:
    before = samples.copy()
    find_steady_state(samples)
    assert np.array_equal(samples, before)


@given(st.integers(0, 2**31), st.floats(1e-4, 1e4), st.sampled_from([flat, slow_first, throttled]))
def test_the_unit_of_the_samples_does_not_matter(seed: int, unit: float, history: History) -> None:
    (run,) = steady(seed, runs=1, n=100, sd=0.01, phi=0.3) * history(100)
    here, there = find_steady_state(run), find_steady_state(unit * run)
    assert (here.start, here.verdict) == (there.start, there.verdict)


@pytest.mark.parametrize("n", [2001, 20_000])
def test_a_change_in_a_long_series_is_found_where_it_is(n: int) -> None:
    """Longer series are searched by the means of neighbours."""
    changes = n // 4
    history = np.where(np.arange(n) < changes, 1.25, 1.0)
    (run,) = steady(3, runs=1, n=n, sd=0.01, phi=0.3) * history
    found = find_steady_state(run)
    assert found.verdict == "steady"
    assert found.start == pytest.approx(1.5 * changes, rel=0.02)


def test_a_late_change_in_a_long_series_counts_its_samples() -> None:
    n = 20_000
    (run,) = steady(4, runs=1, n=n, sd=0.005) * np.where(np.arange(n) < n - 200, 1.0, 1.25)
    found = find_steady_state(run)
    assert found.verdict == "no_steady"
    assert int(found.evidence.split()[1]) == pytest.approx(200, abs=20)
