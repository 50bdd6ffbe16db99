"""Every shipped config, on the machine that it names or on those that it is for."""

from dataclasses import replace

import pytest

from tests.pure.run.plans import CPU, H100, make_machine, plan_case
from trnbench.catalog.instances import instances
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
    assert plan.prediction.step_seconds is not None
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
