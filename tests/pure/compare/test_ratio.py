"""The ratio of two sides: known answers, other libraries' answers, and what must always hold."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tests.comparisons import BASE, CAND
from trnbench.analysis.statistics import BETWEEN_LAUNCH_SD, interval_of
from trnbench.compare.ratio import (
    UNSEEN_LAUNCH_SD,
    LogDifference,
    Sample,
    adjust,
    find_difference,
    launches_needed,
    permutation_p,
    planning_deviation,
)

values = st.floats(1e-6, 1e12)
sides = st.lists(values, min_size=1, max_size=9).map(tuple)
parts = st.floats(0, 1)


def sample(launches: Sequence[float], error: float | None = 0.001) -> Sample:
    return Sample(values=tuple(launches), errors=(error,) * len(launches))


def difference(
    base: Sequence[float], cand: Sequence[float], *, is_alike: bool = True, is_paired: bool = False
) -> LogDifference:
    found = find_difference(sample(base), sample(cand), is_alike=is_alike, is_paired=is_paired)
    assert isinstance(found, LogDifference)
    return found


def test_the_public_known_answer_is_reproduced() -> None:
    found = difference(BASE, CAND)
    assert found.method == "welch"
    assert math.exp(found.value) == pytest.approx(1.021645928404, rel=1e-9)
    assert found.degrees_of_freedom == pytest.approx(9.108605645471, rel=1e-9)
    assert found.value / found.standard_error == pytest.approx(11.655638803475, rel=1e-9)
    assert found.p_value() == pytest.approx(8.8806e-07, rel=1e-4)
    assert math.exp(found.low()) == pytest.approx(1.017416171052, rel=1e-9)
    assert math.exp(found.high()) == pytest.approx(1.025893270346, rel=1e-9)


def test_welch_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    for count in (3, 5, 8):
        base, cand = np.exp(rng.normal(0, 0.02, count)), np.exp(rng.normal(0.01, 0.05, count + 2))
        theirs = scipy.stats.ttest_ind(np.log(cand), np.log(base), equal_var=False)
        ours = difference(base.tolist(), cand.tolist())
        assert ours.p_value() == pytest.approx(theirs.pvalue, rel=1e-9)
        limits = theirs.confidence_interval(0.95)
        assert (ours.low(), ours.high()) == pytest.approx((limits.low, limits.high), rel=1e-9)


def test_paired_launches_agree_with_scipy() -> None:
    theirs = scipy.stats.ttest_rel(np.log(CAND), np.log(BASE))
    ours = difference(BASE, CAND, is_paired=True)
    assert ours.method == "paired"
    assert ours.p_value() == pytest.approx(theirs.pvalue, rel=1e-9)


def test_one_fresh_launch_is_held_against_the_spread_of_the_baseline() -> None:
    pooled = difference(BASE, CAND[:1])
    deviation = float(np.std(np.log(BASE), ddof=1))
    assert pooled.method == "pooled"
    assert pooled.degrees_of_freedom == 5
    assert pooled.standard_error == pytest.approx(deviation * math.sqrt(1 / 6 + 1))


def test_the_spread_of_one_device_says_nothing_of_another() -> None:
    found = difference(BASE, CAND[:1], is_alike=False)
    assert found.method == "assumed"
    assert found.degrees_of_freedom is None
    assert found.standard_error > UNSEEN_LAUNCH_SD


def test_single_launches_are_taken_to_differ_as_much_as_any_that_were_seen() -> None:
    found = difference((1.0,), (1.0,))
    assert found.half_width() == pytest.approx(1.96 * 0.0208 * math.sqrt(2), rel=0.01)


def test_two_launches_far_apart_widen_what_is_assumed() -> None:
    near = difference((1.0, 1.001), (1.0,), is_alike=False)
    far = difference((1.0, 1.2), (1.0,), is_alike=False)
    assert far.standard_error > 2 * near.standard_error


def test_figures_without_an_interval_need_launches_that_tell_one() -> None:
    alone = find_difference(sample((9.0,), None), sample((9.0,), None), is_alike=True)
    assert alone == "one launch a side cannot show how launches differ"
    several = find_difference(sample((9.0, 9.1), None), sample((9.0, 9.2), None), is_alike=True)
    assert isinstance(several, LogDifference)


def test_launches_that_took_the_very_same_time_tell_no_spread() -> None:
    assert difference((0.25,) * 4, (0.25,) * 4).method == "assumed"


def test_counted_figures_may_be_the_very_same() -> None:
    found = find_difference(sample((512,) * 4, None), sample((768,) * 4, None), is_alike=True)
    assert isinstance(found, LogDifference)
    assert (found.standard_error, found.p_value()) == (0, 0)
    assert found.least_change() == 0


@given(sides, sides)
def test_swapping_the_sides_inverts_the_ratio_and_its_interval(
    base: tuple[float, ...], cand: tuple[float, ...]
) -> None:
    there, back = difference(base, cand), difference(cand, base)
    assert there.value == -back.value
    assert (there.low(), there.high()) == pytest.approx((-back.high(), -back.low()), rel=1e-12)
    assert there.p_value() == pytest.approx(back.p_value(), rel=1e-9, abs=1e-300)


@given(sides, sides, st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(
    base: tuple[float, ...], cand: tuple[float, ...], scale: float
) -> None:
    here = difference(base, cand)
    scaled = difference([scale * x for x in base], [scale * x for x in cand])
    assert scaled.value == pytest.approx(here.value, abs=1e-9)
    assert scaled.standard_error == pytest.approx(here.standard_error, rel=1e-6, abs=1e-9)


@given(sides, sides)
def test_the_interval_holds_the_estimate_and_all_is_finite(
    base: tuple[float, ...], cand: tuple[float, ...]
) -> None:
    found = difference(base, cand)
    assert found.low() <= found.value <= found.high()
    assert 0 <= found.p_value() <= 1
    assert all(map(math.isfinite, (found.low(), found.high(), found.least_change())))
    one = interval_of((side := sample(base)).values, side.errors)
    assert one is not None
    assert 0 < one[1] <= one[0] * (1 + 1e-9)
    assert one[0] <= one[2] * (1 + 1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_agree_with_their_definitions(p_values: list[float]) -> None:
    assert adjust(p_values, "none") == p_values
    theirs = scipy.stats.false_discovery_control(p_values, method="bh")
    assert adjust(p_values, "bh") == pytest.approx(theirs.tolist(), rel=1e-9)
    holm = adjust(p_values, "holm")
    for mine, p in zip(holm, p_values, strict=True):
        beside = [other for other in p_values if other < p]
        worst = max(
            min(1.0, (len(p_values) - sum(x < other for x in p_values)) * other)
            for other in [*beside, p]
        )
        assert mine == pytest.approx(worst, rel=1e-9)


def test_nothing_is_corrected_to_nothing() -> None:
    assert adjust([], "holm") == adjust([], "bh") == []


def test_the_permutation_agrees_with_scipy() -> None:
    base, cand = BASE[:5], (0.999, 1.010, 1.004, 1.001)

    def apart(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean(x) - np.mean(y))

    theirs = scipy.stats.permutation_test(
        (np.log(base), np.log(cand)), apart, n_resamples=np.inf, permutation_type="independent"
    )
    # Theirs doubles one tail, ours counts both: they differ by the skew of so few divisions.
    assert permutation_p(sample(base), sample(cand)) == pytest.approx(theirs.pvalue, abs=0.03)


def test_a_permutation_of_wholly_divided_sides_is_as_small_as_it_can_be() -> None:
    assert permutation_p(sample(BASE[:4]), sample(CAND[:4])) == pytest.approx(2 / 70)
    assert permutation_p(sample(BASE[:3]), sample(CAND)) is None
    assert permutation_p(sample(BASE * 2), sample(CAND * 2)) is None


@pytest.mark.parametrize(
    ("deviation", "change", "count"),
    [(0.003, 0.02, 4), (0.005, 0.02, 4), (0.01, 0.02, 10), (0.005, 0.01, 10), (0.5, 0.001, None)],
)
def test_the_launches_needed_are_those_that_halve_the_change(
    deviation: float, change: float, count: int | None
) -> None:
    assert launches_needed(deviation, change) == count
    if count is not None:
        t = scipy.stats.t.ppf(0.975, 2 * count - 2)
        assert t * deviation * math.sqrt(2 / count) <= math.log1p(change) / 2


@given(st.floats(1e-4, 0.05), st.floats(0.002, 0.5))
def test_more_noise_never_needs_fewer_launches(deviation: float, change: float) -> None:
    few, many = launches_needed(deviation, change), launches_needed(2 * deviation, change)
    assert many is None or (few is not None and few <= many)


def test_launches_are_planned_by_what_was_seen_or_else_by_what_is_usual() -> None:
    assert planning_deviation(difference((1.0,), (1.0,))) == BETWEEN_LAUNCH_SD
    seen = difference(BASE, CAND)
    assert planning_deviation(seen) == seen.launch_deviation


def test_the_least_change_is_found_as_often_as_is_said() -> None:
    rng = np.random.default_rng(20)
    spread, found = 0.005, 0
    least = float(np.median([
        difference(*np.exp(rng.normal(0, spread, (2, 6))).tolist()).least_change()
        for _ in range(200)
    ]))  # fmt: skip
    for _ in range(1500):
        base, cand = np.exp(rng.normal(0, spread, (2, 6)))
        found += difference(base.tolist(), ((1 + least) * cand).tolist()).p_value() < 0.05
    assert found / 1500 == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize(("count", "spread"), [(4, 0.003), (6, 0.005), (6, 0.01)])
def test_intervals_cover_the_ratio_as_often_as_they_say(count: int, spread: float) -> None:
    rng = np.random.default_rng(count)
    held = 0
    for _ in range(2000):
        base, cand = np.exp(rng.normal(0, spread, (2, count)))
        found = difference(base.tolist(), (1.03 * cand).tolist())
        held += found.low() <= math.log(1.03) <= found.high()
    assert 0.93 <= held / 2000 <= 0.97
