"""Which device, how it executes, and whose peak it is held against."""

from dataclasses import replace

import pytest

from tests.pure.run.plans import CPU, H100, conflict_of, make_machine, plan_case
from trnbench.config.device import read_device
from trnbench.errors import UnavailableError
from trnbench.machine.describe import Devices
from trnbench.machine.logical_cores import LogicalCores
from trnbench.machine.neuron import Neuron, NeuronChip
from trnbench.protocol.records import FoundDevice
from trnbench.run.questions import require_device, with_chips

TRN2 = FoundDevice(backend="neuron", device_name="trn2", device_count=4, proven=False)
A100 = replace(H100, device_name="NVIDIA A100-SXM4-80GB")


def neuron_chip(logical_cores: int = 4) -> NeuronChip:
    return NeuronChip(
        index=0, logical_cores=logical_cores, logical_core_config=2, memory_bytes=96 * 2**30,
        numa_node=0, connected_to=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "execution"), [(TRN2, "compile"), (H100, "compile"), (CPU, "eager")]
)
def test_each_device_executes_as_suits_it(found: FoundDevice, execution: str) -> None:
    assert plan_case(found=(found,)).order.execution == execution


def test_what_the_user_says_of_the_execution_stands() -> None:
    plan = plan_case({"workload.execution": "eager"}, found=(TRN2,))
    assert plan.order.execution == "eager"
    compiled = plan_case({"workload.execution": "compile"})
    assert compiled.order.execution == "compile"
    assert compiled.case_id != plan_case().case_id


@pytest.mark.parametrize(
    "config",
    [
        {"measure.max_minutes": "4.9"},
        {"measure.max_minutes": "14", "measure.launches": "3"},
        {"measure.max_minutes": "1", "workload.precision": "bf16"},
    ],
)
def test_a_gpu_s_case_too_short_to_be_compiled_is_not(config: dict[str, str]) -> None:
    assert plan_case(config, found=(H100,)).order.execution == "eager"
    asked = {**config, "workload.execution": "compile"}
    assert plan_case(asked, found=(H100,)).order.execution == "compile"


@pytest.mark.parametrize("precision", ["auto", "fp8"])
def test_without_its_compiler_a_gpu_is_eager_unless_compiling_is_asked_for(precision: str) -> None:
    bare = replace(H100, compiler_lacks="Triton (the package triton)")
    config = {"workload.precision": precision}
    assert plan_case(config, found=(bare,)).order.execution == "eager"
    conflict = conflict_of({**config, "workload.execution": "compile"}, found=(bare,))
    assert conflict.path == ("workload", "execution")
    assert str(conflict) == (
        "workload.execution: compile needs Triton (the package triton) on cuda, which is not here"
    )


def test_a_processor_without_a_compiler_refuses_to_compile() -> None:
    bare = replace(CPU, compiler_lacks="a C++ compiler (g++)")
    conflict = conflict_of({"workload.execution": "compile"}, found=(bare,))
    assert "compile needs a C++ compiler (g++) on cpu" in str(conflict)
    assert plan_case(found=(bare,)).order.execution == "eager"


def test_torch_xla_compiles_by_itself() -> None:
    conflict = conflict_of({"device": "xla", "workload.execution": "compile"}, found=None)
    assert conflict.path == ("workload", "execution")


def test_fp8_is_refused_with_the_chip_s_reason() -> None:
    conflict = conflict_of({"workload.precision": "fp8"}, found=(TRN2,))
    assert "trainium2 has cFP8 and not the F8E4M3FN" in str(conflict)
    assert "cpu has no fp8" in str(conflict_of({"workload.precision": "fp8"}, found=(CPU,)))
    assert "cpu has no fp8" in str(conflict_of({"workload.precision": "fp8"}, found=None))
    assert "no fp8 peak of a100" in str(conflict_of({"workload.precision": "fp8"}, found=(A100,)))


def test_fp8_is_compiled_where_nobody_says_otherwise() -> None:
    order = plan_case({"workload.precision": "fp8"}, found=(H100,)).order
    assert (order.precision, order.execution) == ("fp8", "compile")
    eager = {"workload.precision": "fp8", "workload.execution": "eager"}
    assert plan_case(eager, found=(H100,)).order.execution == "eager"
    stranger = replace(H100, device_name="NVIDIA of tomorrow")
    assert plan_case({"workload.precision": "fp8"}, found=(stranger,)).order.precision == "fp8"


def test_fp8_is_planned_faster_than_bf16_but_not_twice_as_fast() -> None:
    fp8, bf16 = (
        plan_case({"workload.precision": p}, found=(H100,)).prediction.step_seconds
        for p in ("fp8", "bf16")
    )
    assert fp8 is not None
    assert bf16 is not None
    assert bf16 / 2 < fp8 < bf16


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({"model": "tiny-bert", "workload.sequence_length": "64"}, "precision", "is bert"),
        ({"model": "tiny-moe"}, "precision", "is moe"),
        ({"workload.lora": "{rank: 8}"}, "lora", "too narrow"),
        ({"workload.sequence_length": "100"}, "sequence_length", "100 is not a multiple of 16"),
        (
            {"model": "{base: tiny-llama, intermediate_size: 90}"},
            "intermediate_size",
            "90 is not a multiple of 16",
        ),
    ],
)
def test_fp8_refuses_what_its_products_cannot_take(
    config: dict[str, str], path: str, said: str
) -> None:
    conflict = conflict_of({"workload.precision": "fp8", **config}, found=(H100,))
    assert conflict.path[-1] == path
    assert said in str(conflict)


@pytest.mark.parametrize(
    ("set_to", "ranks", "cores", "gib"),
    [
        (LogicalCores(), 1, 4, 24),
        (LogicalCores(), 4, 4, 24),
        (LogicalCores(by_variable=1), 1, 8, 24),
        (LogicalCores(by_file=1), 1, 8, 24),
        (LogicalCores(by_variable=2, by_file=1), 4, 4, 24),
        (LogicalCores(by_variable=1), 2, 8, 12),
        (LogicalCores(by_file=1), 8, 8, 12),
    ],
)
def test_a_logical_core_sees_a_bank_which_two_share_at_lnc_1(
    set_to: LogicalCores, ranks: int, cores: int, gib: int
) -> None:
    """Source: AWS Neuron documentation, Trainium2: four banks of 24 GiB for eight cores."""
    machine = replace(make_machine("trn2.3xlarge"), logical_cores=set_to)
    found = replace(TRN2, device_count=cores)
    asked = {"device": f"{{kind: neuron, count: {ranks}}}"}
    device = plan_case(asked, found=(found,), machine=machine).device
    assert (device.accelerator, device.devices_per_chip) == ("trainium2", cores)
    assert (device.devices_used, device.chips_used, device.chips_billed) == (ranks, 1, 1)
    assert device.memory_bytes == gib * 2**30


def test_more_threads_than_processors_are_refused_where_they_would_train() -> None:
    conflict = conflict_of({"workload.threads": "1000"})
    assert conflict.path == ("workload", "threads")
    assert conflict.message == (
        "workload.threads: 1000 is more than the 4 processors of this machine"
    )
    assert conflict.hint == "use 1 to 4, or leave it out for torch's choice"
    assert plan_case({"workload.threads": "4"}).order.threads == 4
    for found in ((H100,), None):
        assert plan_case({"workload.threads": "1000"}, found=found).order.threads == 1000


def test_an_index_is_kept_and_one_out_of_range_is_refused() -> None:
    assert plan_case({"device": "cuda:3"}, found=(H100,)).order.device_index == 3
    devices = Devices((H100, CPU), {})
    require_device(read_device("cuda:7"), devices)
    with pytest.raises(UnavailableError, match="cuda:8 is not here: there are 8"):
        require_device(read_device("cuda:8"), devices)


def test_chips_are_the_parent_s_to_count() -> None:
    probed = FoundDevice(backend="neuron", device_name="neuron", device_count=1, proven=False)
    seen = Neuron(chips=(neuron_chip(), neuron_chip()), instance="trn2.48xlarge")
    (device, cpu) = with_chips(Devices((probed, CPU), {}), seen).found
    assert (device.device_name, device.device_count, cpu) == ("trn2", 8, CPU)


def test_packages_without_a_chip_are_told_and_not_passed_over() -> None:
    probed = FoundDevice(backend="neuron", device_name="neuron", device_count=1, proven=False)
    devices = with_chips(Devices((probed, CPU), {}), Neuron())
    with pytest.raises(UnavailableError, match="no Neuron chip is plugged in"):
        require_device(read_device("auto"), devices)
