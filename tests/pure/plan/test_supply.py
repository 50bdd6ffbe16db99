"""Which devices a job can have: those that are here and free, those that are asked for."""

from dataclasses import replace

import pytest

from tests.pure.run.plans import CPU, H100, TRN2, conflict_of, make_machine, plan_case
from trnbench.errors import UnavailableError
from trnbench.machine.describe import Accelerators, Machine
from trnbench.machine.logical_cores import LogicalCores
from trnbench.machine.look import Holder
from trnbench.machine.neuron import Neuron, NeuronChip
from trnbench.machine.nvidia import Gpu, Nvidia
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import Plan

TRN2_48 = FoundDevice(backend="neuron", device_name="trn2", device_count=64, proven=False)
BATCH = {"workload.global_batch_size": "64", "workload.micro_batch_size": "1"}


def with_gpus(*held: int, visible: str | None = None) -> Machine:
    """Return a machine of eight GPUs, of which a process holds some."""
    holders = tuple(Holder(f"GPU {n}", 17, "python3", n) for n in held)
    chips = Accelerators(nvidia=Nvidia(gpus=(Gpu(name="H100"),) * 8, holders=holders))
    variables = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return replace(make_machine(), chips=chips, variables=variables)


def with_chips(*held: int, variables: dict[str, str] | None = None) -> Machine:
    """Return a trn2.48xlarge, of which a process holds some chips."""
    chips = tuple(
        NeuronChip(
            index=n, logical_cores=4, logical_core_config=2, memory_bytes=96 * 2**30,
            numa_node=0, connected_to=(),
        )
        for n in range(16)
    )  # fmt: skip
    holders = tuple(Holder(f"Neuron device {n}", 42, "python3", n) for n in held)
    seen = Accelerators(neuron=Neuron(chips=chips, holders=holders))
    return replace(make_machine(), chips=seen, variables=variables or {})


def plan_on(machine: Machine, device: str, found: FoundDevice = H100, **sizes: str) -> Plan:
    keys = {f"parallel.{key}": size for key, size in sizes.items()}
    return plan_case({**BATCH, "device": device, **keys}, found=(found, CPU), machine=machine)


def refusal_of(machine: Machine, device: str, found: FoundDevice = H100, **sizes: str) -> str:
    with pytest.raises(UnavailableError) as caught:
        plan_on(machine, device, found, **sizes)
    assert caught.value.problems[0].hint
    return str(caught.value)


# --- those that are asked for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "ranks", "first"),
    [
        ("cuda:3", 1, 3),
        ("cuda:2-5", 4, 2),
        ("cuda:0-7", 8, 0),
        ("{kind: cuda, count: 4}", 4, None),
        ("{kind: auto, count: 2}", 2, None),
        ("{kind: cuda, count: 2, first: 6}", 2, 6),
        ("{kind: cpu, count: 2}", 2, None),
    ],
)
def test_so_many_are_taken_as_are_asked_for(device: str, ranks: int, first: int | None) -> None:
    plan = plan_on(make_machine(), device)
    assert plan.parallel.world_size == ranks
    assert plan.order.device_index == first


def test_more_than_are_here_are_refused() -> None:
    assert refusal_of(make_machine(), "{kind: cuda, count: 16}") == (
        "device 16 x cuda: 8 devices are here"
    )
    assert "8 devices, counted from 0" in refusal_of(make_machine(), "cuda:4-9")


def test_a_job_of_neuron_cores_begins_at_a_multiple_of_its_size() -> None:
    assert plan_on(make_machine(), "neuron:2-3", TRN2).order.device_index == 2
    conflict = conflict_of({**BATCH, "device": "neuron:1-2"}, found=(TRN2,))
    assert "2 devices of one job begin at a multiple of 2" in conflict.message
    assert conflict.hint == "use neuron:0-1"


def test_a_number_that_the_runtime_does_not_support_is_refused() -> None:
    conflict = conflict_of({**BATCH, "device": "{kind: neuron, count: 3}"}, found=(TRN2,))
    assert conflict.path == ("device",)
    assert "supports jobs of 1, 2, 4, 8, 16, 32, 64 devices, and this is 3" in conflict.message
    assert "count: 2}" in conflict.hint


# --- those that are free --------------------------------------------------------------------------


def test_a_held_gpu_is_left_alone_and_its_holder_named() -> None:
    said = refusal_of(with_gpus(3), "cuda", data_parallel_shard_size="8")
    assert said.endswith(
        "shard 8 = 8 ranks; 7 of 8 devices are free, 4 of them in a row: "
        "python3 (pid 17) holds GPU 3"
    )
    four = plan_on(with_gpus(3), "cuda", data_parallel_shard_size="4")
    assert four.order.device_index == 4
    assert plan_on(with_gpus(0), "{kind: cuda, count: 4}").order.device_index == 1
    assert "python3 (pid 17) holds GPU 3" in refusal_of(with_gpus(3), "cuda:2-5")


def test_one_that_is_named_is_shared() -> None:
    assert plan_on(with_gpus(3), "cuda:3").order.device_index == 3


def test_where_all_are_held_none_is_taken() -> None:
    said = refusal_of(with_gpus(*range(8)), "auto")
    assert "0 of 8 devices are free" in said
    assert "; and 5 more" in said


def test_gpus_are_counted_as_the_environment_shows_them() -> None:
    """GPU 5 is torch's second of the three."""
    found = replace(H100, device_count=3)
    machine = with_gpus(5, visible="4,5,6")
    assert "2 of 3 devices are free, 1 of them in a row" in refusal_of(
        machine, "cuda", found, data_parallel_shard_size="2"
    )
    hidden = with_gpus(0, visible="4,5,6")
    plan = plan_on(hidden, "cuda", found, data_parallel_shard_size="2")
    assert plan.order.device_index is None


def test_a_held_chip_is_all_of_its_cores() -> None:
    found = (TRN2_48, CPU)
    keys = {**BATCH, "device": "neuron", "parallel.data_parallel_shard_size": "32"}
    plan = plan_case(keys, found=found, machine=with_chips(2))
    assert plan.order.device_index == 32
    keys["parallel.data_parallel_shard_size"] = "64"
    with pytest.raises(UnavailableError, match="60 of 64 devices are free") as caught:
        plan_case(keys, found=found, machine=with_chips(2))
    assert "python3 (pid 42) holds Neuron device 2" in str(caught.value)
    assert "`data_parallel_shard_size: 32`" in caught.value.problems[0].hint


def test_the_environment_s_cores_are_all_that_there_are() -> None:
    machine = with_chips(variables={"NEURON_RT_VISIBLE_CORES": "16-31"})
    plan = plan_on(machine, "neuron", TRN2_48, data_parallel_shard_size="16")
    assert plan.order.device_index == 16
    said = refusal_of(machine, "neuron", TRN2_48, data_parallel_shard_size="32")
    assert said.endswith("NEURON_RT_VISIBLE_CORES leaves 16 of 64 devices")


def test_a_plan_names_no_process() -> None:
    plan = plan_on(with_gpus(0), "{kind: cuda, count: 4}")
    assert "python3" not in plan.model_dump_json()


# --- an instance that is not here -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "device", "ranks"),
    [
        ("trn2.3xlarge", "neuron", 4),
        ("trn2.48xlarge", "neuron", 64),
        ("trn1.32xlarge", "neuron", 32),
        ("p5.48xlarge", "cuda", 8),
        ("p5en.48xlarge", "auto", 8),
        ("p6-b200.48xlarge", "cuda", 8),
        ("trn2.48xlarge", "{kind: neuron, count: 16}", 16),
    ],
)
def test_a_named_instance_is_planned_whole(instance: str, device: str, ranks: int) -> None:
    keys = {
        **BATCH, "device": device, "price.instance": instance, "price.usd_per_hour": "10",
    }  # fmt: skip
    plan = plan_case(keys, found=None)
    assert plan.parallel.world_size == plan.device.devices_used == ranks
    assert plan.device.instances_billed == 1


def test_at_lnc_1_an_instance_has_twice_the_devices() -> None:
    machine = replace(make_machine(), logical_cores=LogicalCores(by_variable=1))
    keys = {**BATCH, "device": "neuron", "price.instance": "trn2.3xlarge"}
    plan = plan_case(keys, found=None, machine=machine)
    assert (plan.device.devices_used, plan.device.devices_per_chip) == (8, 8)


def test_several_instances_are_whole_ones() -> None:
    keys = {**BATCH, "device": "neuron", "price.instance": "trn2.48xlarge"}
    keys["workload.global_batch_size"] = "128"
    two = plan_case({**keys, "parallel.data_parallel_shard_size": "128"}, found=None)
    assert two.device.instances_billed == 2
    conflict = conflict_of({**keys, "parallel.tensor_parallel_size": "2",
                            "parallel.data_parallel_shard_size": "128",
                            "device": "{kind: neuron, count: 65}"}, found=None)  # fmt: skip
    assert "this is 65" in conflict.message


# --- the vendor's software ------------------------------------------------------------------------


def with_software(runtime: str | None = None, flag: int | None = None) -> Machine:
    machine = with_chips()
    packages = {} if runtime is None else {"aws-neuronx-runtime-lib": runtime}
    neuron = replace(machine.chips.neuron, system_packages=packages)
    cores = LogicalCores(by_compiler_flag=flag)
    return replace(machine, chips=replace(machine.chips, neuron=neuron), logical_cores=cores)


@pytest.mark.parametrize(
    ("version", "is_refused"),
    [("2.33.1.0-abc", True), ("2.34.10.0-def", False), ("2.35.30.0", False), (None, False)],
)
def test_collectives_before_sdk_2_32_are_refused(version: str | None, is_refused: bool) -> None:
    machine = with_software(version)
    if is_refused:
        said = refusal_of(machine, "{kind: neuron, count: 4}", TRN2_48)
        assert f"aws-neuronx-runtime-lib {version}" in said
    else:
        plan_on(machine, "{kind: neuron, count: 4}", TRN2_48)
    plan_on(machine, "neuron:0", TRN2_48)


def test_a_compiler_with_another_lnc_than_the_ranks_is_refused() -> None:
    said = refusal_of(with_software(flag=1), "neuron:0", TRN2_48)
    assert "compiles for an LNC of 1, and the ranks have 2" in said
    plan_on(with_software(flag=2), "neuron:0", TRN2_48)
