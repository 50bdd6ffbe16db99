"""What a plan predicts: operations, memory and its verdict, time, dollars."""

from decimal import Decimal

import pytest

from tests.pure.run.plans import CPU, H100, make_case, plan_case
from trnbench.catalog.accelerators import Accelerator, accelerators
from trnbench.catalog.backends import BACKENDS
from trnbench.estimate.machine import machine_of
from trnbench.estimate.step import estimate_step
from trnbench.estimate.terms import Setup
from trnbench.model.flops import CONVENTIONS, flops_per_token
from trnbench.plan.device import Target
from trnbench.plan.predict import pipeline_bubble, predict
from trnbench.protocol.parallel import Layout
from trnbench.schema.plan import Plan, Prediction

TRN2 = {
    "model": "llama3-8b",
    "device": "neuron",
    "workload.sequence_length": "4096",
    "workload.global_batch_size": "64",
    "workload.micro_batch_size": "1",
    "parallel.tensor_parallel_size": "4",
    "parallel.data_parallel_shard_size": "16",
    "price.instance": "trn2.48xlarge",
}


def predict_on(plan: Plan, memory_bytes: float | None, chip: Accelerator | None) -> Prediction:
    """Predict a plan again for a device with another memory."""
    device = plan.device.model_copy(update={"memory_bytes": memory_bytes})
    target = Target(backend=device.backend, accelerator=chip)
    return predict(
        plan.model, plan.workload, plan.parallel, device, plan.measure, target, plan.price
    )


def test_operations_are_told_in_every_convention() -> None:
    plan = plan_case(TRN2, found=None)
    assert plan.prediction.flops_per_token == {
        name: flops_per_token(plan.model.own_shape, 4096, name) for name in CONVENTIONS
    }
    assert plan.flops_convention in plan.prediction.flops_per_token


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (0.5, "fits"),
        (0.8499, "fits"),
        (0.8501, "tight"),
        (0.9999, "tight"),
        (1.0001, "does_not_fit"),
        (9.0, "does_not_fit"),
    ],
)
def test_the_verdict_on_memory_leaves_a_margin(share: float, verdict: str) -> None:
    plan = plan_case()
    needed = plan.prediction.memory_bytes or 0.0
    assert predict_on(plan, needed / share, None).memory_verdict == verdict


def test_a_neuron_device_keeps_some_of_its_memory_for_itself() -> None:
    plan = plan_case(found=None)
    needed = plan.prediction.memory_bytes or 0.0
    memory = (needed + BACKENDS["neuron"].reserve_bytes) / 0.9
    trainium, hopper = accelerators()["trainium2"], accelerators()["h100-sxm"]
    assert predict_on(plan, memory, trainium).memory_verdict == "tight"
    assert predict_on(plan, memory, hopper).memory_verdict == "fits"
    assert predict_on(plan, memory, trainium).memory_bytes == needed


def test_of_unknown_memory_there_is_no_verdict() -> None:
    assert predict_on(plan_case(), None, None).memory_verdict == "unknown"


def test_the_states_of_a_small_model_are_sixteen_bytes_a_weight() -> None:
    plan = plan_case()
    assert plan.prediction.memory_states_bytes == 16 * plan.model.parameter_count
    half = plan_case({"workload.precision": "pure_bf16"})
    assert half.prediction.memory_states_bytes == 8 * plan.model.parameter_count


def test_ranks_that_share_the_state_hold_less_of_it_and_copies_do_not() -> None:
    alone = plan_case().prediction.memory_states_bytes
    copied = plan_case({"parallel.data_parallel_replicate_size": "8"}).prediction
    assert copied.memory_states_bytes == alone
    shared = plan_case({"parallel.data_parallel_shard_size": "8"}).prediction
    assert shared.memory_states_bytes == pytest.approx(alone / 8)


def test_a_known_model_fits_where_it_is_shared_out_and_not_on_one_device() -> None:
    assert plan_case(TRN2, found=None).prediction.memory_verdict == "fits"
    alone = TRN2 | {
        "parallel.tensor_parallel_size": "1",
        "parallel.data_parallel_shard_size": "1",
        "workload.global_batch_size": "1",
    }
    assert plan_case(alone, found=None).prediction.memory_verdict == "does_not_fit"


def test_a_step_is_predicted_as_trnbench_estimate_does() -> None:
    plan = plan_case(TRN2, found=None)
    work = plan.workload
    assert plan.model.shape is not None
    setup = Setup(
        shape=plan.model.shape, sequence_length=4096, global_batch_size=64, step=work.step,
        micro_batch_size=work.micro_batch_size, layout=plan.parallel.layout, chips=16,
        machine=machine_of(instance="trn2.48xlarge"),
    )  # fmt: skip
    expected = estimate_step(setup)
    said = plan.prediction
    assert (said.step_seconds_low, said.step_seconds, said.step_seconds_high) == (
        expected.seconds_low, expected.seconds, expected.seconds_high,
    )  # fmt: skip
    assert said.step_seconds_reason == f"an estimate from {expected.basis}"


def test_a_chip_without_published_steps_has_the_least_that_its_peak_allows() -> None:
    keys = {"price.instance": "g6.48xlarge", "device": "cuda"}
    said = plan_case(keys, found=None).prediction
    assert said.step_seconds is None
    assert "no data for this chip" in said.step_seconds_reason
    assert ": at least " in said.step_seconds_reason


def test_a_step_in_fp32_is_slower() -> None:
    large = {"model": "llama3-8b", "workload.sequence_length": "4096"}
    bf16 = plan_case(large, found=(H100, CPU)).prediction.step_seconds
    keys = {**large, "workload.precision": "fp32"}
    fp32 = plan_case(keys, found=(H100, CPU)).prediction.step_seconds
    assert bf16 is not None
    assert fp32 is not None
    # Source: NVIDIA's H100 SXM5 datasheet: 989 TFLOP/s in bf16, dense, 67 in fp32.
    assert 3 < fp32 / bf16 < 989 / 67


def test_of_a_cpu_no_time_is_predicted_and_the_reason_is_given() -> None:
    prediction = plan_case().prediction
    assert prediction.step_seconds is None
    assert "no datasheet peak is known" in prediction.step_seconds_reason


def test_the_longest_time_is_the_plan_s_own_limit() -> None:
    assert plan_case({"measure.max_minutes": "1.5"}).prediction.max_seconds == 90.0


@pytest.mark.parametrize(
    ("ranks", "limit", "usd"),
    [("64", None, 8.5), ("128", None, 17.0), ("64", "3", 3.0), ("64", "30", 8.5)],
)
def test_the_most_that_a_case_costs_is_its_time_or_its_limit(
    ranks: str, limit: str | None, usd: float
) -> None:
    keys = {
        "device": "neuron",
        "price.instance": "trn2.48xlarge",
        "price.usd_per_hour": "34",
        "measure.max_minutes": "15",
        "parallel.data_parallel_replicate_size": ranks,
        "workload.global_batch_size": ranks,
    }
    plan = plan_case(keys if limit is None else keys | {"measure.max_usd": limit}, found=None)
    assert plan.price is not None
    assert plan.price.usd_per_hour == Decimal(34)
    assert plan.prediction.max_usd == pytest.approx(usd)
    assert make_case(keys).config.price.usd_per_hour == Decimal(34)


def test_a_pipeline_waits_for_its_first_and_last_passes() -> None:
    assert pipeline_bubble(Layout(), 1) == 0
    assert pipeline_bubble(Layout(pipeline_parallel_size=4), 4) == pytest.approx(0.75)
    interleaved = Layout(pipeline_parallel_size=4, pipeline_stages_per_rank=2)
    assert pipeline_bubble(interleaved, 8) == pytest.approx(3 / 16)
