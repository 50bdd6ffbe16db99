"""EFA, from the kernel's files and a stand-in of libfabric's tool."""

from pathlib import Path

import pytest

from tests.pure.machine.places import write, write_tool
from trnbench.machine.network import look_at_network

OFFERED = "echo 'provider: efa'; echo '    fabric: efa-direct'"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path


def add_device(root: Path, name: str, driver: str) -> None:
    drivers = root / "sys/bus/pci/drivers" / driver
    drivers.mkdir(parents=True, exist_ok=True)
    write(root, f"sys/class/infiniband/{name}/device/vendor")
    (root / f"sys/class/infiniband/{name}/device/driver").symlink_to(drivers)


def test_efa_devices_are_told_from_others_by_their_driver(root: Path) -> None:
    for name in ("rdmap16s27", "rdmap32s27"):
        add_device(root, name, "efa")
    add_device(root, "mlx5_0", "mlx5_core")
    write(root, "sys/module/efa/version", "2.15.3g\n")
    network = look_at_network(root)
    assert network.efa_devices == ("rdmap16s27", "rdmap32s27")
    assert (network.other_rdma_devices, network.driver_version) == (1, "2.15.3g")
    assert (network.has_provider, network.reason) == (None, "fi_info is not installed")
    assert network.kept() == {"devices": 2, "driver_version": "2.15.3g", "has_provider": None}


@pytest.mark.parametrize(
    ("script", "has_provider", "reason"),
    [
        (OFFERED, True, None),
        ("echo 'fi_getinfo: -61 (No data available)'; exit 61", False, None),
        ("exec tail -f /dev/null", None, "fi_info did not answer in 0.2 s"),
    ],
)
def test_libfabric_is_asked_whether_it_offers_efa(
    root: Path, script: str, has_provider: bool | None, reason: str | None
) -> None:
    (root / "sys/class/infiniband/efa_0").mkdir(parents=True)
    write(root, "dev/infiniband/uverbs0")
    write_tool(root, "opt/amazon/efa/bin/fi_info", script)
    network = look_at_network(root, seconds=0.2 if reason else 10)
    assert (network.has_provider, network.reason) == (has_provider, reason)


def test_without_efa_libfabric_is_not_asked(root: Path) -> None:
    write_tool(root, "opt/amazon/efa/bin/fi_info", OFFERED)
    network = look_at_network(root)
    assert (network.efa_devices, network.has_provider, network.kept()) == ((), None, None)


@pytest.mark.parametrize("given", [[], ["uverbs1"]])
def test_efa_whose_device_file_is_not_here_says_nothing_of_libfabric(
    root: Path, given: list[str]
) -> None:
    # sysfs is the host's: a container sees there what it cannot open, beside what it can.
    for number, name in enumerate(("efa_0", "mlx5_0")):
        (root / f"sys/class/infiniband/{name}").mkdir(parents=True)
        write(root, f"sys/class/infiniband_verbs/uverbs{number}/ibdev", f"{name}\n")
    for name in given:
        write(root, f"dev/infiniband/{name}")
    write_tool(root, "opt/amazon/efa/bin/fi_info", "exit 61")
    network = look_at_network(root)
    assert (network.is_hidden, network.has_provider) == (True, None)
    write(root, "dev/infiniband/uverbs0")
    assert look_at_network(root).has_provider is False
