"""A whole training on machines that are not here."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from trnbench.catalog.models import models
from trnbench.cost.training import Reliability, TrainingJob
from trnbench.estimate.calibration import Calibrated, Calibration
from trnbench.estimate.training import (
    TrainingEstimate,
    Wish,
    bend,
    curve,
    estimate_training,
    fewest_that_fit,
    merit,
    optimal_tokens,
    usual_batch,
)
from trnbench.schema.price import Price
from trnbench.units import SECONDS_PER_DAY

SHAPE = models()["llama3-8b"].shape
NO_FAILURES = Reliability(failures_per_instance_day=0.0, checkpoint_interval_seconds=3600.0)
WISH = Wish(
    shape=SHAPE, sequence_length=8192, global_batch_size=None, precision="bf16",
    job=TrainingJob(tokens=1e12, reliability=NO_FAILURES),
)  # fmt: skip
MADE_UP = Calibrated(
    chip="h100-sxm",
    kind="dense_bf16",
    slowness=1.5,
    low=1.2,
    high=2.0,
    rows=9,
    chips=8,
    sources="one|two",
)
KNOWN = Calibration(rows={("h100-sxm", "dense_bf16"): MADE_UP})
PRICE = Price(
    instance="p5.48xlarge", option="on_demand", region="us-east-1", usd_per_hour=Decimal(50),
    date=date(2026, 9, 1), source="made up",
)  # fmt: skip


def estimated(
    count: int | None = 4, wish: Wish = WISH, known: Calibration = KNOWN
) -> TrainingEstimate:
    found = estimate_training(wish, "p5.48xlarge", count, [PRICE], None, known)
    assert found is not None
    return found


def test_days_and_dollars_follow_from_the_step() -> None:
    found = estimated()
    step = found.step
    assert step.seconds is not None
    steps = 1e12 / found.setup.tokens
    with_checkpoints = steps * step.seconds * (1 + 60 / 3600)
    assert found.seconds[1] == pytest.approx(with_checkpoints)
    assert found.usd == pytest.approx(with_checkpoints / 3600 * 50 * 4)
    assert found.offers[0].billed_usd == pytest.approx(found.usd)


def test_the_range_is_the_step_s_and_twice_the_failures() -> None:
    best, expected, worst = estimated().seconds
    assert expected is not None
    assert worst is not None
    assert best / expected == pytest.approx(1.2 / 1.5)
    assert worst / expected == pytest.approx(2.0 / 1.5)
    failing = replace(WISH, job=TrainingJob(tokens=1e12))
    _, usual, late = estimated(wish=failing).seconds
    assert usual is not None
    assert late is not None
    assert late / usual > 2.0 / 1.5


def test_a_chip_without_data_has_the_least_that_physics_allows_and_no_more() -> None:
    found = estimated(known=Calibration())
    assert not found.step.has_data
    assert found.seconds[1:] == (None, None)
    assert found.seconds[0] < (estimated().seconds[1] or 0.0)
    assert found.usd == found.offers[0].cost.best.usd


@pytest.mark.parametrize("days", [400, 40, 10])
def test_the_fewest_instances_keep_a_deadline(days: float) -> None:
    wish = replace(WISH, within_seconds=days * SECONDS_PER_DAY)
    found = estimated(None, wish)
    assert found.is_in_time
    if found.instances > 1:
        assert not estimated(found.instances // 2, wish).is_in_time


def test_more_instances_are_taken_until_it_fits() -> None:
    wish = replace(WISH, shape=models()["llama3.1-405b"].shape)
    assert not estimated(1, wish).fits
    enough = fewest_that_fit(wish, "p5.48xlarge")
    assert enough is not None
    assert estimated(enough, wish).fits
    assert not estimated(enough // 2, wish).fits
    assert estimated(None, wish).instances == enough


def test_the_chosen_layout_is_the_fastest_that_fits_and_the_next_is_explained() -> None:
    found = estimated()
    other = found.runner_up
    assert other is not None
    assert other.slower >= 0
    assert other.setup.layout != found.setup.layout
    assert other.step.parts.get(other.because, 0.0) > found.step.parts.get(other.because, 0.0)
    assert found.setup.layout.world_size == 32


def test_ever_more_instances_keep_less_of_a_chip_s_speed() -> None:
    points = curve(WISH, "p5.48xlarge", [PRICE], None, KNOWN)
    assert [each.instances for each in points[:4]] == [1, 2, 4, 8]
    speeds = [each.step.tokens_per_second_per_chip or 0.0 for each in points]
    bent = bend(points)
    assert bent is not None
    at = points.index(bent)
    assert min(speeds[:at]) >= 0.8 * max(speeds) > speeds[at]


@pytest.mark.parametrize("devices", [1, 8, 24, 96, 4096, 100_000])
def test_the_usual_batch_is_four_mi_tokens_that_data_ranks_can_share(devices: int) -> None:
    batch = usual_batch(SHAPE, 8192, devices)
    assert batch * 8192 == pytest.approx(4 * 2**20, rel=0.3)
    assert any(batch % ranks == 0 for ranks in divisors(devices) if ranks >= min(devices, 256))


def divisors(number: int) -> Iterator[int]:
    return (each for each in range(1, number + 1) if number % each == 0)


def test_compute_optimal_is_twenty_tokens_a_weight() -> None:
    assert optimal_tokens(SHAPE) == 20 * 8_030_261_248


def test_a_batch_that_no_layout_divides_has_no_estimate() -> None:
    wish = replace(WISH, global_batch_size=7)
    assert estimate_training(wish, "p5.48xlarge", 3, [], None, KNOWN) is None


def test_what_fits_is_first_then_what_has_data_then_the_cheapest() -> None:
    one, four = estimated(1), estimated(4)
    without = estimated(4, known=Calibration())
    large = estimated(1, replace(WISH, shape=models()["llama3.1-405b"].shape))
    found = sorted([large, without, one, four], key=merit)
    assert found[2:] == [without, large]
    assert (found[0].usd or math.inf) <= (found[1].usd or 0.0)
