"""The rule: a floor of warm-up, one length of sample, and a stop that always comes."""

import math
from itertools import chain, cycle, repeat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pure.run.scripted_worker import ScriptedWorker, make_block, make_measure, steady
from trnbench.analysis.statistics import mean_interval, median_interval
from trnbench.protocol.orders import Finish, RunBlock
from trnbench.run.stopping import (
    MAX_STEPS_PER_SAMPLE,
    PILOT_STEPS,
    SYNC_PILOT_STEPS,
    WARMUP_FLOOR_STEPS,
    StoppingRule,
)
from trnbench.schema.measurement import StopReason

FLOOR = WARMUP_FLOOR_STEPS + PILOT_STEPS


def make_rule(
    *, is_asynchronous: bool = False, limit: StopReason = "max_minutes", **limits: float
) -> StoppingRule:
    rule = StoppingRule(make_measure(**limits), limit)
    rule.is_asynchronous = is_asynchronous
    return rule


def noisy(seconds: float, spread: float, seed: int = 1) -> list[float]:
    drawn = np.random.default_rng(seed).normal(seconds, seconds * spread, 20_000)
    return [float(value) for value in np.abs(drawn) + 1e-9]


# --- the length of a sample ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step_seconds", "window"),
    [(7.0, 1), (0.05, 1), (0.049, 5), (0.001, 200), (0.00003, MAX_STEPS_PER_SAMPLE)],
)
def test_a_sample_is_one_long_step_or_a_fifth_of_a_second_of_short_ones(
    step_seconds: float, window: int
) -> None:
    worker = ScriptedWorker(make_rule(), steady(step_seconds)).run()
    assert worker.blocks("warmup") == [1] * FLOOR
    assert set(worker.blocks("measure")) == {window}
    assert [choice.value for choice in worker.chosen("window")] == [window]


def test_the_first_steps_do_not_decide_the_length_of_a_sample() -> None:
    # The first steps compile and allocate; only those after the floor are looked at.
    times = chain([60.0, 5.0, 1.0], repeat(0.01))
    worker = ScriptedWorker(make_rule(), times).run()
    assert set(worker.blocks("measure")) == {20}


def test_one_slow_pilot_step_does_not_decide_it_either() -> None:
    times = chain([0.01] * 5, [3.0], repeat(0.01))
    worker = ScriptedWorker(make_rule(), times).run()
    assert set(worker.blocks("measure")) == {20}


def test_an_asynchronous_device_is_asked_what_waiting_after_each_step_costs() -> None:
    rule = make_rule(is_asynchronous=True)
    worker = ScriptedWorker(rule, steady(0.1), wait_seconds=0.0).run()
    singles = WARMUP_FLOOR_STEPS + SYNC_PILOT_STEPS
    assert worker.blocks("warmup") == [1] * singles + [SYNC_PILOT_STEPS]
    assert set(worker.blocks("measure")) == {1}


def test_where_waiting_costs_more_than_a_percent_a_sample_is_several_steps() -> None:
    rule = make_rule(is_asynchronous=True)
    worker = ScriptedWorker(rule, steady(0.1), wait_seconds=0.1).run()
    # Together a step takes 0.105 s, so a fifth of a second holds two; alone it takes 0.2 s.
    assert set(worker.blocks("measure")) == {2}
    (window,) = worker.chosen("window")
    assert "waiting after each costs 90.5%" in window.why


def test_of_a_very_long_step_no_pilot_is_made() -> None:
    rule = make_rule(is_asynchronous=True, max_samples=50)
    worker = ScriptedWorker(rule, steady(2.0), wait_seconds=0.5).run()
    assert worker.blocks("warmup") == [1] * FLOOR
    assert set(worker.blocks("measure")) == {1}


# --- the stop -----------------------------------------------------------------------------------


def test_it_stops_as_soon_as_the_interval_is_narrow_enough() -> None:
    rule = make_rule(relative_precision=0.01)
    times = noisy(0.1, 0.005)
    worker = ScriptedWorker(rule, times).run()
    assert worker.stop == "precise"
    assert rule.samples == 50
    samples = times[FLOOR : FLOOR + 50]
    widths = [f(samples).relative_half_width for f in (mean_interval, median_interval)]
    # Five percent wider than either, because the rule has looked at the data.
    assert rule.relative_half_width == pytest.approx(1.05 * max(widths))
    assert 1.05 * max(widths) <= 0.01


def test_it_does_not_stop_before_the_seconds_that_were_asked_for() -> None:
    rule = make_rule(min_seconds=30.0)
    worker = ScriptedWorker(rule, noisy(0.1, 0.002)).run()
    assert worker.stop == "precise"
    assert 300 <= rule.samples < 400
    assert rule.mean_step_seconds == pytest.approx(0.1, rel=0.001)


def test_seconds_are_those_of_the_samples_and_not_of_their_steps() -> None:
    rule = make_rule(min_seconds=30.0)
    ScriptedWorker(rule, noisy(0.01, 0.01)).run()  # 20 steps, so 0.2 s, a sample
    assert 150 <= rule.samples < 200


def test_a_noisy_case_ends_with_the_number_of_samples_of_the_plan() -> None:
    rule = make_rule(relative_precision=0.0001, max_samples=90)
    worker = ScriptedWorker(rule, noisy(0.1, 0.2)).run()
    assert worker.stop == "max_samples"
    assert rule.samples == 90


@pytest.mark.parametrize("limit", ["max_minutes", "max_usd"])
def test_a_spent_budget_stops_with_the_limit_that_came_first(limit: StopReason) -> None:
    rule = make_rule(limit=limit, relative_precision=0.0001)
    worker = ScriptedWorker(rule, noisy(0.1, 0.2), spend=lambda elapsed: elapsed > 3).run()
    assert worker.stop == limit
    assert 3 < worker.seconds < 3.5


def test_a_budget_that_is_spent_at_once_buys_nothing() -> None:
    worker = ScriptedWorker(make_rule(), steady(1.0), spend=lambda elapsed: True).run()
    assert (worker.stop, worker.commands) == ("max_minutes", [])


@pytest.mark.parametrize("name", ["losses", "gradient_norms"])
@pytest.mark.parametrize("after", [1, 20])
def test_a_value_that_is_not_finite_stops_it_at_once(name: str, after: int) -> None:
    rule = make_rule()
    for number in range(after):
        command = rule.next_command(is_out_of_budget=False)
        assert isinstance(command, RunBlock)
        block = make_block(command, number, 0.1 * command.steps)
        if number == after - 1:
            getattr(block, name)[-1] = None
        rule.observe(block)
    assert isinstance(rule.next_command(is_out_of_budget=False), Finish)
    (stop,) = [choice for choice in rule.take_decisions() if choice.what == "stop"]
    assert stop.why.startswith("not_finite:")


def test_a_narrow_interval_over_times_that_still_change_is_not_trusted() -> None:
    # Each step is a little slower than the last; the spread alone would soon be small enough.
    times = [own * 1.0005**number for number, own in enumerate(noisy(0.1, 0.01)[:1000])]
    worker = ScriptedWorker(make_rule(relative_precision=0.1, max_samples=400), times).run()
    assert worker.stop == "max_samples"
    looks = worker.chosen("look")
    assert max(look.value for look in looks) < 0.1
    assert not [look.why for look in looks if look.why.endswith("samples, steady")]


def test_a_mean_that_a_few_stalls_decide_is_not_trusted() -> None:
    times = chain(repeat(0.1, FLOOR), cycle([*([0.1] * 24), 0.4]))
    worker = ScriptedWorker(make_rule(relative_precision=0.2, max_samples=100), times).run()
    assert worker.stop == "max_samples"
    assert any("stalls" in look.why for look in worker.chosen("look"))


def test_a_late_warm_up_must_be_followed_by_many_samples() -> None:
    times = chain(repeat(0.2, FLOOR + 40), noisy(0.1, 0.005))
    worker = ScriptedWorker(make_rule(relative_precision=0.05), times).run()
    assert worker.stop == "precise"
    assert len(worker.blocks("measure")) >= 40 + 150
    assert any("warm-up took" in look.why for look in worker.chosen("look"))


def test_each_look_is_recorded_and_they_grow_rarer() -> None:
    rule = make_rule(relative_precision=0.0001, max_samples=200)
    worker = ScriptedWorker(rule, noisy(0.1, 0.05)).run()
    looks = worker.chosen("look")
    assert [look.why.partition(" ")[0] for look in looks] == [
        "50", "63", "79", "99", "124", "155", "194", "200",
    ]  # fmt: skip
    assert [look.value for look in looks][-1] == rule.relative_half_width


def test_the_last_sample_is_looked_at_once() -> None:
    rule = make_rule(relative_precision=0.0001, min_samples=50, max_samples=63)
    worker = ScriptedWorker(rule, noisy(0.1, 0.05)).run()
    assert [look.why.partition(" ")[0] for look in worker.chosen("look")] == ["50", "63"]


def test_choices_are_handed_over_once() -> None:
    rule = make_rule()
    ScriptedWorker(rule, steady(1.0)).run()
    assert rule.take_decisions() == []
    assert isinstance(rule.next_command(is_out_of_budget=True), Finish)
    assert rule.take_decisions() == [], "a second reason was given for one stop"


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    scale=st.floats(1e-6, 10.0),
    spread=st.floats(0.0, 2.0),
    wait=st.floats(0.0, 1.0),
    is_asynchronous=st.booleans(),
    min_samples=st.integers(8, 60),
    max_samples=st.integers(8, 120),
    precision=st.floats(1e-6, 0.5),
    min_seconds=st.floats(0, 100),
)
def test_whatever_the_times_it_ends_after_a_warm_up_with_samples_of_one_length(
    seed: int,
    scale: float,
    spread: float,
    wait: float,
    is_asynchronous: bool,
    min_samples: int,
    max_samples: int,
    precision: float,
    min_seconds: float,
) -> None:
    rule = make_rule(
        is_asynchronous=is_asynchronous,
        min_samples=min_samples,
        max_samples=max_samples,
        relative_precision=precision,
        min_seconds=min_seconds,
    )
    draws = np.random.default_rng(seed).lognormal(math.log(scale), spread, 10_000)
    worker = ScriptedWorker(rule, cycle(map(float, draws)), wait_seconds=wait * scale).run()
    measured = worker.blocks("measure")
    assert worker.stop in ("precise", "max_samples")
    assert min(min_samples, max_samples) <= len(measured) <= max_samples
    assert len(set(measured)) == 1
    purposes = [command.purpose for command in worker.commands]
    assert purposes[:FLOOR] == ["warmup"] * FLOOR
    assert purposes == sorted(purposes, reverse=True), "warm-up after the first sample"
