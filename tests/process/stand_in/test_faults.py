"""Each fault that a test can ask for comes in the vendor's words, at the moment that was set."""

import signal
from typing import Any

import pytest

from tests.process.stand_in.interpreter import PROGRAMS, ask, needs_python_devices, start
from tests.stand_in import stand_in_environment

pytestmark = needs_python_devices

BEGINNINGS = {
    "busy": "NeuronCore(s) not available - Requested:nc1-nc1 Available:0",
    "init": "nrt_init failed. Status = 1",
    "driver": "Unable to determine Neuron Driver version. Please check aws-neuron-dkms package",
    "memory": 'nrt_tensor_allocate status=4 message="Allocation Failure"',
    "hbm": "[NCC_EOOM002] Maximum peak HBM usage of 18.12GB exceeds HBM limit of 16.00GB for Trn1",
    "compiler_killed": "neuronx-cc failed with -9",
    "compiler_error": "Failed compilation with ['neuronx-cc', ",
    "unsupported": "[NCC_EVRF001] ",
    "timeout": "(FATAL-RT-UNDEFINED-STATE) missing collectives status on Neuron Device 0 NC 0",
}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What happens with each fault in turn."""
    faults: dict[str, Any] = ask("faults", environment=stand_in_environment())["faults"]
    return faults


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_the_fault_has_the_vendors_text(found: dict[str, Any], kind: str) -> None:
    assert found[kind].startswith(f"RuntimeError: {BEGINNINGS[kind]}")


def test_a_compilers_error_names_its_code_on_a_later_line(found: dict[str, Any]) -> None:
    assert found["compiler_error"].splitlines()[-1].startswith("[INTERNAL_ERROR] [NCC_INLA001]")


def test_a_fault_can_wait_for_an_op(found: dict[str, Any]) -> None:
    assert [bool(error) for error in found["third op"]] == [False, False, True, False]


@pytest.mark.parametrize("kind", ["hangs", "compile_hangs"])
def test_a_call_can_hang(found: dict[str, Any], kind: str) -> None:
    assert found[kind]


def test_the_environment_sets_the_fault_for_the_first_touch() -> None:
    environment = stand_in_environment(fault="busy")
    assert ask("touch", environment=environment)["touch"] == f"RuntimeError: {BEGINNINGS['busy']}"


def test_the_runtime_can_end_the_process() -> None:
    done = start([str(PROGRAMS), "touch"], stand_in_environment(fault="aborts@1"))
    assert done.returncode == -signal.SIGABRT
    assert done.stderr.startswith(BEGINNINGS["timeout"])
