"""Every shipped config, on the machine that it names or on those that it is for."""

from dataclasses import replace

import pytest

from tests.pure.run.plans import CPU, H100, make_case, make_machine, plan_case
from trnbench.catalog.instances import instances
from trnbench.config.load import Conflict
from trnbench.errors import ConfigError, TrnbenchError, UnavailableError
from trnbench.protocol.records import FoundDevice
from trnbench.run.configs import shipped_configs
from trnbench.schema.plan import Plan

WHOLE = {
    "llama3-8b-trn2.3xlarge": {"tensor_parallel_size": 4},
    "llama3-8b-trn2.48xlarge": {"tensor_parallel_size": 4, "data_parallel_shard_size": 16},
    "llama3-8b-p5.48xlarge": {"data_parallel_shard_size": 8},
    "llama3-8b-p5en.48xlarge": {"data_parallel_shard_size": 8},
    "llama3.1-70b-trn2.48xlarge": {"tensor_parallel_size": 4, "data_parallel_shard_size": 16},
    "llama3.1-70b-p5en.48xlarge": {"data_parallel_shard_size": 8},
}
"""Configs of one machine, and the sizes that take all of it."""

ANYWHERE = [
    ("gpt2-124m", "trn2.3xlarge", {"data_parallel_replicate_size": 4}),
    ("gpt2-124m", "trn2.48xlarge", {"data_parallel_replicate_size": 64}),
    ("gpt2-124m", "p5.48xlarge", {"data_parallel_replicate_size": 8}),
    ("qwen3-8b", "trn2.48xlarge", {"tensor_parallel_size": 4, "data_parallel_shard_size": 16}),
    ("qwen3-8b", "p5.48xlarge", {"data_parallel_shard_size": 8}),
    ("qwen3-8b", "p6-b200.48xlarge", {"data_parallel_shard_size": 8}),
    (
        "mixtral-8x7b", "trn2.48xlarge",
        {"tensor_parallel_size": 4, "data_parallel_shard_size": 16, "expert_parallel_size": 4},
    ),
    ("mixtral-8x7b", "p5.48xlarge", {"data_parallel_shard_size": 8}),
    ("mixtral-8x7b", "p5en.48xlarge", {"data_parallel_shard_size": 8}),
]  # fmt: skip


def devices_of(instance: str) -> FoundDevice:
    """Return what an interpreter finds on an instance."""
    row = instances()[instance]
    assert row.accelerator is not None
    if row.accelerator.vendor == "AWS":
        count = row.chips * row.accelerator.devices_per_chip
        name = instance.partition(".")[0]
        return FoundDevice(backend="neuron", device_name=name, device_count=count, proven=False)
    return replace(H100, device_name=row.accelerator.device_names[0], device_count=row.chips)


def plan_on(name: str, instance: str, **keys: str) -> Plan:
    """Plan a shipped config where it would run: the device found, all of it free."""
    text = shipped_configs()[name].read_text()
    found = (devices_of(instance), CPU)
    return plan_case(keys, found=found, machine=make_machine(instance), text=text)


def assert_takes_all(plan: Plan, instance: str, sizes: dict[str, int]) -> None:
    found = devices_of(instance)
    assert plan.parallel.world_size == found.device_count
    assert plan.device.instances_billed == 1
    assert plan.device.chips_used == plan.device.chips_billed
    assert {key: getattr(plan.parallel, key) for key in sizes} == sizes
    assert plan.prediction.memory_verdict == "fits"
    said = plan.prediction
    assert said.step_seconds is not None or ": at least " in said.step_seconds_reason
    assert "idle" not in (plan.parallel.reason or "")


@pytest.mark.parametrize("name", WHOLE)
def test_a_config_of_one_machine_takes_all_of_it_and_fits(name: str) -> None:
    instance = name.partition("b-")[2]
    plan = plan_on(name, instance)
    assert_takes_all(plan, instance, WHOLE[name])
    assert plan.price is not None
    assert plan.price.instance == instance


@pytest.mark.parametrize(("name", "instance", "sizes"), ANYWHERE)
def test_a_config_for_any_machine_takes_all_of_it_and_fits(
    name: str, instance: str, sizes: dict[str, int]
) -> None:
    assert_takes_all(plan_on(name, instance), instance, sizes)


def test_every_shipped_config_has_a_test() -> None:
    anywhere = {name for name, _, _ in ANYWHERE}
    assert {*shipped_configs()} == {*WHOLE, *anywhere, "quick", "llama3.2-1b"}


def test_the_others_train_on_one_processor_too() -> None:
    for name in ("quick", "llama3.2-1b"):
        text = (
            shipped_configs()[name].read_text().replace("[tiny-llama, tiny-gpt2]", "[tiny-llama]")
        )
        assert plan_case(text=text).parallel.world_size == 1


TRN2, P5, MOE = "llama3-8b-trn2.48xlarge", "llama3-8b-p5.48xlarge", "mixtral-8x7b"
ON_TRN2 = {"device": "neuron", "price.instance": "trn2.48xlarge"}
TENSOR, PIPELINE, CONTEXT = (
    f"parallel.{name}_parallel_size" for name in ("tensor", "pipeline", "context")
)
SHARD = "parallel.data_parallel_shard_size"

BAD: list[tuple[str, dict[str, str], type[TrnbenchError], str, str]] = [
    (  # sizes that do not multiply to what there is, with the whole equation
        P5, {SHARD: "12", "workload.global_batch_size": "60"}, ConfigError,
        "tensor 1 x pipeline 1 x context 1 x replicate 1 x shard 12 = 12 ranks; p5.48xlarge has 8",
        "`data_parallel_shard_size: 6`",
    ),
    (
        P5, {"device": "{kind: cuda, count: 8}", TENSOR: "4", SHARD: "4"}, ConfigError,
        "shard 4 = 16 ranks; 8 devices are asked for", "`data_parallel_shard_size: 2`",
    ),
    (
        P5, {PIPELINE: "16", SHARD: "auto"}, UnavailableError,
        "pipeline 16 x context 1 x replicate 1 x shard 1 = 16 ranks; p5.48xlarge has 8 devices",
        "`pipeline_parallel_size: 8`",
    ),
    (P5, {TENSOR: "auto", SHARD: "auto"}, ConfigError, "only one size can be", "a number"),
    (P5, {"workload.global_batch_size": "60"}, ConfigError, "1 x 8 data-parallel", "use 56 or 64"),
    # what the model does not divide
    (P5, {TENSOR: "3", SHARD: "2"}, ConfigError, "3 does not divide the 8 key heads", "1, 2, 4, 8"),
    (
        MOE, {**ON_TRN2, "model": "{base: mixtral-8x7b, kv_heads: 32}", TENSOR: "16"}, ConfigError,
        "16 does not divide the 8 experts", "1, 2, 4, 8",
    ),
    (
        P5, {PIPELINE: "3", SHARD: "1"}, ConfigError, "3 stages do not divide the 32 layers",
        "1, 2, 4, 8, 16, 32 ranks",
    ),
    (
        TRN2, {PIPELINE: "64", TENSOR: "1", SHARD: "1"}, ConfigError,
        "64 stages do not divide the 32 layers of llama3-8b, and 32 of them would be empty", "32",
    ),
    (
        P5, {CONTEXT: "8", SHARD: "1", "workload.sequence_length": "8184"}, ConfigError,
        "the 8184 tokens of a sequence are not a multiple of 16", "a multiple of 16",
    ),
    # what the runtime does not form, and what is not there
    (
        TRN2, {SHARD: "3", "workload.global_batch_size": "48"}, ConfigError,
        "the runtime supports 1, 2, 4, 8, 16, 32 or 64 ranks", "`data_parallel_shard_size: 2`",
    ),
    (
        "gpt2-124m", {**ON_TRN2, "device": "{kind: neuron, count: 48}"}, ConfigError,
        "supports jobs of 1, 2, 4, 8, 16, 32, 64 devices, and this is 48", "count: 32",
    ),
    (
        "gpt2-124m", {"device": "cuda:4-11", "price.instance": "p5.48xlarge"}, UnavailableError,
        "p5.48xlarge has 8 devices", "cuda:0 to cuda:7",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "keys", "kind", "said", "hint"), BAD)
def test_a_layout_that_cannot_be_is_refused_with_one_that_can(
    name: str, keys: dict[str, str], kind: type[TrnbenchError], said: str, hint: str
) -> None:
    case = make_case(keys, shipped_configs()[name].read_text())
    with pytest.raises((Conflict, UnavailableError)) as caught:
        plan_case(keys, found=None, text=shipped_configs()[name].read_text())
    error = caught.value
    refused = case.explain(error) if isinstance(error, Conflict) else error
    assert isinstance(refused, kind)
    (problem,) = refused.problems
    assert said in problem.message
    assert hint in problem.hint
