"""Where devices are plugged in, as the vendors' tools say."""

from dataclasses import replace
from pathlib import Path

import pytest

from trnbench.machine.neuron import Neuron, parse_neuron_ls
from trnbench.machine.placement import Placement, place_devices, read_topology

DATA = Path(__file__).resolve().parents[2] / "data"
NEAR, FAR = "0-47,96-143", "48-95,144-191"


def topology(name: str) -> str:
    return (DATA / "nvidia" / f"topo.{name}.txt").read_text()


def cores_of_a_whole_machine(*, is_told: bool) -> Neuron:
    chips, _, _ = parse_neuron_ls((DATA / "neuron/neuron-ls.trn2.48xlarge.json").read_text())
    if not is_told:
        chips = tuple(replace(chip, processors=None) for chip in chips)
    return Neuron(chips=chips)


@pytest.mark.parametrize("is_told", [True, False])
def test_a_trn2_48xlarge_has_two_nodes_by_its_tool_and_by_the_catalog(is_told: bool) -> None:
    neuron = cores_of_a_whole_machine(is_told=is_told)
    found = place_devices("neuron", 0, 64, neuron, "trn2.48xlarge").processors
    assert found == (FAR,) * 16 + (NEAR,) * 32 + (FAR,) * 16


def test_a_job_of_some_cores_is_near_those() -> None:
    neuron = cores_of_a_whole_machine(is_told=True)
    assert place_devices("neuron", 14, 4, neuron, None).processors == (FAR, FAR, NEAR, NEAR)


def test_what_neither_tool_nor_catalog_says_is_unknown() -> None:
    neuron = cores_of_a_whole_machine(is_told=False)
    assert place_devices("neuron", 0, 2, neuron, "trn2.3xlarge").processors == (None, None)
    assert place_devices("cpu", 0, 2, neuron, None) == Placement()


def test_eight_gpus_with_nvlink_are_on_two_nodes() -> None:
    found = read_topology(topology("8-nvlink"), None, 0, 8)
    assert found == Placement((NEAR,) * 4 + (FAR,) * 4, {"NV18": 28})


def test_a_gpu_without_nvlink_is_seen_where_the_job_has_it() -> None:
    assert read_topology(topology("8-mixed"), None, 0, 8).links == {"NV18": 21, "SYS": 7}
    assert read_topology(topology("8-mixed"), None, 0, 4).links == {"NV18": 6}


def test_hidden_gpus_are_left_out_and_the_order_is_the_users() -> None:
    found = read_topology(topology("8-mixed"), "7,0", 0, 2)
    assert found == Placement((FAR, NEAR), {"SYS": 1})


@pytest.mark.parametrize("text", ["", "Failed to initialize NVML", "\t\tGPU0\nGPU0"])
def test_what_cannot_be_read_is_not_known(text: str) -> None:
    assert read_topology(text, None, 0, 2) == Placement()
