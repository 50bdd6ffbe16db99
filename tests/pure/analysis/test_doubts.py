"""Each doubt is raised on the one side of its threshold and silent on the other; chance raises few.

The thresholds and what they rest on: docs/metrics.md, "Checks".
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    STEP_SECONDS,
    make_activity,
    make_blocks,
    make_measurement,
    make_plan,
    make_result,
    steady_times,
)
from tests.pure.analysis.series import Noise, Series, steady
from trnbench.analysis.checks.measurement import LEAST_SWITCHES, MAX_LEVEL_GAP, MAX_SEPARATION
from trnbench.analysis.step_time import find_bimodality
from trnbench.protocol.records import Block
from trnbench.schema.measurement import Reading
from trnbench.schema.result import CheckOutcome

ORDINARY = steady_times(100)
DOUBTFUL, SOUND = True, False


def check(name: str, blocks: list[Block] | None = None, **changes: Any) -> CheckOutcome:
    """Return what a check says of a case that was planned with the default limits."""
    plan = make_plan()
    result = make_result(plan, make_measurement(plan, blocks=blocks, **changes))
    (found,) = [outcome for outcome in result.checks if outcome.name == name]
    return found


def assert_raised(found: CheckOutcome, is_raised: bool) -> None:
    """A raised check is a doubt with evidence and advice; a silent one is sound without advice."""
    assert found.verdict == ("doubtful" if is_raised else "sound"), found
    assert found.evidence
    assert bool(found.advice) == is_raised


def of_steps(times: list[float] | Series, **changes: Any) -> list[Block]:
    return make_blocks([float(t) for t in times], **changes)


@pytest.mark.parametrize(("share", "is_raised"), [(0.91, SOUND), (0.89, DOUBTFUL)])
def test_time_that_no_block_accounts_for(share: float, is_raised: bool) -> None:
    gap = STEP_SECONDS * (1 - share) / share
    assert_raised(check("accounted_time", of_steps(ORDINARY, gap_seconds=gap)), is_raised)


@pytest.mark.parametrize("share", [0.39, 0.91])
def test_the_coverage_of_the_published_study_s_timed_steps_is_told_as_it_was(share: float) -> None:
    gap = STEP_SECONDS * (1 - share) / share
    found = check("accounted_time", of_steps(steady_times(1000), gap_seconds=gap))
    assert f"cover {share:.0%}" in found.evidence
    assert_raised(found, share < 0.9)


@pytest.mark.parametrize(
    ("asked", "taken", "is_raised"),
    [(50, 50, SOUND), (50, 49, DOUBTFUL), (8, 30, SOUND), (8, 29, DOUBTFUL), (60, 59, DOUBTFUL)],
)
def test_too_few_samples_by_the_config_or_by_what_is_known(
    asked: int, taken: int, is_raised: bool
) -> None:
    plan = make_plan({"measure.min_samples": str(asked)})
    result = make_result(plan, make_measurement(plan, blocks=of_steps(steady_times(taken))))
    (found,) = [outcome for outcome in result.checks if outcome.name == "precision"]
    assert_raised(found, is_raised)


def test_more_samples_are_not_advised_where_enough_were_asked_for() -> None:
    late = steady_times(100) + [3 * seconds for seconds in steady_times(14)]
    found = check("precision", of_steps(late))
    assert "intervals from fewer than 30 samples are unreliable" in found.evidence
    assert found.advice == "allow more measure.max_minutes or measure.max_samples"


@pytest.mark.parametrize(("drift", "is_raised"), [(0.0, SOUND), (0.01, SOUND), (0.06, DOUBTFUL)])
def test_a_drift(drift: float, is_raised: bool) -> None:
    times = [t * (1 + drift * i / 200) for i, t in enumerate(steady_times(200))]
    assert_raised(check("steady", of_steps(times)), is_raised)


@pytest.mark.parametrize(("skew", "is_raised"), [(0.08, SOUND), (0.09, DOUBTFUL)])
def test_a_tail_without_stalls(skew: float, is_raised: bool) -> None:
    """An exponential tail's mean is above its median: here, cut at 3.7 scales, by 1.9 and 2.1 %."""
    parts = np.random.default_rng(1).permutation(np.linspace(0.005, 0.975, 98))
    found = check("tail", of_steps(STEP_SECONDS * (1 - skew * np.log(1 - parts))))
    assert ", 0 stalls" in found.evidence
    assert_raised(found, is_raised)


def test_a_tail_within_what_was_asked_for() -> None:
    """Who asks for 5 % is not warned of a mean that is 2.1 % above the median."""
    parts = np.random.default_rng(1).permutation(np.linspace(0.005, 0.975, 98))
    plan = make_plan({"measure.relative_precision": "0.05"})
    blocks = of_steps(STEP_SECONDS * (1 - 0.09 * np.log(1 - parts)))
    result = make_result(plan, make_measurement(plan, blocks=blocks))
    (found,) = [each for each in result.checks if each.name == "tail"]
    assert_raised(found, SOUND)


def test_stalls_that_decide_the_mean() -> None:
    assert_raised(
        check("tail", of_steps([*ORDINARY[:50], STEP_SECONDS * 1.5, *ORDINARY[51:]])), DOUBTFUL
    )


@pytest.mark.parametrize(("part", "is_raised"), [(0.51, SOUND), (0.49, DOUBTFUL)])
def test_a_step_that_was_too_fast(part: float, is_raised: bool) -> None:
    times = [STEP_SECONDS] * 50 + [part * STEP_SECONDS] + [STEP_SECONDS] * 49
    assert_raised(check("tail", of_steps(times)), is_raised)


@pytest.mark.parametrize(("share", "is_raised"), [(0.049, SOUND), (0.051, DOUBTFUL)])
def test_foreign_load(share: float, is_raised: bool) -> None:
    assert_raised(check("foreign_load", foreign_cpu_share=share), is_raised)


@pytest.mark.parametrize(
    ("apart", "is_raised"), [(0.019, SOUND), (-0.019, SOUND), (0.021, DOUBTFUL), (-0.021, DOUBTFUL)]
)
def test_two_clocks(apart: float, is_raised: bool) -> None:
    blocks = [replace(b, event_seconds=b.seconds * (1 + apart)) for b in of_steps(ORDINARY)]
    assert_raised(check("clocks", blocks), is_raised)


@pytest.mark.parametrize(
    ("flags", "is_raised"),
    [
        ([], SOUND), (["clocks_gpu_idle"], SOUND), (["throttle_hw_slowdown"], DOUBTFUL),
        (["ecc_uncorrected"], DOUBTFUL), (["errors_hardware"], DOUBTFUL),
    ],
)  # fmt: skip
def test_throttling(flags: list[str], is_raised: bool) -> None:
    reading = Reading(
        at_seconds=2.0, source="nvml", device=0, is_valid=True, note=None, values={}, flags=flags
    )
    assert_raised(check("throttling", readings=[reading]), is_raised)


@pytest.mark.parametrize(("at_step", "verdict"), [(8, "sound"), (9, "invalid")])
def test_a_compilation_counts_from_the_first_measured_step_on(at_step: int, verdict: str) -> None:
    activities = [make_activity(1, graphs=1), make_activity(at_step, graphs=2)]
    assert check("recompiled", activities=activities).verdict == verdict


@pytest.mark.parametrize(
    ("operators", "verdict"), [({}, "sound"), ({"aten::mm": 1}, "invalid"), (None, "not_judged")]
)
def test_an_operator_that_fell_back(operators: dict[str, int] | None, verdict: str) -> None:
    found = check("fallback", activities=[make_activity(1, fallback_ops=operators)])
    assert found.verdict == verdict


@pytest.mark.parametrize(("part", "verdict"), [(0.99, "sound"), (1.01, "invalid")])
def test_work_at_the_ceiling_is_possible_and_above_it_is_not(part: float, verdict: str) -> None:
    plan = make_plan()
    result = make_result(plan)
    highest = result.metrics["mfu"].value
    assert highest is not None
    peak = result.utilization.peak_flops_per_second
    assert peak is not None
    found = check("possible", ceiling=[peak * highest / part] * 3)
    assert found.verdict == verdict, found
    assert bool(found.advice) == (verdict == "invalid")


# --- the clock's step -----------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "is_raised"), [(0.99, SOUND), (1.01, DOUBTFUL)])
def test_a_clock_is_too_coarse_above_a_tenth_of_the_half_width(
    part: float, is_raised: bool
) -> None:
    environment = make_measurement().environment
    assert environment is not None
    asked = make_plan().measure.relative_precision
    blocks = of_steps([STEP_SECONDS] * 100, steps=4)
    step = part * 0.1 * asked * 4 * STEP_SECONDS
    told = replace(environment, clock_step_seconds=step)
    assert_raised(check("resolution", blocks, environment=told), is_raised)


def test_a_clock_of_which_nobody_told_is_not_judged() -> None:
    environment = make_measurement().environment
    assert environment is not None
    untold = replace(environment, clock_step_seconds=None)
    assert check("resolution", environment=untold).verdict == "not_judged"
    assert check("resolution", environment=None).verdict == "not_judged"
    assert check("resolution", []).verdict == "not_judged"


@given(st.integers(8, 1000), st.integers(0, 10_000))
def test_a_clock_at_the_limit_widens_an_interval_by_under_a_thousandth(n: int, seed: int) -> None:
    """A half-width of 1 over n samples is noise of √n / 2, which a step of 0.1 rounds: q²/6."""
    step, deviation = 0.1, math.sqrt(n) / 2
    generator = np.random.default_rng(seed)
    exact = generator.normal(100 * deviation, deviation, 1000)
    begins = generator.random(1000) * step
    read = step * (np.floor((begins + exact) / step) - np.floor(begins / step))
    assert np.max(np.abs(read - exact)) <= step
    rounding = float(np.mean((read - exact) ** 2))
    assert rounding == pytest.approx(step**2 / 6, rel=0.25)
    assert math.sqrt(1 + step**2 / 6 / deviation**2) - 1 < 1e-3


# --- slow ranks -----------------------------------------------------------------------------------


def ranks(seed: int, count: int, slow: float, samples: int = 100) -> list[Block]:
    """Return blocks of ranks whose own work differs by 1 % from sample to sample."""
    times = STEP_SECONDS * steady(seed, runs=count, n=samples, sd=0.01, phi=0.3)
    times[count // 2] *= 1 + slow
    return [
        replace(block, rank_seconds=[float(t) for t in times[:, max(i - 8, 0)]])
        for i, block in enumerate(of_steps(steady_times(samples)))
    ]


@pytest.mark.parametrize("count", [2, 3, 4, 16, 64])
@pytest.mark.parametrize(("slow", "is_raised"), [(0.0, SOUND), (0.01, SOUND), (0.05, DOUBTFUL)])
def test_a_rank_that_all_wait_for(count: int, slow: float, is_raised: bool) -> None:
    found = check("ranks", ranks(3, count, slow))
    assert_raised(found, is_raised)
    if is_raised:
        assert found.evidence.startswith(f"rank {count // 2} of {count} is the slowest")


def test_ranks_that_take_turns_in_being_slow_are_not_slow_ranks() -> None:
    blocks = [
        replace(b, rank_seconds=[0.05 + 0.01 * (i % 4 == rank) for rank in range(4)])
        for i, b in enumerate(of_steps(ORDINARY))
    ]
    assert_raised(check("ranks", blocks), SOUND)


def test_one_rank_or_few_samples_of_several_tell_nothing() -> None:
    assert check("ranks").verdict == "not_judged"
    assert check("ranks", ranks(3, 4, 0.5, samples=9)).verdict == "not_judged"
    alone = [replace(b, rank_seconds=[0.05]) for b in of_steps(ORDINARY)]
    assert check("ranks", alone).verdict == "not_judged"


@pytest.mark.parametrize("count", [2, 4, 16])
def test_even_ranks_hardly_ever_look_slow(count: int) -> None:
    raised = sum(
        check("ranks", ranks(seed, count, 0.0, samples=30)).verdict == "doubtful"
        for seed in range(40)
    )
    assert raised == 0


# --- two levels -----------------------------------------------------------------------------------


def share_of_two_levels(series: Series) -> float:
    found = [find_bimodality(row) for row in series]
    raised = [
        levels is not None
        and levels.separation > MAX_SEPARATION
        and levels.gap > MAX_LEVEL_GAP
        and levels.switches >= LEAST_SWITCHES
        for levels in found
    ]
    return float(np.mean(raised))


@pytest.mark.parametrize(
    ("noise", "phi", "n"),
    [
        ("lognormal", 0.0, 100), ("lognormal", 0.8, 30), ("gamma", 0.3, 50), ("gamma", 0.6, 100),
        ("stalls", 0.0, 30), ("stalls", 0.8, 50),
    ],
)  # fmt: skip
def test_noise_of_one_level_is_seldom_taken_for_two(noise: Noise, phi: float, n: int) -> None:
    """With 5 % noise, so that the gap of 2 % alone holds nothing back."""
    series = steady(17, runs=1000, n=n, sd=0.05, phi=phi, noise=noise)
    assert share_of_two_levels(series) <= 0.005


@pytest.mark.parametrize("upper", [0.2, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("phi", [0.0, 0.6])
def test_two_levels_are_found_where_they_are_far_apart(upper: float, phi: float) -> None:
    """Eight deviations of 0.5 % apart, in any order: the switching of a clock, say."""
    generator = np.random.default_rng(5)
    series = steady(19, runs=300, n=100, sd=0.005, phi=phi)
    series = series * np.where(generator.random(series.shape) < upper, 1.04, 1.0)
    assert share_of_two_levels(series) >= 0.95


def test_two_levels_less_than_two_percent_apart_are_not_worth_a_doubt() -> None:
    times = [STEP_SECONDS * (1.015 if i % 2 else 1.0) for i in range(100)]
    assert_raised(check("levels", of_steps(times)), SOUND)
    times = [STEP_SECONDS * (1.025 if i % 2 else 1.0) for i in range(100)]
    assert_raised(check("levels", of_steps(times)), DOUBTFUL)


@pytest.mark.parametrize(
    ("lengths", "is_raised"),
    [([50, 50], SOUND), ([30, 40, 30], SOUND), ([20] * 5, DOUBTFUL), ([3] * 34, DOUBTFUL)],
)
def test_switching_to_and_fro_is_told_whatever_its_rhythm_and_a_change_for_good_is_not(
    lengths: list[int], is_raised: bool
) -> None:
    level = np.repeat([1.0 + 0.1 * (i % 2) for i in range(len(lengths))], lengths)
    times = STEP_SECONDS * level * steady(11, runs=1, n=len(level), sd=0.005)[0]
    assert_raised(check("levels", of_steps(times)), is_raised)


def test_a_known_split_has_its_known_figures() -> None:
    levels = find_bimodality([1.0, 2.0, 1.0, 2.0, 2.0])
    assert levels is not None
    assert levels.separation == pytest.approx(1.0)
    assert levels.gap == pytest.approx(1.0)
    assert levels.upper_share == pytest.approx(0.6)
    assert levels.switches == 3
    even = find_bimodality(np.exp(np.arange(10_001) / 10_000))
    assert even is not None
    assert even.separation == pytest.approx(0.75, abs=1e-3)
    sine = find_bimodality(np.exp(np.sin(np.linspace(0, 200 * math.pi, 20_001))))
    assert sine is not None
    assert sine.separation == pytest.approx(8 / math.pi**2, abs=1e-3)


def test_equal_samples_and_a_lone_one_have_no_levels() -> None:
    assert find_bimodality([0.1] * 50) is None
    assert find_bimodality([0.1]) is None
    assert find_bimodality([]) is None
    assert_raised(check("levels", of_steps([0.05] * 50)), SOUND)


def test_too_few_samples_for_levels_are_not_judged() -> None:
    times = [STEP_SECONDS * (1.5 if i % 2 else 1.0) for i in range(29)]
    assert check("levels", of_steps(times)).verdict == "not_judged"


@given(st.lists(st.floats(1e-9, 1e8), max_size=60))
def test_a_split_of_anything_is_within_its_bounds(samples: list[float]) -> None:
    levels = find_bimodality(samples)
    if levels is not None:
        assert 0 <= levels.separation <= 1
        assert levels.gap >= 0
        assert 0.1 <= levels.upper_share <= 0.9
