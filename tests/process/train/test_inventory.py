"""What is installed is read from metadata, and the Neuron generation from the version alone."""

import sys
from pathlib import Path

import pytest

from tests.process.train.children import run_child
from trnbench.protocol.orders import TakeInventory
from trnbench.protocol.records import Inventory
from trnbench.train.software import generation_of


@pytest.mark.parametrize(
    ("version", "generation"),
    [
        ("2.14.3.0.1234", "native"),
        ("2.13.3.0.77+abc", "native"),
        ("2.10.0.1", "native"),
        ("2.9.0.2.15.32035", "xla"),
        ("1.13.1.1.9.0", "xla"),
        ("1.0", "stub"),
    ],
)
def test_the_version_alone_decides_the_generation(version: str, generation: str) -> None:
    assert generation_of(version) == generation


def install(folder: Path, name: str, version: str, entry_points: str = "") -> None:
    """Write metadata of a package that cannot be imported."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


def take(folder: Path, *packages: tuple[str, str, str]) -> Inventory:
    for name, version, points in packages:
        install(folder / "site", name, version, points)
    ended = run_child(
        folder,
        TakeInventory(),
        python=(sys.executable, "-S"),
        environment={"PYTHONPATH": str(folder / "site")},
    )
    record, _finished = ended.records
    assert isinstance(record, Inventory)
    return record


def test_nothing_is_installed_and_nothing_is_wrong(tmp_path: Path) -> None:
    record = take(tmp_path)
    assert (record.versions, record.neuron) == ({}, None)


def test_native_packages_are_known_though_xla_lies_beside_them(tmp_path: Path) -> None:
    points = (
        "[torch.backends]\ntorch_neuronx = torch_neuronx:_autoload\n"
        "[torch_dynamo_backends]\nneuron = torch_neuronx.neuron_dynamo_backend:compile\n"
    )
    record = take(
        tmp_path,
        ("torch", "2.14.0+cpu", ""),
        ("torch-neuronx", "2.14.3.0.1", points),
        ("torch-xla", "2.11.0", ""),
        ("libneuronxla", "3.0.10135.0", ""),
    )
    assert record.neuron == "native"
    assert record.versions["torch-xla"] == "2.11.0"
    assert record.entry_points == {
        "torch.backends": ["torch_neuronx"],
        "torch_dynamo_backends": ["neuron"],
    }


def test_the_public_index_s_empty_package_is_known_for_what_it_is(tmp_path: Path) -> None:
    record = take(tmp_path, ("torch-neuronx", "1.0", ""), ("neuronx-cc", "1.0.post1", ""))
    assert record.neuron == "stub"
