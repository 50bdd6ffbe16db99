"""Scaling efficiency: a job's speed per device over that of one device at the same work."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import H100S, job_results, make_job_plan, make_result, make_single, steady_times
from trnbench.analysis.scaling import NAME, NO_BASE, find_scaling, with_scaling
from trnbench.protocol.parallel import Layout
from trnbench.schema.result import MetricValue, Result

JOB, ALONE, CORE = job_results()


def with_rate(result: Result, value: float, error: float | None) -> Result:
    """Return a result with this rate a device, and this relative standard error."""
    spread = None if error is None else math.exp(1.959964 * error)
    rate = MetricValue(
        value=value,
        low=None if spread is None else value / spread,
        high=None if spread is None else value * spread,
    )
    metrics = {**result.metrics, "tokens_per_second_per_device": rate}
    return result.model_copy(update={"metrics": metrics})


def with_tokens(result: Result, tokens: int, **changes: Any) -> Result:
    work = result.workload.model_copy(update={"tokens_per_step": tokens})
    return result.model_copy(update={"workload": work, **changes})


def test_its_interval_is_that_of_two_independent_figures() -> None:
    found = find_scaling(with_rate(JOB, 900.0, 0.003), [with_rate(ALONE, 1000.0, 0.004)])
    assert found is not None
    efficiency = found.efficiency
    assert efficiency.value == pytest.approx(0.9)
    assert efficiency.low == pytest.approx(0.9 * math.exp(-1.959964 * 0.005))
    assert efficiency.high == pytest.approx(0.9 * math.exp(1.959964 * 0.005))


def test_without_an_interval_of_both_it_has_none() -> None:
    found = find_scaling(with_rate(JOB, 900.0, None), [with_rate(ALONE, 1000.0, 0.004)])
    assert found is not None
    assert found.efficiency == MetricValue(value=0.9)


def test_as_many_tokens_a_device_are_preferred_to_as_many_in_all() -> None:
    tokens = JOB.workload.tokens_per_step
    weak = with_tokens(ALONE, tokens // 8, case_id="weak", started_at="2025-01-01T00:00:00+00:00")
    strong = find_scaling(JOB, [ALONE])
    both = find_scaling(JOB, [weak, ALONE])
    neither = find_scaling(JOB, [with_tokens(ALONE, tokens // 2)])
    assert strong is not None
    assert both is not None
    assert (strong.kind, both.kind, both.base.case_id) == ("strong", "weak", "weak")
    assert neither is None


def test_of_several_the_newest_is_taken() -> None:
    newer = ALONE.model_copy(update={"case_id": "newer", "started_at": "2026-09-01T00:00:00+00:00"})
    for among in ([newer, ALONE], [ALONE, newer]):
        found = find_scaling(JOB, among)
        assert found is not None
        assert found.base.case_id == "newer"


@pytest.mark.parametrize(
    "changes",
    [
        {"standing": "invalid"},
        {"environment": None},
        {"device": H100S.model_copy(update={"accelerator": "h200"})},
        {"workload": ALONE.workload.model_copy(update={"precision": "bf16"})},
        {"model": ALONE.model.model_copy(update={"parameter_count": 1})},
        {"parallel": JOB.parallel},
    ],
)
def test_another_work_or_device_is_no_base(changes: dict[str, Any]) -> None:
    assert find_scaling(JOB, [ALONE.model_copy(update=changes)]) is None


def test_a_processor_is_the_base_only_with_as_many_threads() -> None:
    assert ALONE.environment is not None
    threaded = ALONE.model_copy(update={"environment": replace(ALONE.environment, threads=2)})
    assert find_scaling(JOB, [threaded]) is None


def test_only_jobs_of_several_ranks_have_it_and_say_why_not() -> None:
    shown = with_scaling([JOB, ALONE, CORE])
    assert shown[0].metrics[NAME].value == pytest.approx(6.5 / 8, rel=1e-2)
    assert [NAME in each.metrics for each in shown] == [True, False, False]
    (lone,) = with_scaling([JOB])
    assert lone.metrics[NAME] == MetricValue(value=None, reason=NO_BASE)
    assert find_scaling(ALONE, [ALONE]) is None


def test_results_of_older_versions_are_of_one_rank() -> None:
    older = ALONE.model_copy(update={"parallel": None})
    assert find_scaling(JOB, [older]) is not None
    assert with_scaling([older]) == [older]


def test_a_job_without_a_figure_has_no_efficiency() -> None:
    plan = make_job_plan(Layout(), H100S.model_copy(update={"devices_used": 1}))
    few = make_result(plan, make_single(plan, steady_times(2)))
    assert find_scaling(JOB, [few]) is None
