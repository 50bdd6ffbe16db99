"""Neuron chips, from samples of `neuron-ls` and the files of the driver."""

import json
from pathlib import Path

import pytest

from tests.pure.machine.places import SAMPLES, write, write_neuron_ls, write_pci, write_tool
from trnbench.machine.look import Holder, program_of
from trnbench.machine.neuron import look_at_neuron, parse_neuron_ls


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def sample(name: str) -> str:
    return (SAMPLES / f"neuron-ls.{name}.json").read_text()


def test_a_busy_trn2_48xlarge_is_read_in_full(bin_folder: Path, root: Path) -> None:
    write_neuron_ls(bin_folder, "trn2.48xlarge")
    neuron = look_at_neuron(root)
    assert (len(neuron.chips), neuron.logical_cores, neuron.logical_core_config) == (16, 64, 2)
    assert neuron.chips[0].memory_bytes == 96 * 2**30
    assert neuron.chips[0].connected_to == (12, 3, 4, 1)
    assert neuron.holders == (Holder("Neuron device 0", 4242, "python3", 0),)
    kept = neuron.kept()
    assert kept is not None
    assert kept["memory_bytes_per_chip"] == 96 * 2**30
    assert "4242" not in json.dumps(kept)
    assert "python3" not in json.dumps(kept)


def test_newer_tools_name_the_instance_and_a_single_chip_has_no_links() -> None:
    (chip,), holders, instance = parse_neuron_ls(sample("trn2.3xlarge"))
    assert (instance, holders, chip.connected_to) == ("trn2.3xlarge", (), ())


def test_a_trainium1_has_no_lnc_and_no_numa_node() -> None:
    (chip,), _, _ = parse_neuron_ls(sample("trn1.2xlarge"))
    assert (chip.logical_core_config, chip.numa_node, chip.logical_cores) == (None, None, 2)


def test_the_tool_is_found_where_aws_puts_it(bin_folder: Path, root: Path) -> None:
    write_neuron_ls(root / "opt/aws/neuron/bin", "trn2.3xlarge")
    assert len(look_at_neuron(root).chips) == 1


def test_no_chip_is_nothing_wrong(bin_folder: Path, root: Path) -> None:
    write_tool(bin_folder, "neuron-ls", "exit 1")
    neuron = look_at_neuron(root)
    assert (neuron.is_here, neuron.reason) == (False, None)
    assert neuron.kept() is None


def test_devices_that_the_tool_does_not_see_are_told(bin_folder: Path, root: Path) -> None:
    write_tool(bin_folder, "neuron-ls", "exit 1")
    write(root, "dev/neuron0")
    assert look_at_neuron(root).reason == "neuron-ls saw none of 1 devices"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo Segmentation fault", "neuron-ls wrote something that is not JSON"),
        ("echo '{}'", "neuron-ls wrote something that is not a list of devices"),
        ("head -c 100000 /dev/zero | tr '\\0' '['", "neuron-ls wrote something that is not JSON"),
    ],
)
def test_rubbish_is_told_and_is_no_error(
    bin_folder: Path, root: Path, script: str, reason: str
) -> None:
    write_tool(bin_folder, "neuron-ls", script)
    write(root, "dev/neuron0")
    neuron = look_at_neuron(root)
    assert (neuron.chips, neuron.reason, neuron.is_here) == ((), reason, True)


def test_a_tool_that_hangs_is_given_up(bin_folder: Path, root: Path) -> None:
    write_tool(bin_folder, "neuron-ls", "exec tail -f /dev/null")
    assert look_at_neuron(root, seconds=0.2).reason == "neuron-ls did not answer in 0.2 s"


def test_devices_without_the_tool_are_counted(bin_folder: Path, root: Path) -> None:
    for number in range(4):
        write(root, f"dev/neuron{number}")
    neuron = look_at_neuron(root)
    assert (neuron.device_files, neuron.reason) == (4, "neuron-ls is not installed")
    kept = neuron.kept()
    assert kept is not None
    assert (kept["chips"], kept["logical_cores"]) == (4, None)


def test_chips_on_the_bus_are_seen_without_a_driver(bin_folder: Path, root: Path) -> None:
    write_pci(root, "0000:00:1e.0", "0x1d0f", "0x7364", "0x088000")
    write_pci(root, "0000:00:05.0", "0x1d0f", "0xec20", "0x020000")  # a network interface
    neuron = look_at_neuron(root)
    assert (neuron.pci_devices, neuron.is_here, neuron.is_driver_loaded) == (1, True, False)


@pytest.mark.parametrize("path", ["sys/module/neuron/version", "proc/modules"])
def test_the_driver_is_known_by_either_file(bin_folder: Path, root: Path, path: str) -> None:
    write(root, path, "2.31.7.0\n" if path.startswith("sys") else "neuron 300000 0 - Live 0x0\n")
    neuron = look_at_neuron(root)
    assert neuron.is_driver_loaded
    assert neuron.driver_version == ("2.31.7.0" if path.startswith("sys") else None)


def test_system_packages_are_read_from_dpkg_where_there_are_chips(
    bin_folder: Path, root: Path
) -> None:
    status = (
        "Package: aws-neuronx-dkms\nStatus: install ok installed\nVersion: 2.31.7.0\n\n"
        "Package: bash\nVersion: 5.2\n\nPackage: aws-neuronx-tools\nVersion: 2.33.38.0\n"
    )
    write(root, "var/lib/dpkg/status", status)
    assert look_at_neuron(root).system_packages == {}
    write(root, "dev/neuron0")
    assert look_at_neuron(root).system_packages == {
        "aws-neuronx-dkms": "2.31.7.0",
        "aws-neuronx-tools": "2.33.38.0",
    }


@pytest.mark.parametrize(
    "odd",
    [
        "[]",
        "[null, 3, {}]",
        '[{"neuron_device": "0", "nc_count": "4", "neuron_processes": [{"pid": "7"}, 3, {}]}]',
        '[{"neuron_device": true, "connected_to": "none", "neuron_processes": null}]',
        '[{"neuron_device": 0, "connected_to": [1, null, "2"], "memory_size": 1.5}]',
    ],
)
def test_what_is_odd_is_unknown_and_never_an_error(odd: str) -> None:
    chips, holders, _ = parse_neuron_ls(odd)
    assert len(chips) <= 1
    assert all(holder.pid == 7 for holder in holders)


@pytest.mark.parametrize(
    "odd",
    [
        'WARNING: driver 2.19 is old\n[{"neuron_device": 3, "nc_count": 4, "memory_size": 96}]',
        '[INFO] found 1 device\n\n[\n{"neuron_device": 3, "nc_count": 4, "memory_size": 96}]\n',
        '{"version": "3", "devices": [{"neuron_device": 3, "nc_count": 4, "memory_size": 96}]}',
        '[{"neuron_device": 3.0, "nc_count": 4.0, "memory_size": 9.6e1}]',
    ],
)
def test_a_document_in_another_wrapping_is_read(odd: str) -> None:
    ((chip,), _, _) = parse_neuron_ls(odd)
    assert (chip.index, chip.logical_cores, chip.memory_bytes) == (3, 4, 96)


def test_a_broken_device_has_no_sizes_below_nothing() -> None:
    text = (
        '[{"neuron_device": -1, "nc_count": -1, "memory_size": -1, '
        '"logical_neuroncore_config": 0}, {"neuron_device": 1, "nc_count": 0, "memory_size": 0}]'
    )
    (first, second), _, _ = parse_neuron_ls(text)
    assert (first.index, first.logical_cores, first.memory_bytes) == (0, None, None)
    assert first.logical_core_config is None
    assert (second.index, second.logical_cores, second.memory_bytes) == (1, 0, None)


@pytest.mark.parametrize(
    "cut", ['[{"neuron_device": 0, "nc_', '{"devices": 3}', "usage: neuron-ls [OPTIONS]", '"x"']
)
def test_what_is_no_document_is_told(cut: str) -> None:
    with pytest.raises(ValueError, match="wrote something that is not"):
        parse_neuron_ls(cut)


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("python3 train.py --token abc", "python3"),
        ("/home/somebody/venv/bin/python -m x", "python"),
        ("", None),
        ("/", None),
    ],
)
def test_of_a_command_the_program_alone_is_kept(command: str, program: str | None) -> None:
    assert program_of(command) == program
