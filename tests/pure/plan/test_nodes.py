"""Plans of jobs on several machines: ranks, layouts, what is billed, and what is refused."""

from dataclasses import replace

import pytest

from tests.pure.run.plans import CPU, H100, SUITE, TODAY, conflict_of, make_case, make_machine
from trnbench.config.load import Conflict
from trnbench.errors import UnavailableError
from trnbench.machine.describe import Devices
from trnbench.plan.make import make_plan
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import Plan

TRN2_48 = FoundDevice(backend="neuron", device_name="trn2", device_count=64, proven=False)


def plan_on(nodes: int, found: FoundDevice = CPU, batch: int = 64, **keys: str) -> Plan:
    """Plan one sequence a pass on machines that each have these devices; `__` for dots."""
    given = {
        "workload.global_batch_size": str(batch),
        "workload.micro_batch_size": "1",
        **{key.replace("__", "."): value for key, value in keys.items()},
    }
    devices = Devices(tuple({found, CPU}), {"torch": "2.13.0"}, nodes)
    return make_plan(
        make_case(given, SUITE),
        machine=make_machine(has_chips=found is not CPU),
        devices=replace(devices, found=(found, CPU) if found is not CPU else (CPU,)),
        today=TODAY,
    )


def test_a_processor_has_a_rank_on_each_node_and_all_its_memory_and_threads() -> None:
    one, two = plan_on(1), plan_on(2)
    assert (two.parallel.world_size, two.parallel.nodes, two.parallel.ranks_per_node) == (2, 2, 1)
    assert two.parallel.in_words == "replicate 2, on 2 nodes"
    assert two.device.memory_bytes == one.device.memory_bytes
    assert two.order.threads == one.order.threads
    assert two.device.instances_billed == 2


def test_the_number_of_nodes_is_a_part_of_the_work() -> None:
    one = plan_on(2, parallel__nodes="1", parallel__data_parallel_replicate_size="2")
    two = plan_on(2, parallel__data_parallel_replicate_size="2")
    assert one.parallel.layout == two.parallel.layout
    assert one.case_id != two.case_id


def test_shards_lie_inside_a_node_and_copies_between_nodes() -> None:
    large = plan_on(2, H100, model="llama3-8b", workload__precision="bf16")
    assert large.parallel.in_words == "replicate 2 x shard 8, on 2 nodes"
    assert (large.parallel.reason or "").startswith("HSDP: FSDP2 over the 8 data ranks of a node")
    small = plan_on(2, H100, model="llama3.2-1b", workload__precision="bf16")
    assert small.parallel.in_words == "replicate 16, on 2 nodes"


def test_shards_go_over_all_nodes_where_one_node_is_too_small() -> None:
    huge = plan_on(
        8, H100, model="llama3.1-70b", workload__precision="bf16", workload__sequence_length="4096"
    )
    assert huge.parallel.data_parallel_shard_size > 8


def test_each_node_is_billed_with_all_its_chips() -> None:
    plan = plan_on(4, TRN2_48, batch=256, price__instance="trn2.48xlarge",
                   price__usd_per_hour="40", model="llama3.2-1b")  # fmt: skip
    device = plan.device
    assert (device.devices_used, device.chips_used, device.chips_billed) == (256, 64, 64)
    assert device.instances_billed == 4
    assert device.devices_idle == 0
    hours = plan.prediction.max_seconds / 3600
    assert plan.prediction.max_usd == pytest.approx(4 * 40 * hours)


def test_without_a_known_instance_each_node_is_billed_all_the_same() -> None:
    device = plan_on(2, H100, device="{kind: cuda, count: 4}").device
    assert (device.devices_used, device.chips_used, device.chips_billed) == (8, 8, 16)
    assert device.instances_billed == 2


def test_a_plan_for_machines_that_are_not_here_can_name_their_number() -> None:
    plan = make_plan(
        make_case(
            {"price.instance": "trn2.48xlarge", "price.usd_per_hour": "40", "parallel.nodes": "2",
             "model": "llama3.2-1b", "workload.global_batch_size": "128",
             "workload.micro_batch_size": "1"}, SUITE
        ),
        machine=make_machine(),
        devices=None,
        today=TODAY,
    )  # fmt: skip
    assert (plan.parallel.world_size, plan.parallel.nodes) == (128, 2)
    assert plan.device.instances_billed == 2


def test_more_nodes_than_the_allocation_has_are_unavailable() -> None:
    with pytest.raises(UnavailableError, match="4 asked for, and this allocation has 2"):
        plan_on(2, parallel__nodes="4")
    with pytest.raises(UnavailableError, match="2 asked for, and this machine is in no allocation"):
        plan_on(1, parallel__nodes="2")


def test_every_node_has_as_many_ranks() -> None:
    with pytest.raises((Conflict, UnavailableError), match=r"= 3 ranks; .*2 nodes"):
        plan_on(2, batch=63, parallel__data_parallel_replicate_size="3")
    conflict = conflict_of(
        {"parallel.nodes": "3", "parallel.data_parallel_replicate_size": "2"}, found=None
    )
    assert "each of 3 nodes has as many ranks" in conflict.message


def test_a_runtime_s_worlds_are_of_each_node() -> None:
    assert plan_on(2, TRN2_48, device="{kind: neuron, count: 16}").parallel.world_size == 32
    with pytest.raises((Conflict, UnavailableError)):
        plan_on(2, TRN2_48, batch=60, parallel__data_parallel_shard_size="12")


def test_a_tensor_group_is_not_split_unevenly_between_nodes() -> None:
    model = (
        "{base: tiny-llama, heads: 12, kv_heads: 12, hidden_size: 384, "
        "intermediate_size: 384, vocabulary_size: 384}"
    )
    with pytest.raises(Conflict, match="split unevenly"):
        plan_on(
            3, H100, batch=60, model=model, parallel__tensor_parallel_size="3",
            parallel__data_parallel_shard_size="4", workload__sequence_length="126",
        )  # fmt: skip
