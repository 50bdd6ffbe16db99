"""The stand-in for the Neuron device does what the tests of the backend rest on."""

import fcntl
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.process.stand_in.interpreter import ask, needs_python_devices, start
from tests.process.train.children import run_child
from tests.stand_in import FOLDER, stand_in_environment
from trnbench.protocol.orders import TakeInventory

pytestmark = needs_python_devices

OP_SECONDS = 0.008
"""Fifty of them are far more than a busy host takes to give them."""


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """What programs find that want no setting."""
    programs = ("surface", "mixing", "values", "memory", "tied", "fallback", "autocast_types")
    return ask(*programs, environment=stand_in_environment())


@pytest.fixture(scope="module")
def other() -> dict[str, Any]:
    """What the same find where nearly everything is set otherwise."""
    settings = stand_in_environment(
        memory="flat",
        memory_limit_bytes=2**20,
        fallback="aten::cumsum,aten::mm",
        fallback_shape="dict",
        keep_parameters=True,
    )
    programs = ("surface", "memory", "tied", "fallback", "forked")
    return ask(*programs, environment={**settings, "LOCAL_RANK": "2"})


@pytest.fixture(scope="module")
def timed() -> dict[str, Any]:
    """What programs find that look at the clock."""
    settings = stand_in_environment(
        op_seconds=OP_SECONDS, flops_per_second=1e9, eager_compile_seconds=0.25
    )
    return ask("timing", "products", "eager_compile", environment=settings)


def test_it_works_in_a_fresh_interpreter_without_a_word() -> None:
    code = (
        "import torch; torch.nn.Linear(4,4).to('neuron')"
        "(torch.randn(2,4,device='neuron')).sum().backward()"
    )
    done = start(["-c", code], stand_in_environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_shows_itself_as_one_trainium2_chip(plain: dict[str, Any]) -> None:
    found = plain["surface"]
    assert (found["device"], found["accelerator"]) == ("neuron", "neuron")
    assert found["available"] == [True, True]
    assert found["count"] == 4
    assert found["properties"] == ["trn2 (stand-in)", 24 * 1024**3]
    assert found["bf16"]
    assert found["same draws"]


def test_looking_claims_nothing_and_a_tensor_does(plain: dict[str, Any]) -> None:
    assert (plain["surface"]["touched by looking"], plain["surface"]["touched"]) == (False, True)


def test_a_rank_has_its_own_core_alone(plain: dict[str, Any], other: dict[str, Any]) -> None:
    alone = "RuntimeError: rank 2 owns neuron:2 alone, not neuron:"
    found = other["surface"]
    assert (found["current"], found["own"]) == (0, "")
    assert (found["other"], found["allocated on other"]) == (f"{alone}1", f"{alone}1")
    assert plain["surface"]["other"] == ""


def test_a_core_is_of_one_process_and_who_names_none_wants_all(tmp_path: Path) -> None:
    settings = stand_in_environment(cores=str(tmp_path))
    free = ask("touch", environment={**settings, "NEURON_RT_VISIBLE_CORES": "1"})
    with (tmp_path / "core-0").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        beside = ask("touch", environment={**settings, "NEURON_RT_VISIBLE_CORES": "1-3"})
        everything = ask("touch", environment=settings)
    assert (free["touch"], beside["touch"]) == ("", "")
    refusal = "Logical Neuron Core(s) not available - Requested:lnc0-lnc3 Available:3"
    assert refusal in everything["touch"]


def test_more_than_a_core_has_is_refused_before_the_host_is_asked() -> None:
    code = "import torch; torch.empty(2**50, dtype=torch.uint8, device='neuron')"
    assert "Allocation Failure" in start(["-c", code], stand_in_environment()).stderr


def test_a_forked_child_cannot_use_it(other: dict[str, Any]) -> None:
    assert "Cannot re-initialize Neuron runtime in forked subprocess" in other["forked"]


def test_tensors_of_different_devices_refuse_to_mix(plain: dict[str, Any]) -> None:
    refusal = (
        "RuntimeError: Expected all tensors to be on the same device, but found at least two "
        "devices, neuron:0 and cpu!"
    )
    errors = dict(plain["mixing"])
    assert errors.pop("numpy").startswith("TypeError: can't convert neuron:0 device type tensor")
    assert len(errors) == 10
    assert {name: error[: len(refusal)] for name, error in errors.items()} == dict.fromkeys(
        errors, refusal
    )


def test_odd_forms_of_ops_give_the_cpus_values(plain: dict[str, Any]) -> None:
    found = plain["values"]
    assert found["x"] == [[7.0, 1.0, 2.0], [3.0, 4.0, 9.0]]
    assert found["out"] == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]
    assert found["nonzero"] == [[0, 0], [1, 2]]
    assert found["printed"] == "tensor([7., 1., 2.], device='neuron:0')"
    assert found["number"] == 52.0
    assert found["grown"] == 0


def test_what_is_not_waited_for_reads_as_nearly_no_time(timed: dict[str, Any]) -> None:
    found = timed["timing"]
    assert found["no wait"] < found["synchronize"] / 3
    assert found["view"] < found["synchronize"] / 3


@pytest.mark.parametrize("wait", ["synchronize", "accelerator", "item", "copy", "equal", "nonzero"])
def test_every_way_to_the_values_waits(timed: dict[str, Any], wait: str) -> None:
    assert timed["timing"][wait] >= 50 * OP_SECONDS


def test_a_copy_to_the_host_counts_as_one_wait(timed: dict[str, Any]) -> None:
    assert timed["timing"]["waits for a copy"] == 1


def test_twice_the_work_takes_about_twice_the_time(timed: dict[str, Any]) -> None:
    ratio = timed["timing"]["twice"] / timed["timing"]["synchronize"]
    assert 1.6 < ratio < 2.4


def test_products_take_time_by_their_operations(timed: dict[str, Any]) -> None:
    per_row = 2 * 64 * 64 / 1e9
    assert timed["products"]["once"] == pytest.approx(OP_SECONDS + 64 * per_row)
    assert timed["products"]["twice"] == pytest.approx(OP_SECONDS + 128 * per_row)


def test_each_new_op_and_shape_is_compiled_once(timed: dict[str, Any]) -> None:
    first, again, reshaped = timed["eager_compile"]
    assert min(first, reshaped) >= 0.25 > again


def test_events_tell_the_same_whatever_the_work(timed: dict[str, Any]) -> None:
    assert timed["timing"]["event"] == 0.03
    expected = "RuntimeError: Event was not created with timing enabled"
    assert timed["timing"]["event without timing"] == expected


@pytest.mark.parametrize("which", ["plain", "other"])
def test_memory_counts_what_tensors_hold(which: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(which)["memory"]
    held = found["before"]
    assert held >= found["kept"] == 4096
    assert (found["during"], found["after"], found["peak after reset"]) == (
        held + 16384,
        held,
        held,
    )
    assert found["peak"] >= found["during"]
    assert found["reserved"] == [2**21, 2**21]
    assert "allocated_bytes" in found["summary"]


def test_memory_statistics_come_nested(plain: dict[str, Any]) -> None:
    found = plain["memory"]
    assert found["stats"]["allocated_bytes"]["current"] == found["after"]
    assert set(found["stats"]["reserved_bytes"]) == {"current", "peak", "allocated", "freed"}


def test_memory_statistics_come_flat(other: dict[str, Any]) -> None:
    found = other["memory"]
    assert found["stats"]["allocated_bytes.all.current"] == found["after"]
    assert "allocated_bytes" not in found["stats"]


def test_memory_functions_can_be_absent() -> None:
    found = ask("memory", environment=stand_in_environment(memory="none"))["memory"]
    assert found == {"functions": []}


def test_beyond_the_limit_nothing_is_allocated(
    plain: dict[str, Any], other: dict[str, Any]
) -> None:
    refusal = 'RuntimeError: nrt_tensor_allocate status=4 message="Allocation Failure"'
    assert other["memory"]["too much"] == refusal
    assert plain["memory"]["too much"] == ""


def test_named_ops_count_as_run_on_the_cpu(plain: dict[str, Any], other: dict[str, Any]) -> None:
    on_device = {"executed": ["aten::cumsum"] * 2, "before": [], "found": [], "cleared": []}
    assert plain["fallback"] == on_device
    assert other["fallback"] == {
        "executed": [], "before": {}, "found": {"aten::cumsum": 2}, "cleared": {}
    }  # fmt: skip


def test_tied_weights_come_untied_unless_parameters_are_kept(
    plain: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (plain["tied"], other["tied"]) == (False, True)


def test_autocast_makes_products_in_bf16_and_sums_in_float32(plain: dict[str, Any]) -> None:
    expected = {"product": "torch.bfloat16", "softmax": "torch.float32", "sum": "torch.bfloat16"}
    assert plain["autocast_types"] == expected


@pytest.mark.parametrize(
    ("name", "value"), [("STAND_IN_FALT", "memory"), ("STAND_IN_FAULT", "memmory")]
)
def test_a_misspelt_setting_is_refused(name: str, value: str) -> None:
    read_settings = runpy.run_path(str(FOLDER / "site/torch_neuronx/settings.py"))["read_settings"]
    with pytest.raises(ValueError, match=name):
        read_settings({name: value})


def test_its_metadata_is_that_of_the_native_package(tmp_path: Path) -> None:
    environment = stand_in_environment()
    inventory = run_child(tmp_path, TakeInventory(), environment=environment).records[0]
    assert inventory.neuron == "native"
    assert inventory.versions["torch-neuronx"] == "2.13.3.0.1+standin"
    assert "torch_neuronx" in inventory.entry_points["torch.backends"]
    assert "neuron" in inventory.entry_points["torch_dynamo_backends"]
