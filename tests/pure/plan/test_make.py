"""From a case to a plan: what is resolved, what conflicts, and what a case is called."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.pure.run.plans import (
    CPU,
    H100,
    UNDRIVEN,
    conflict_of,
    make_case,
    make_machine,
    plan_case,
)
from trnbench.machine.ec2 import Ec2
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import Plan
from trnbench.units import GIB

# --- the workload and its ranks -----------------------------------------------------------------


@given(micro=st.integers(1, 64), accumulation=st.integers(1, 64), data=st.integers(1, 64))
def test_global_is_micro_times_accumulation_times_data_parallel(
    micro: int, accumulation: int, data: int
) -> None:
    plan = plan_case(
        {
            "workload.global_batch_size": str(micro * accumulation * data),
            "workload.micro_batch_size": str(micro),
            "parallel.data_parallel_replicate_size": str(data),
        }
    )
    assert plan.workload.gradient_accumulation_steps == accumulation
    assert plan.order.gradient_accumulation_steps == accumulation
    assert plan.order.micro_batch_size == plan.workload.micro_batch_size == micro
    assert plan.workload.tokens_per_step == micro * accumulation * data * 128


@given(total=st.integers(1, 300), micro=st.integers(1, 40) | st.none(), data=st.integers(1, 40))
def test_a_batch_that_does_not_come_out_even_is_a_conflict_with_a_size_that_does(
    total: int, micro: int | None, data: int
) -> None:
    assume(total % ((micro or max(1, total // data)) * data))
    sizes = {
        "workload.global_batch_size": str(total),
        "workload.micro_batch_size": "null" if micro is None else str(micro),
        "parallel.data_parallel_replicate_size": str(data),
    }
    conflict = conflict_of(sizes)
    assert conflict.path == ("workload", "global_batch_size")
    for better in re.findall(r"\d+", conflict.hint):
        work = plan_case(sizes | {"workload.global_batch_size": better}).workload
        per_pass = work.micro_batch_size * data
        assert work.gradient_accumulation_steps * per_pass == int(better)


def test_without_a_micro_batch_each_rank_takes_its_share_in_one_pass() -> None:
    plan = plan_case(
        {"workload.global_batch_size": "32", "parallel.data_parallel_replicate_size": "4"}
    )
    assert plan.workload.micro_batch_size == 8
    assert plan.workload.gradient_accumulation_steps == 1


def test_a_batch_that_does_not_come_out_even_is_told_with_the_sizes_around_it() -> None:
    conflict = conflict_of(
        {
            "workload.global_batch_size": "96",
            "workload.micro_batch_size": "4",
            "parallel.data_parallel_replicate_size": "16",
        }
    )
    assert conflict.path == ("workload", "global_batch_size")
    assert conflict.message == (
        "workload.global_batch_size: 96 is not a multiple of micro_batch_size 4 x "
        "16 data-parallel ranks = 64"
    )
    assert conflict.hint == "use 64 or 128, or change micro_batch_size"


def test_below_the_smallest_batch_only_the_larger_size_is_offered() -> None:
    conflict = conflict_of({"workload.micro_batch_size": "16"})
    assert conflict.hint.startswith("use 16, or")


def test_a_sequence_longer_than_the_model_s_positions_is_a_conflict() -> None:
    conflict = conflict_of({"workload.sequence_length": "2049"})
    assert conflict.path == ("workload", "sequence_length")
    assert "2049 is longer than the 2048 positions of tiny-llama" in conflict.message
    assert plan_case({"workload.sequence_length": "2048"}).order.sequence_length == 2048


@pytest.mark.parametrize(
    ("key", "size", "what", "divisors"),
    [
        ("tensor_parallel_size", 4, "2 key heads (kv_heads)", "1, 2"),
        ("context_parallel_size", 24, "128 tokens a sequence", "1, 2, 4, 8, 16, 32, 64, 128"),
    ],
)
def test_a_parallel_size_that_does_not_divide_is_a_conflict_at_its_key(
    key: str, size: int, what: str, divisors: str
) -> None:
    conflict = conflict_of({f"parallel.{key}": str(size)})
    assert conflict.path == ("parallel", key)
    assert conflict.message == (f"parallel.{key}: {size} does not divide the {what} of tiny-llama")
    assert conflict.hint == f"use one of {divisors}"


def test_the_world_is_the_product_of_the_parallel_sizes() -> None:
    sizes = {
        "parallel.tensor_parallel_size": "2",
        "parallel.pipeline_parallel_size": "2",
        "parallel.context_parallel_size": "4",
        "parallel.data_parallel_replicate_size": "2",
        "parallel.data_parallel_shard_size": "4",
        "workload.global_batch_size": "16",
    }
    parallel = plan_case(sizes, machine=make_machine(has_chips=True)).parallel
    assert parallel.world_size == 128
    assert (parallel.tensor_parallel_size, parallel.pipeline_parallel_size) == (2, 2)
    assert parallel.context_parallel_size == 4
    assert (parallel.data_parallel_replicate_size, parallel.data_parallel_shard_size) == (2, 4)


def test_a_conflict_is_explained_at_its_line() -> None:
    conflict = conflict_of({"workload.micro_batch_size": "3"})
    (problem,) = make_case().explain(conflict).problems
    assert problem.message.startswith("suite.yaml, line 3: workload.global_batch_size: 8 is not")


# --- the device ---------------------------------------------------------------------------------


def on_instance(name: str, ranks: int, **more: str) -> Plan:
    """Plan for a device that nobody has looked at yet, on a rented instance."""
    keys = {
        "device": "neuron",
        "price.instance": name,
        "parallel.data_parallel_replicate_size": str(ranks),
        "workload.global_batch_size": str(ranks),
    }
    return plan_case(keys | more, found=None)


@pytest.mark.parametrize(
    ("instance", "ranks", "used", "billed", "rented"),
    [
        ("trn2.48xlarge", 1, 1, 16, 1),
        ("trn2.48xlarge", 8, 2, 16, 1),
        ("trn2.48xlarge", 64, 16, 16, 1),
        ("trn2.48xlarge", 128, 32, 32, 2),
        ("trn2.48xlarge", 256, 64, 64, 4),
        ("trn2.3xlarge", 4, 1, 1, 1),
        ("trn2.3xlarge", 8, 2, 2, 2),
        ("trn1.32xlarge", 32, 16, 16, 1),
        ("trn1.2xlarge", 2, 1, 1, 1),
    ],
)
def test_what_is_rented_is_paid_for_used_or_not(
    instance: str, ranks: int, used: int, billed: int, rented: int
) -> None:
    device = on_instance(instance, ranks).device
    assert (device.chips_used, device.chips_billed, device.instances_billed) == (
        used,
        billed,
        rented,
    )
    assert device.instance == instance
    assert not device.is_instance_recognised


def test_a_device_s_memory_is_its_part_of_the_chip_s() -> None:
    # Source: AWS Neuron documentation, Trainium2: 96 GiB, four logical cores at LNC=2.
    device = on_instance("trn2.48xlarge", 64).device
    assert device.accelerator == "trainium2"
    assert device.memory_bytes == 24 * GIB


def test_a_chip_is_known_by_what_its_driver_calls_it() -> None:
    device = plan_case(found=(H100, CPU)).device
    assert (device.backend, device.accelerator) == ("cuda", "h100-sxm")
    assert (device.chips_used, device.instance) == (8, None)


@pytest.mark.parametrize("here", [1, 8])
def test_without_an_instance_type_all_chips_of_this_machine_are_paid_for(here: int) -> None:
    device = plan_case({"device": "cuda:0"}, found=(replace(H100, device_count=here), CPU)).device
    assert (device.devices_used, device.devices_billed) == (1, here)
    assert device.instances_billed == 1


def test_a_near_name_is_another_chip_and_has_no_figures() -> None:
    near = FoundDevice(
        backend="cuda", device_name="NVIDIA H100 80GB HBM4", device_count=1, proven=False
    )
    plan = plan_case(found=(near, CPU))
    assert plan.device.accelerator is None
    assert plan.device.memory_bytes is None
    assert plan.prediction.memory_verdict == "unknown"


def test_auto_takes_the_best_device_and_a_name_the_one_that_is_named() -> None:
    assert plan_case(found=(H100, CPU)).order.backend == "cuda"
    assert plan_case({"device": "cpu"}, found=(H100, CPU)).order.backend == "cpu"


def test_an_accelerator_that_cannot_be_driven_is_not_passed_over_for_the_cpu() -> None:
    plan = plan_case(found=(UNDRIVEN, CPU))
    assert plan.order.backend == plan.device.backend == "neuron"
    assert not plan.order.measure_ceiling


def test_without_looking_the_plan_says_that_the_device_is_open() -> None:
    assert plan_case(found=None).device.backend == "auto"


@pytest.mark.parametrize(
    ("asked", "found", "precision"),
    [
        ("auto", (CPU,), "fp32"),
        ("auto", (H100, CPU), "bf16"),
        ("bf16", (CPU,), "bf16"),
        ("fp32", (H100,), "fp32"),
        ("pure_bf16", (H100,), "pure_bf16"),
        ("auto", None, "fp32"),
    ],
)
def test_the_precision_is_the_one_asked_for_else_the_device_s_own(
    asked: str, found: tuple[FoundDevice, ...] | None, precision: str
) -> None:
    plan = plan_case({"workload.precision": asked}, found=found)
    assert plan.order.precision == plan.workload.precision == precision


def test_a_plan_for_a_rented_accelerator_is_in_bf16_before_the_device_is_seen() -> None:
    assert on_instance("trn2.48xlarge", 1).workload.precision == "bf16"


def test_a_ceiling_is_measured_where_no_product_must_be_compiled_or_where_it_is_asked_for() -> None:
    on_cpu, on_gpu = plan_case(), plan_case(found=(H100, CPU))
    assert (on_cpu.order.measure_ceiling, on_gpu.order.measure_ceiling) == (True, True)
    assert not plan_case({"measure.ceiling": "false"}).order.measure_ceiling


def test_only_a_cpu_has_all_the_machine_s_memory() -> None:
    on_cpu = plan_case()
    assert on_cpu.device.memory_bytes == 16 * GIB
    assert on_cpu.device.accelerator is None


# --- the order and the name ---------------------------------------------------------------------


def test_the_order_holds_what_the_config_asks_for() -> None:
    order = plan_case(
        {
            "workload.learning_rate": "0.02",
            "workload.lr_warmup_steps": "3",
            "workload.weight_decay": "0.25",
            "workload.gradient_clip_norm": "0.5",
            "workload.seed": "9",
            "workload.threads": "2",
        }
    ).order
    assert order.wire_version == PROTOCOL_VERSION
    assert (order.optimizer.learning_rate, order.optimizer.lr_warmup_steps) == (0.02, 3)
    assert (order.optimizer.weight_decay, order.optimizer.gradient_clip_norm) == (0.25, 0.5)
    assert (order.optimizer.beta1, order.optimizer.beta2) == (0.9, 0.95)
    assert (order.seed, order.stream.seed, order.threads) == (9, 9, 2)
    assert (order.stream.alphabet_size, order.stream.noise) == (64, 0.1)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "another suite"},
        {"measure.max_samples": "77"},
        {"measure.relative_precision": "0.2"},
        {"price.usd_per_hour": "3"},
        {"device": "cpu"},
        {"workload.micro_batch_size": "8"},
    ],
    ids=str,
)
def test_a_case_keeps_its_name_when_the_work_is_the_same(other: dict[str, str]) -> None:
    assert plan_case(other).case_id == plan_case().case_id


OTHER_WORK = [
    {"model": "tiny-gpt2"},
    {"model.layers": "3"},
    {"workload.sequence_length": "64"},
    {"workload.global_batch_size": "16"},
    {"workload.micro_batch_size": "4"},
    {"workload.precision": "bf16"},
    {"workload.learning_rate": "0.01"},
    {"workload.lr_warmup_steps": "11"},
    {"workload.weight_decay": "0.2"},
    {"workload.gradient_clip_norm": "2.0"},
    {"workload.seed": "1"},
    {"workload.threads": "1"},
    {"parallel.data_parallel_replicate_size": "2", "workload.global_batch_size": "16"},
    {"parallel.tensor_parallel_size": "2"},
    {"parallel.data_parallel_shard_size": "2", "workload.global_batch_size": "16"},
]


def test_each_change_of_the_work_gives_the_case_another_name() -> None:
    names = [plan_case(change).case_id for change in [{}, *OTHER_WORK]]
    names.append(plan_case(found=(H100,)).case_id)
    assert len(set(names)) == len(names)


def test_a_name_can_be_read_and_be_a_folder() -> None:
    plan = plan_case({"model.base": "tiny-llama", "model.name": "'../my model: v2'"})
    assert plan.case_id.startswith("..-my-model--v2-fp32-cpu-")
    assert "/" not in plan.case_id
    assert len(plan.case_id.rpartition("-")[2]) == 8


def test_a_plan_survives_being_written_and_read() -> None:
    plan = on_instance("trn2.48xlarge", 64, **{"price.usd_per_hour": "35.7608"})
    assert Plan.model_validate_json(plan.model_dump_json(indent=1)) == plan


# --- the price ----------------------------------------------------------------------------------


def test_a_capacity_block_s_rate_is_found_with_its_date_and_source() -> None:
    price = on_instance("trn2.48xlarge", 64).price
    assert price is not None
    assert str(price.usd_per_hour) == "35.7608"
    assert (price.option, price.region) == ("capacity_block", "us-east-2")
    assert price.source


def test_without_a_price_the_plan_says_why_and_what_sets_one() -> None:
    plan = plan_case()
    assert plan.price is None
    assert "the price of this machine is not known" in (plan.price_reason or "")
    assert "--usd-per-hour" in (plan.price_reason or "")
    assert plan.prediction.max_usd is None


def test_an_own_rate_wins_over_the_table() -> None:
    plan = on_instance("trn2.48xlarge", 64, **{"price.usd_per_hour": "30.5"})
    assert plan.price is not None
    assert (str(plan.price.usd_per_hour), plan.price.option) == ("30.5", "user")
    assert plan.price_reason is None


def test_a_limit_in_dollars_needs_a_price() -> None:
    conflict = conflict_of({"measure.max_usd": "5"})
    assert conflict.path == ("measure", "max_usd")
    assert conflict.message == "measure.max_usd: 5.0 cannot be kept without a price"
    assert "--usd-per-hour" in conflict.hint


def test_a_machine_that_knows_its_place_and_how_it_is_rented_has_its_own_rate() -> None:
    ec2 = Ec2(region="us-east-2", life_cycle="capacity-block")
    machine = replace(make_machine("trn2.48xlarge"), ec2=ec2)
    price = plan_case(machine=machine).price
    assert price is not None
    assert (price.option, price.region) == ("capacity_block", "us-east-2")
    spot = plan_case(machine=replace(machine, ec2=replace(ec2, life_cycle="spot")))
    assert spot.price is None or spot.price.option == "spot"
    named = {"price.region": "us-east-1", "price.instance": "p5.48xlarge"}
    elsewhere = plan_case(named, found=(H100,), machine=machine).price
    assert elsewhere is not None
    assert (elsewhere.option, elsewhere.region) == ("on_demand", "us-east-1")


def test_a_machine_that_is_named_as_well_still_knows_its_region() -> None:
    """A p5en's capacity blocks cost differently by region."""
    ec2 = Ec2(region="us-west-1", life_cycle="capacity-block")
    machine = replace(make_machine("p5en.48xlarge"), ec2=ec2)
    named = {"price.instance": "p5en.48xlarge", "price.option": "capacity_block"}
    price = plan_case(named, found=(H100,), machine=machine).price
    assert price is not None
    assert price.region == "us-west-1"


def test_a_recognised_machine_needs_its_region_for_a_rate() -> None:
    machine = make_machine("m7i.xlarge")
    without = plan_case(machine=machine)
    assert without.device.instance == "m7i.xlarge"
    assert without.device.is_instance_recognised
    assert without.price is None
    assert "price.region" in (without.price_reason or "")
    within = plan_case({"price.region": "us-east-1"}, machine=machine)
    assert within.price is not None
    assert within.price.region == "us-east-1"


def test_an_instance_that_nobody_knows_is_a_conflict_unless_its_rate_is_given() -> None:
    conflict = conflict_of({"price.instance": "trn2.48xlrage"})
    assert conflict.path == ("price", "instance")
    assert "did you mean trn2.48xlarge" in conflict.hint
    known = plan_case({"price.instance": "rack-7", "price.usd_per_hour": "2"})
    assert known.device.instance == "rack-7"


def test_an_instance_is_not_paid_for_chips_that_the_case_does_not_use() -> None:
    conflict = conflict_of({"price.instance": "trn2.48xlarge", "device": "cpu"})
    assert conflict.path == ("price", "instance")
    assert "trainium2 chips, and this case trains on the CPU" in conflict.message
