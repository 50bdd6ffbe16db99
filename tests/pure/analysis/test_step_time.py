"""From timed blocks to step times: which count, and how well they are known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import STEP_SECONDS, make_blocks, steady_times
from trnbench.analysis.statistics import mean_interval, median_interval
from trnbench.analysis.step_time import losses_by_step, summarize

TIMES = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=40)


def test_warm_up_and_measured_steps_are_told_apart() -> None:
    summary = summarize(make_blocks(steady_times(40), warmup=8, steps=5))
    assert summary.warmup_steps == 8
    assert summary.measured_steps == 200
    assert summary.steps_per_sample == 5
    assert len(summary.samples) == 40
    assert summary.first_step_seconds == STEP_SECONDS


def test_a_warm_up_found_among_the_samples_is_counted_as_warm_up() -> None:
    slow = [3 * t for t in steady_times(12)]
    summary = summarize(make_blocks([*slow, *steady_times(88)], warmup=8))
    assert summary.warmup_steps == 8 + 12 + 6
    assert summary.measured_steps == 100 - 18
    assert summary.step_times is not None
    assert summary.step_times.mean.value == pytest.approx(STEP_SECONDS, rel=0.01)


def test_fewer_than_three_samples_have_no_interval() -> None:
    summary = summarize(make_blocks([0.1, 0.1]))
    assert summary.step_times is None
    assert summary.steady is None
    assert summarize([]).timed_seconds == 0


def test_the_interval_is_widened_for_looking_and_for_other_launches() -> None:
    times = steady_times(60)
    found = summarize(make_blocks(times)).step_times
    assert found is not None
    mean, median = mean_interval(times), median_interval(times)
    for wide, narrow in ((found.mean, mean), (found.median, median)):
        expected = narrow.value * math.hypot(1.05 * narrow.relative_half_width, 1.96 * 0.005)
        assert (wide.high - wide.low) / 2 == pytest.approx(expected, rel=1e-9)
        assert "prior-widened" in wide.method
    assert found.relative_half_width == pytest.approx(
        1.05 * max(mean.relative_half_width, median.relative_half_width)
    )


def test_the_span_reaches_from_the_first_block_to_the_last() -> None:
    blocks = make_blocks([0.1] * 10, gap_seconds=0.02)
    summary = summarize(blocks)
    assert summary.timed_seconds == pytest.approx(1.0)
    assert summary.spanned_seconds == pytest.approx(1.0 + 9 * 0.02)


def test_losses_come_in_the_order_of_steps_with_the_oracles() -> None:
    blocks = make_blocks([0.1, 0.1], warmup=1, steps=2, loss=float)
    assert [loss for loss, _ in losses_by_step(blocks)] == [0, 1, 2, 3, 4]
    assert {oracle for _, oracle in losses_by_step(blocks)} == {0.73}


@given(TIMES)
def test_twice_the_time_is_twice_the_step(times: list[float]) -> None:
    one, two = (summarize(make_blocks([k * t for t in times])).step_times for k in (1, 2))
    assert one is not None
    assert two is not None
    assert two.mean.value == pytest.approx(2 * one.mean.value, rel=1e-6)
    assert two.mean.high == pytest.approx(2 * one.mean.high, rel=1e-6)


@given(TIMES)
def test_the_interval_holds_the_estimate(times: list[float]) -> None:
    found = summarize(make_blocks(times)).step_times
    assert found is not None
    for interval in (found.mean, found.median):
        assert interval.low < interval.value < interval.high
