"""Results of models that are not ours: where their operations are from, what nobody can tell."""

from dataclasses import replace

from tests.builders import as_external, make_blocks, make_measurement, make_plan, make_result
from trnbench.protocol.records import Block
from trnbench.schema.plan import Plan

UNCOUNTED = "torch's counter knows no operations of aten._grouped_mm"
MIXTURE = {"model": "tiny-moe"}


def imbalance_of(plan: Plan, blocks: list[Block] | None = None) -> tuple[float | None, str | None]:
    metric = make_result(plan, make_measurement(plan, blocks=blocks)).metrics["expert_imbalance"]
    return metric.value, metric.reason


def test_a_formula_that_is_trusted_stands_beside_no_reason_why_nothing_was_counted() -> None:
    plan = as_external(make_plan(MIXTURE), is_known=True, flops_reason=UNCOUNTED)
    utilization = make_result(plan, make_measurement(plan)).utilization
    assert utilization.flops_source == "its config, of a known family"
    assert utilization.flops_per_token
    assert utilization.flops_reason is None


def test_what_torch_could_not_count_says_why_it_has_no_mfu() -> None:
    plan = as_external(make_plan(), is_known=False, flops_reason=UNCOUNTED)
    result = make_result(plan, make_measurement(plan))
    assert result.utilization.flops_reason == UNCOUNTED
    assert result.metrics["mfu"].reason == UNCOUNTED


def test_a_mixture_whose_class_tells_nothing_of_its_experts_says_so() -> None:
    plan = as_external(make_plan(MIXTURE), is_known=True)
    value, reason = imbalance_of(plan)
    assert value is None
    assert reason == "TheirForCausalLM does not report how its experts were used"


def test_without_a_measured_step_nobody_blames_the_class() -> None:
    plan = as_external(make_plan(MIXTURE), is_known=True)
    assert imbalance_of(plan, make_blocks([])) == (None, "no step was measured")


def test_records_of_our_own_mixture_without_its_experts_are_told_as_that() -> None:
    assert imbalance_of(make_plan(MIXTURE)) == (
        None,
        "its records do not say how the experts were used",
    )


def test_how_experts_were_used_is_the_mean_over_measured_steps() -> None:
    blocks = make_blocks([0.05] * 8)
    told = [replace(block, expert_imbalances=[1.0 + i % 2]) for i, block in enumerate(blocks)]
    assert imbalance_of(make_plan(MIXTURE), told) == (1.5, None)


def test_an_external_model_of_unknown_sizes_may_have_experts_and_nobody_knows() -> None:
    assert imbalance_of(as_external(make_plan(MIXTURE), is_known=False)) == (
        None,
        "its sizes are not known, nor whether it has experts",
    )
    assert imbalance_of(make_plan()) == (None, "the model has no experts")
