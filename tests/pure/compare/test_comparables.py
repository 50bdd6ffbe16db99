"""What is read of a launch: figures, what they rest on, or why there are none."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_activity, make_measurement, make_plan, make_result
from tests.comparisons import launch
from trnbench.analysis.metrics import METRICS
from trnbench.compare.launches import Launch, make_launch
from trnbench.compare.metrics import COMPARABLES, Reading, steps_to_target
from trnbench.schema.result import MetricValue

TARGET = 0.25


def read(name: str, one: Launch) -> Reading:
    return COMPARABLES[name].read(one, TARGET)


def of_metric(value: MetricValue) -> Launch:
    one = launch()
    metrics = {**one.result.metrics, "tokens_per_second": value}
    return dataclasses.replace(one, result=one.result.model_copy(update={"metrics": metrics}))


def compiled(**changes: object) -> Launch:
    plan = make_plan()
    activity = dataclasses.replace(make_activity(1), **changes)  # type: ignore[arg-type]
    measurement = make_measurement(plan, activities=[activity])
    return make_launch(make_result(plan, measurement), plan, measurement, digest="x")


def test_every_metric_of_a_result_that_is_compared_is_one() -> None:
    own = {"first_step_seconds", "tokens_to_target_loss", "usd_to_target_loss"}
    assert set(COMPARABLES) - own <= set(METRICS)


def test_the_error_inside_a_launch_is_read_from_its_interval() -> None:
    reading = read("tokens_per_second", launch())
    metric = launch().result.metrics["tokens_per_second"]
    assert reading.value == metric.value
    assert metric.value is not None
    assert metric.low is not None
    assert metric.high is not None
    assert reading.error == pytest.approx(
        (metric.high - metric.low) / 2 / 1.96 / metric.value, rel=1e-3
    )


@pytest.mark.parametrize(
    "value",
    [
        MetricValue(value=5.0, low=None, high=9.0),
        MetricValue(value=5.0),
        MetricValue(value=5.0, low=-1.0, high=9.0),
        MetricValue(value=5.0, low=0.0, high=9.0),
    ],
)
def test_an_interval_without_an_end_above_zero_tells_no_error(value: MetricValue) -> None:
    assert read("tokens_per_second", of_metric(value)) == Reading(value=5.0)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_only_a_figure_above_zero_has_a_ratio(value: float) -> None:
    reading = read("tokens_per_second", of_metric(MetricValue(value=value)))
    assert reading.value is None
    assert "has no ratio to anything" in (reading.reason or "")


def test_an_unknown_keeps_its_reason() -> None:
    reading = read("tokens_per_second", of_metric(MetricValue(value=None, reason="too few")))
    assert reading == Reading(value=None, reason="too few")


def test_a_metric_of_another_version_is_unknown() -> None:
    one = launch()
    result = one.result.model_copy(update={"metrics": {}})
    reading = read("mfu", dataclasses.replace(one, result=result))
    assert reading.value is None
    assert reading.reason is not None


# --- compiling ------------------------------------------------------------------------------------


def test_compile_time_is_that_of_all_programs() -> None:
    one = compiled(graphs=2, compilations=2, compile_seconds=[1.5, 2.5])
    assert read("compile_seconds", one) == Reading(value=4.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "nothing was compiled"),
        ({"compilations": None}, "does not report what was compiled"),
        ({"compilations": 3}, "does not report how long it took"),
        ({"cache_hits": 3}, "its programs were found compiled, and cold and cached are not"),
        (
            {"compilations": 1, "cache_hits": 2, "compile_seconds": [9.0]},
            "some of its programs were found compiled, and cold and cached are not compared",
        ),
    ],
)
def test_compile_time_that_is_not_comparable_has_a_reason(
    changes: dict[str, object], reason: str
) -> None:
    reading = read("compile_seconds", compiled(**changes))
    assert reading.value is None
    assert reason in (reading.reason or "")


def test_a_result_of_a_version_that_did_not_tell_has_no_compile_time() -> None:
    one = launch()
    result = one.result.model_copy(update={"compilation": None})
    assert read("compile_seconds", dataclasses.replace(one, result=result)).value is None


# --- the loss -------------------------------------------------------------------------------------


def with_losses(*excess: float | None) -> Launch:
    return dataclasses.replace(launch(), excess_losses=tuple(excess))


def test_the_steps_to_a_loss_are_interpolated_between_two_means() -> None:
    # Means over five: 1.0, 0.8, 0.6, 0.4, 0.2 after steps 5 to 9; 0.25 lies three quarters on.
    losses = with_losses(1, 1, 1, 1, 1, 0, 0, 0, 0)
    assert steps_to_target(losses, 0.25).value == pytest.approx(8.75)
    assert steps_to_target(losses, 1.0).value == 5


def test_a_loss_that_is_never_reached_has_no_steps() -> None:
    reading = steps_to_target(with_losses(*[1.0] * 30), 0.25)
    assert reading.value is None
    assert "in 30 steps its loss did not come within 0.25 nat" in (reading.reason or "")


def test_a_loss_that_is_no_number_ends_the_count() -> None:
    reading = steps_to_target(with_losses(1, 1, None, 1, 1, 0, 0, 0), 0.25)
    assert reading.reason == "a loss on the way was no number"


def test_without_records_the_loss_is_not_known() -> None:
    reading = read("usd_to_target_loss", launch(has_records=False))
    assert reading.reason == "its raw records, with the losses, were not kept"


def test_tokens_and_dollars_to_a_loss_follow_from_the_steps() -> None:
    one = launch()
    steps = steps_to_target(one, TARGET).value
    assert steps is not None
    tokens = read("tokens_to_target_loss", one).value
    assert tokens is not None
    assert tokens == pytest.approx(steps * 1024)
    cost = one.result.metrics["usd_per_million_tokens"].value
    assert cost is not None
    assert read("usd_to_target_loss", one).value == pytest.approx(tokens * cost / 1e6)


def test_without_a_price_there_are_no_dollars_to_a_loss() -> None:
    free = launch(overrides={"price": "{}"})
    assert read("usd_to_target_loss", free).value is None
    assert read("tokens_to_target_loss", free).value is not None


@given(st.floats(2, 40), st.floats(0.05, 1.0), st.floats(0.0, 1.0))
def test_a_lower_target_never_takes_fewer_steps(pace: float, target: float, lower: float) -> None:
    losses = with_losses(*(5 * math.exp(-step / pace) for step in range(400)))
    here = steps_to_target(losses, target).value
    there = steps_to_target(losses, target * (1 - lower * 0.5)).value
    assert here is not None
    assert there is None or there >= here
