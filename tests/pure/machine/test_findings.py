"""Each mix-up is named, with its fix; and a sound machine has none."""

import inspect
import re
from dataclasses import replace

import pytest

from tests.pure.machine.inspections import (
    H100,
    HOST,
    NATIVE,
    TRN1,
    TRN2,
    XLA,
    make_inspection,
    make_inventory,
    trn2_48xlarge,
)
from tests.pure.run.plans import CPU
from tests.pure.run.plans import H100 as TORCH_H100
from trnbench.machine import chip_findings, findings, neuron_findings
from trnbench.machine.describe import Devices, Inspection
from trnbench.machine.doctor import FINDINGS, diagnose
from trnbench.machine.ec2 import Ec2
from trnbench.machine.findings import Finding, join_words
from trnbench.machine.look import Holder
from trnbench.machine.network import Network
from trnbench.machine.neuron import Neuron
from trnbench.machine.nvidia import Nvidia
from trnbench.protocol.records import NeuronGeneration


def wrong(seen: Inspection) -> dict[str, Finding]:
    """Return what is wrong, by name."""
    return {f.name: f for f in diagnose(seen) if f.verdict in ("problem", "warning")}


def verdict(seen: Inspection, name: str) -> str | None:
    """Return how one thing stands; None where there is nothing to say of it."""
    return next((f.verdict for f in diagnose(seen) if f.name == name), None)


def with_packages(
    versions: dict[str, str],
    neuron: NeuronGeneration | None = "native",
    python: str = "3.12.3",
    chips: Neuron = TRN2,
) -> Inspection:
    return make_inspection(
        neuron=chips,
        inventory=make_inventory(versions, neuron, python),
        variables={
            "TORCH_NEURONX_NEFF_CACHE_DIR": "(removed)",
            "NEURON_COMPILE_CACHE_URL": "(removed)",
        },
    )


def test_a_machine_with_nothing_has_nothing_wrong() -> None:
    seen = make_inspection()
    assert wrong(seen) == {}
    assert verdict(seen, "accelerator") == "absent"
    assert verdict(seen, "price") == "absent"


def test_a_sound_trn2_has_nothing_wrong() -> None:
    seen = with_packages(NATIVE)
    assert wrong(seen) == {}
    for name in ("accelerator", "neuron_driver", "neuron_generations", "neuron_pair", "cache"):
        assert verdict(seen, name) == "ok"


def test_every_finding_has_the_name_of_its_function_and_every_function_is_listed() -> None:
    written = {
        name
        for module in (findings, chip_findings, neuron_findings)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and "Finding | None" in str(inspect.signature(function).return_annotation)
    }
    assert written == {function.__name__ for function in FINDINGS}
    for seen in (make_inspection(), with_packages(NATIVE), with_packages(XLA, "xla")):
        assert {f.name for f in diagnose(seen)} <= written


def test_whatever_is_wrong_has_a_fix() -> None:
    for seen in (
        with_packages({"torch": "2.15.0", "torch-neuronx": "1.0"}, "stub"),
        with_packages({**NATIVE, "torch": "2.15.0", "torch-xla": "2.9.0"}, python="3.11.7"),
        make_inspection(inventory=None, inventory_reason="no answer", nvidia=H100),
        make_inspection(ec2=Ec2(reason="it hangs"), host=replace(HOST, governor="powersave")),
    ):
        assert wrong(seen)
        for finding in wrong(seen).values():
            assert finding.fix, finding.name


# --- packages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "said", "wanted"),
    [
        (
            {"torch": "2.13.0", "torch-neuronx": "1.0", "neuronx-cc": "1.0.post1"},
            "torch-neuronx 1.0 and neuronx-cc 1.0.post1 are an empty stand-in",
            "torch-neuronx==2.13.*",
        ),
        (
            {"torch": "2.14.0", "torch-neuronx": "1.0"},
            "torch-neuronx 1.0 is an empty stand-in",
            "torch-neuronx==2.14.*",
        ),
        ({"torch-neuronx": "1.0"}, "torch-neuronx 1.0 is", "torch-neuronx==2.14.*"),
        (
            {"torch": "2.15.0", "torch-neuronx": "1.0"},
            "torch-neuronx 1.0 is",
            "'torch==2.14.*' 'torch-neuronx==2.14.*'",
        ),
    ],
)
def test_the_public_index_s_empty_packages_are_told_with_the_real_install(
    versions: dict[str, str], said: str, wanted: str
) -> None:
    found = wrong(with_packages(versions, "stub"))["neuron_stub"]
    assert found.verdict == "problem"
    assert found.evidence.startswith("WRONG PACKAGE: ")
    assert said in found.evidence
    assert found.fix is not None
    assert wanted in found.fix
    assert "Neuron package repository" in found.fix


def test_an_empty_compiler_beside_real_packages_is_told() -> None:
    found = wrong(with_packages({**NATIVE, "neuronx-cc": "1.0.post1"}))
    assert list(found) == ["neuron_stub"]


@pytest.mark.parametrize(
    ("versions", "generation", "stranger"),
    [
        ({**NATIVE, "torch-xla": "2.9.0"}, "native", "torch-xla 2.9.0 of the XLA one"),
        ({**NATIVE, "libneuronxla": "2.2.1"}, "native", "libneuronxla 2.2.1 of the XLA one"),
        ({**XLA, "torch-xla": "2.11.0"}, "xla", "torch-xla 2.11.0 of the native one"),
        ({**XLA, "libneuronxla": "3.0.1"}, "xla", "libneuronxla 3.0.1 of the native one"),
    ],
)
def test_two_generations_in_one_environment_are_a_problem(
    versions: dict[str, str], generation: NeuronGeneration, stranger: str
) -> None:
    found = wrong(with_packages(versions, generation))["neuron_generations"]
    assert found.verdict == "problem"
    assert "two SDK generations are mixed" in found.evidence
    assert stranger in found.evidence


@pytest.mark.parametrize(
    ("torch", "neuron", "generation", "standing"),
    [
        ("2.13.0+cpu", "2.13.3.0.77", "native", "ok"),
        ("2.14.0+cpu", "2.14.3.0.1", "native", "ok"),
        ("2.15.0", "2.14.3.0.1", "native", "problem"),
        ("2.13.0+cpu", "2.14.3.0.1", "native", "problem"),
        ("2.12.1", "2.12.3.0.1", "native", "warning"),
        ("2.14.0", "2.14.1.0.1", "native", "warning"),
        ("2.9.0", "0.1.0+abc", "native", "warning"),
        ("2.13.0", "2.9.0.2.15.32035", "xla", "problem"),
    ],
)
def test_torch_must_be_the_one_that_torch_neuronx_was_built_for(
    torch: str, neuron: str, generation: NeuronGeneration, standing: str
) -> None:
    seen = with_packages({"torch": torch, "torch-neuronx": neuron}, generation, chips=TRN2)
    assert verdict(seen, "neuron_pair") == standing


def test_a_torch_that_pip_put_in_its_place_is_told_with_the_one_to_install() -> None:
    found = wrong(with_packages({**NATIVE, "torch": "2.15.0"}))["neuron_pair"]
    assert "torch-neuronx 2.14.3.0.1 was built for torch 2.14" in found.evidence
    assert found.fix is not None
    assert "torch==2.14.*" in found.fix


@pytest.mark.parametrize(
    ("versions", "generation"),
    [
        ({**XLA, "neuronx-cc": "1.0"}, "xla"),
        ({**XLA, "torch-neuronx": "1.0"}, "stub"),
        ({"torch": "2.9.1", "torch-neuronx": "1.0"}, "stub"),
        ({"torch": "2.9.1", "torch-xla": "2.9.0"}, None),
        ({**XLA, "torch": "2.13.0"}, "xla"),
        ({**XLA, "torch-xla": "2.8.1"}, "xla"),
        ({**XLA, "torch-xla": "2.11.0"}, "xla"),
        (XLA, "xla"),
        ({name: version for name, version in XLA.items() if name != "neuronx-cc"}, "xla"),
    ],
)
def test_no_advice_takes_an_xla_environment_to_the_native_generation(
    versions: dict[str, str], generation: NeuronGeneration | None
) -> None:
    found = wrong(with_packages(versions, generation, "3.11.9", TRN1))
    assert found
    for finding in found.values():
        assert not re.search(r"2\.1[0-9]|2_1[0-9]", finding.fix or ""), finding


def test_an_early_native_package_is_native_and_says_nothing_of_its_torch() -> None:
    found = wrong(with_packages({**NATIVE, "torch-neuronx": "0.1.0+abc"}))["neuron_pair"]
    assert "torch 0.1" not in f"{found.evidence} {found.fix}"
    assert "pip install" not in (found.fix or "")


@pytest.mark.parametrize(
    ("versions", "generation", "name", "said"),
    [
        ({"torch": "2.14.0", "torch-neuronx": "2.14.3.0.1"}, "native", "neuron_compiler", "is not"),
        ({**XLA, "torch-xla": "2.8.1"}, "xla", "neuron_pair", "needs torch-xla 2.9"),
        ({**XLA, "islpy": "2026.2.1"}, "xla", "neuron_compiler", "NCC_ISMP902"),
        ({**NATIVE, "libtorch-neuronx-lite": "0.2"}, "native", "neuron_lite", "cannot train"),
    ],
)
def test_packages_that_cannot_work_together_are_told(
    versions: dict[str, str], generation: NeuronGeneration, name: str, said: str
) -> None:
    found = wrong(with_packages(versions, generation))
    assert said in found[name].evidence
    assert "neuron_compiler" not in wrong(with_packages({**XLA, "islpy": "2026.1"}, "xla"))


@pytest.mark.parametrize(
    ("python", "generation", "is_told"),
    [
        ("3.11.9", "native", True),
        ("3.12.0", "native", False),
        ("3.14.1", "native", False),
        ("3.15.0", "native", True),
        ("3.11.9", "xla", False),
        ("3.14.1", "xla", True),
    ],
)
def test_a_python_that_the_packages_do_not_support_is_a_warning(
    python: str, generation: NeuronGeneration, is_told: bool
) -> None:
    versions = NATIVE if generation == "native" else XLA
    found = wrong(with_packages(versions, generation, python))
    assert ("neuron_python" in found) == is_told


def test_chips_that_this_torch_knows_nothing_of_are_a_problem() -> None:
    found = wrong(make_inspection(neuron=TRN2))["neuron_missing"]
    assert "no torch-neuronx" in found.evidence
    assert found.fix is not None
    assert "torch-neuronx==2.13.*" in found.fix


def test_no_torch_is_a_problem_and_on_a_neuron_image_names_its_environment() -> None:
    found = wrong(make_inspection(inventory=make_inventory({}), neuron=TRN2))
    assert list(found) == ["torch"]
    assert "aws_neuronx_venv" in (found["torch"].fix or "")
    plain = wrong(make_inspection(inventory=make_inventory({})))
    assert "pip install torch" in (plain["torch"].fix or "")


def test_an_interpreter_that_says_nothing_is_a_problem() -> None:
    found = wrong(make_inspection(inventory=None, inventory_reason="it hangs"))
    assert list(found) == ["interpreter"]
    assert found["interpreter"].evidence == "it hangs"


def test_a_torch_for_the_cpu_beside_a_gpu_is_a_problem() -> None:
    assert "NVIDIA H100" in wrong(make_inspection(nvidia=H100))["torch_build"].evidence
    cuda = make_inventory({"torch": "2.13.0+cu130"})
    assert wrong(make_inspection(nvidia=H100, inventory=cuda)) == {}
    assert "torch_build" not in wrong(make_inspection())


# --- chips ----------------------------------------------------------------------------------------


def test_the_native_packages_do_not_support_a_trn1() -> None:
    by_chip = wrong(with_packages(NATIVE, chips=TRN1))["neuron_hardware"]
    assert by_chip.verdict == "problem"
    assert "SDK 2.31" in (by_chip.fix or "")
    named = make_inspection(
        ec2=Ec2(instance="trn1.32xlarge", region="us-east-1"),
        neuron=TRN1,
        inventory=make_inventory(NATIVE, "native"),
    )
    assert "trn1.32xlarge" in wrong(named)["neuron_hardware"].evidence
    assert "neuron_hardware" not in wrong(with_packages(XLA, "xla", chips=TRN1))


@pytest.mark.parametrize(
    ("neuron", "said"),
    [
        (Neuron(pci_devices=16), "without their driver"),
        (Neuron(), "without their driver"),
        (Neuron(pci_devices=16, is_driver_loaded=True), "no /dev/neuron0"),
    ],
)
def test_chips_without_a_driver_are_a_problem(neuron: Neuron, said: str) -> None:
    found = wrong(make_inspection(ec2=trn2_48xlarge(), neuron=neuron))["neuron_driver"]
    assert found.verdict == "problem"
    assert said in found.evidence


def test_a_tool_that_failed_is_a_warning() -> None:
    neuron = Neuron(device_files=1, is_driver_loaded=True, reason="neuron-ls did not answer in 5 s")
    assert wrong(make_inspection(neuron=neuron))["neuron_tools"].verdict == "warning"


def test_a_process_on_the_device_is_told_and_left_alone() -> None:
    holders = (
        Holder("Neuron device 0", 4242, "python3"),
        Holder("Neuron device 1", 4242, "python3"),
        Holder("Neuron device 2", 77, None),
    )
    found = wrong(make_inspection(neuron=replace(TRN2, holders=holders)))["holders"]
    assert found.evidence == (
        "python3 (pid 4242) holds Neuron device 0 and 1 more; a process (pid 77) holds "
        "Neuron device 2"
    )
    assert "kill" not in (found.fix or "")
    gpu = replace(H100, holders=(Holder("GPU 0", 5, "python"),))
    assert "python (pid 5) holds GPU 0" in wrong(make_inspection(nvidia=gpu))["holders"].evidence


@pytest.mark.parametrize(
    ("variables", "chips", "said"),
    [
        ({"NEURON_LOGICAL_NC_CONFIG": "1"}, TRN2, "not what the chips are set to: 2"),
        ({"NEURON_LOGICAL_NC_CONFIG": "3"}, TRN2, "neither 1 nor 2"),
        ({"NEURON_LOGICAL_NC_CONFIG": "2"}, TRN1, "know only 1"),
        (
            {"NEURON_LOGICAL_NC_CONFIG": "2", "NEURON_RT_VIRTUAL_CORE_SIZE": "1"},
            TRN2,
            "contradict each other",
        ),
    ],
)
def test_variables_of_lnc_that_cannot_be_are_a_problem(
    variables: dict[str, str], chips: Neuron, said: str
) -> None:
    found = wrong(make_inspection(neuron=chips, variables=variables))["logical_cores"]
    assert said in found.evidence
    assert found.fix is not None
    assert found.fix.startswith("`unset ")


def test_a_variable_of_lnc_that_fits_is_fine_and_without_chips_no_matter() -> None:
    variables = {"NEURON_LOGICAL_NC_CONFIG": "2"}
    assert verdict(make_inspection(neuron=TRN2, variables=variables), "logical_cores") == "ok"
    assert verdict(make_inspection(variables={**variables}), "logical_cores") is None


@pytest.mark.parametrize(
    ("nvidia", "standing", "said"),
    [
        (Nvidia(pci_devices=8), "problem", "without its driver"),
        (replace(H100, lost=("GPU 1: GPU is lost",)), "problem", "GPU 1: GPU is lost"),
        (replace(H100, device_files=2), "problem", "sees 1 of 2"),
        (replace(H100, reason="NVML: mismatch"), "warning", "NVML: mismatch"),
    ],
)
def test_gpus_that_the_driver_does_not_give_are_told(
    nvidia: Nvidia, standing: str, said: str
) -> None:
    found = wrong(make_inspection(nvidia=nvidia))["nvidia_driver"]
    assert (found.verdict, said in found.evidence) == (standing, True)


def test_nothing_that_a_container_was_not_given_is_a_fault() -> None:
    container = replace(HOST, is_container=True)
    some = replace(H100, pci_devices=8, device_files=8)
    none = replace(H100, gpus=(), pci_devices=8, is_hidden=True)
    cuda = make_inventory({"torch": "2.13.0+cu130"})
    assert wrong(make_inspection(host=container, nvidia=some, inventory=cuda)) == {}
    assert wrong(make_inspection(nvidia=replace(H100, pci_devices=8), inventory=cuda)) == {}
    only_cpu = Devices((CPU,), {})
    hidden = make_inspection(host=container, nvidia=none, devices=only_cpu)
    assert (wrong(hidden), verdict(hidden, "nvidia_driver")) == ({}, "absent")
    chips = Neuron(pci_devices=16, is_driver_loaded=True, is_hidden=True)
    hidden = make_inspection(host=container, neuron=chips, devices=only_cpu)
    assert (wrong(hidden), verdict(hidden, "neuron_driver")) == ({}, "absent")


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("the package nvidia-ml-py is not installed", "pip install"),
        ("NVML: Driver/library version mismatch", "restart the machine"),
        ("NVML: Unknown Error", "start the container again"),
        ("NVML: of next year", "nvidia-smi"),
    ],
)
def test_each_failure_of_nvml_has_its_own_fix(reason: str, fix: str) -> None:
    found = wrong(make_inspection(nvidia=replace(H100, reason=reason)))["nvidia_driver"]
    assert fix in (found.fix or "")


# --- what is around -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "generation", "where"),
    [(NATIVE, "native", "/tmp/neff_cache"), (XLA, "xla", "/var/tmp/neuron-compile-cache")],
)
def test_a_cache_that_may_vanish_is_a_warning(
    versions: dict[str, str], generation: NeuronGeneration, where: str
) -> None:
    seen = make_inspection(neuron=TRN2, inventory=make_inventory(versions, generation))
    assert where in wrong(seen)["cache"].evidence


@pytest.mark.parametrize(
    ("value", "is_told"), [("1", True), ("0", False), ("", False), ("false", False)]
)
def test_profiling_that_is_left_on_is_a_warning(value: str, is_told: bool) -> None:
    seen = make_inspection(variables={"NEURON_RT_INSPECT_ENABLE": value, "XLA_IR_DEBUG": value})
    assert ("profiling" in wrong(seen)) == is_told


def test_efa_is_missed_only_where_there_may_be_several_machines() -> None:
    seen = make_inspection(ec2=trn2_48xlarge(), neuron=TRN2)
    assert "several machines" in wrong(seen)["efa"].evidence
    single = make_inspection(ec2=Ec2(instance="trn2.3xlarge", region="sa-east-1"), neuron=TRN2)
    assert "efa" not in wrong(single)
    there = Network(efa_devices=("a", "b"), has_provider=True)
    assert verdict(make_inspection(ec2=trn2_48xlarge(), network=there), "efa") == "ok"
    unoffered = wrong(make_inspection(network=replace(there, has_provider=False)))
    assert "FI_PROVIDER=efa" in (unoffered["efa"].fix or "")


def test_efa_that_this_process_cannot_open_or_beside_another_fabric_is_no_fault() -> None:
    hidden = Network(efa_devices=("a",), is_hidden=True)
    seen = make_inspection(ec2=trn2_48xlarge(), network=hidden)
    assert verdict(seen, "efa") == "absent"
    assert "huge_pages" not in wrong(seen)
    beside = Network(efa_devices=("a",), has_provider=False, other_rdma_devices=8)
    assert verdict(make_inspection(network=beside), "efa") == "absent"
    inside = make_inspection(ec2=trn2_48xlarge(), host=replace(HOST, is_container=True))
    assert "efa" not in wrong(inside)


def test_efa_without_huge_pages_is_a_warning() -> None:
    network = Network(efa_devices=("a",), has_provider=True)
    assert "huge_pages" in wrong(make_inspection(network=network))
    reserved = make_inspection(network=network, host=replace(HOST, huge_pages=5128))
    assert verdict(reserved, "huge_pages") == "ok"


def test_a_processor_that_saves_power_is_a_warning() -> None:
    assert "governor" in wrong(make_inspection(host=replace(HOST, governor="powersave")))
    assert wrong(make_inspection(host=replace(HOST, governor="performance"))) == {}


def test_an_instance_has_its_price_by_region_and_life_cycle() -> None:
    seen = make_inspection(ec2=trn2_48xlarge())
    assert verdict(seen, "price") == "ok"
    assert verdict(seen, "ec2") == "ok"
    spot = make_inspection(ec2=replace(trn2_48xlarge(), life_cycle="spot", region="us-east-1"))
    assert "spot" in wrong(spot)["price"].evidence


def test_a_metadata_service_that_is_silent_costs_the_price_and_is_told() -> None:
    host = replace(HOST, instance="trn2.48xlarge")
    seen = make_inspection(host=host, ec2=Ec2(reason="EC2's metadata service: status 401"))
    found = wrong(seen)
    assert "401" in found["ec2"].evidence
    assert "does not say which region" in found["price"].evidence


def test_an_accelerator_that_torch_does_not_use_is_a_problem() -> None:
    cuda = make_inventory({"torch": "2.13.0+cu130"})
    unused = make_inspection(nvidia=H100, inventory=cuda, devices=Devices((CPU,), {}))
    assert "CPU alone" in wrong(unused)["devices"].evidence
    used = make_inspection(nvidia=H100, inventory=cuda, devices=Devices((TORCH_H100, CPU), {}))
    assert wrong(used) == {}
    assert verdict(make_inspection(devices=Devices((CPU,), {})), "devices") == "ok"
    far = replace(CPU, backend="torch_far", supported=False, note="its extension is broken")
    found = wrong(make_inspection(devices=Devices((far, CPU), {})))["devices"]
    assert "torch_far: its extension is broken" in found.evidence


def test_a_torch_that_cannot_be_imported_is_a_problem() -> None:
    found = wrong(make_inspection(devices_reason="undefined symbol"))
    assert "undefined symbol" in found["devices"].evidence


@pytest.mark.parametrize(
    ("words", "said"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_words_are_joined_as_people_do(words: list[str], said: str) -> None:
    assert join_words(words) == said
