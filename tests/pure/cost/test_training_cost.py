"""What it costs to train so many tokens: worked examples, and the laws that it must keep."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.cost.training import (
    PUBLISHED_FAILURES_PER_INSTANCE_DAY,
    Reliability,
    TrainingJob,
    checkpoint_interval_seconds,
    cost_to_train,
    range_to_train,
    seconds_with_failures,
)

NEVER = Reliability(failures_per_instance_day=0)
JOB = TrainingJob(tokens=1e12)


def rare(per_day: float, interval: float, blocked: float, restart: float) -> Reliability:
    return Reliability(
        failures_per_instance_day=per_day,
        checkpoint_interval_seconds=interval,
        checkpoint_seconds=blocked,
        restart_seconds=restart,
    )


@pytest.mark.parametrize(
    ("reliability", "goodput"),
    [
        (rare(0.5, 3600, 30, 600), "0.9780"),
        (rare(4, 1800, 60, 900), "0.8889"),
        (rare(6, 7200, 120, 1800), "0.6660"),
    ],
)
def test_goodput_is_what_was_worked_out_by_hand(reliability: Reliability, goodput: str) -> None:
    assert f"{1 / seconds_with_failures(1.0, reliability, 1):.4f}" == goodput


def test_a_simulated_job_takes_as_long() -> None:
    import random

    reliability, generator = rare(4, 1800, 60, 900), random.Random(7)
    per_second = 4 / 86_400
    cycles, total = 4000, 0.0
    for _ in range(cycles):
        while True:
            fails_at = generator.expovariate(per_second)
            if fails_at >= 1860:
                total += 1860
                break
            total += fails_at
            while (again := generator.expovariate(per_second)) < 900:
                total += again
            total += 900
    expected = seconds_with_failures(cycles * 1800, reliability, 1)
    assert total == pytest.approx(expected, rel=0.01)


def test_without_failures_only_checkpoints_are_added() -> None:
    never = replace(NEVER, checkpoint_interval_seconds=600, checkpoint_seconds=60)
    assert seconds_with_failures(6000, never, 8) == pytest.approx(6600)
    assert seconds_with_failures(6000, NEVER, 8) == 6000


def test_the_best_interval_is_youngs() -> None:
    day = Reliability(failures_per_instance_day=1, checkpoint_seconds=50)
    assert checkpoint_interval_seconds(day, 1) == pytest.approx(math.sqrt(2 * 50 * 86_400))
    assert checkpoint_interval_seconds(day, 4) == pytest.approx(math.sqrt(2 * 50 * 21_600))
    assert checkpoint_interval_seconds(NEVER, 4) is None
    best = seconds_with_failures(1.0, day, 1)
    for factor in (0.25, 4):
        other = replace(day, checkpoint_interval_seconds=factor * 2939.4)
        assert seconds_with_failures(1.0, other, 1) > best


def test_checkpoints_that_take_nothing_need_an_interval() -> None:
    free = Reliability(checkpoint_seconds=0)
    with pytest.raises(ValueError, match="give one"):
        seconds_with_failures(1.0, free, 1)
    assert seconds_with_failures(1.0, replace(free, checkpoint_interval_seconds=60), 1) > 1


def test_a_job_that_fails_faster_than_it_starts_never_ends() -> None:
    hopeless = rare(1e6, 3600, 60, 86_400)
    assert seconds_with_failures(1.0, hopeless, 1) == math.inf


def test_the_published_rate_is_the_papers_arithmetic() -> None:
    # 419 interruptions, 54 days, 2,048 machines of eight.
    assert f"{PUBLISHED_FAILURES_PER_INSTANCE_DAY:.6f}" == "0.003789"


def test_everything_that_is_paid_for_is_in_the_bill() -> None:
    job = TrainingJob(
        tokens=3.6e9, reliability=NEVER, start_seconds=600, compile_seconds=1200,
        evaluation_seconds=300, idle_seconds=1500,
    )  # fmt: skip
    found = cost_to_train(job, tokens_per_second=1e6, usd_per_hour=10, instances=2)
    assert found.productive_seconds == 3600
    assert found.total_seconds == 7200
    assert found.usd == pytest.approx(40)
    assert found.utilisation == pytest.approx(0.5)
    assert found.goodput == 1


def test_a_trillion_tokens_on_one_trn2_machine_by_hand() -> None:
    # 1e12 / 100,000 s = 10,000,000 s = 2,777.78 h at 35.7608 $/h = $99,335.56, failures aside.
    found = cost_to_train(
        TrainingJob(tokens=1e12, reliability=NEVER),
        tokens_per_second=100_000, usd_per_hour=35.7608, instances=1,
    )  # fmt: skip
    assert f"{found.usd:,.2f}" == "99,335.56"


def test_the_range_spans_the_speeds_interval_and_the_failures() -> None:
    found = range_to_train(
        JOB, tokens_per_second=(99_000, 100_000, 102_000), usd_per_hour=35.7608, instances=4
    )
    assert found.best.usd < found.expected.usd < found.worst.usd
    assert found.best.productive_seconds == pytest.approx(1e12 / 102_000)
    assert found.worst.productive_seconds == pytest.approx(1e12 / 99_000)
    assert found.best.goodput > found.expected.goodput > found.worst.goodput


speeds = st.floats(1e2, 1e8)
prices = st.floats(0.01, 1e4)


@given(speeds, prices, st.integers(2, 50))
def test_cost_is_linear_in_price_and_in_tokens(speed: float, price: float, factor: int) -> None:
    one = cost_to_train(JOB, tokens_per_second=speed, usd_per_hour=price, instances=2)
    dearer = cost_to_train(JOB, tokens_per_second=speed, usd_per_hour=price * factor, instances=2)
    longer = cost_to_train(
        replace(JOB, tokens=1e12 * factor), tokens_per_second=speed, usd_per_hour=price, instances=2
    )
    assert dearer.usd == pytest.approx(one.usd * factor, rel=1e-9)
    assert longer.usd == pytest.approx(one.usd * factor, rel=1e-9)


@given(speeds, prices, st.integers(2, 50))
def test_cost_is_inverse_in_speed(speed: float, price: float, factor: int) -> None:
    one = cost_to_train(JOB, tokens_per_second=speed, usd_per_hour=price, instances=2)
    faster = cost_to_train(JOB, tokens_per_second=speed * factor, usd_per_hour=price, instances=2)
    assert faster.usd * factor == pytest.approx(one.usd, rel=1e-9)


@given(st.floats(1e-4, 5), st.integers(1, 64))
def test_failures_only_ever_cost(per_day: float, instances: int) -> None:
    some = Reliability(failures_per_instance_day=per_day)
    more = Reliability(failures_per_instance_day=per_day * 2)
    assert seconds_with_failures(1.0, some, instances) >= 1
    assert seconds_with_failures(1.0, some, instances) <= seconds_with_failures(
        1.0, more, instances
    )
