"""The host's figures: from the real machine, and from one whose counters are scripted."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest

from tests.pure.machine.places import write
from trnbench.machine.host import TEMPERATURE_SECONDS, HostSource, memory_limit
from trnbench.machine.look import is_container
from trnbench.machine.source import QUANTITIES, Subject


class Times(NamedTuple):
    user: float
    system: float
    idle: float
    iowait: float
    guest: float


def a_system(**changes: Any) -> SimpleNamespace:
    answers: dict[str, Any] = {
        "cpu_times": lambda: Times(10.0, 5.0, 80.0, 5.0, 2.0),
        "virtual_memory": lambda: SimpleNamespace(used=2**30),
        "getloadavg": lambda: (1.5, 1.0, 0.5),
    }
    return SimpleNamespace(**(answers | changes))


def sensors(*celsius: float | None) -> dict[str, list[SimpleNamespace]]:
    return {f"chip{n}": [SimpleNamespace(current=c)] for n, c in enumerate(celsius)}


def test_the_real_machine_has_plausible_figures() -> None:
    source = HostSource.open(Subject())
    (reading,) = source.read(1.0)
    source.close()
    assert (reading.source, reading.device, reading.is_valid) == ("host", None, True)
    assert reading.values.keys() <= QUANTITIES.keys()
    assert 2**20 < reading.values["memory_used_bytes"] <= psutil.virtual_memory().total
    assert 0.0 <= reading.values.get("cpu_share", 0.0) <= 1.0


def test_the_processors_share_is_that_since_the_last_reading() -> None:
    # ExternalModels' time is in that of users; waiting for a disk is not busy.
    script = iter(
        [
            Times(10.0, 5.0, 80.0, 5.0, 2.0),
            Times(16.0, 6.0, 81.0, 7.0, 6.0),
            Times(16.0, 6.0, 91.0, 7.0, 6.0),
            Times(16.0, 6.0, 91.0, 7.0, 6.0),
        ]
    )
    source = HostSource(a_system(cpu_times=lambda: next(script)))
    # Busy 7 of 10 seconds; then idle; then no tick has passed.
    assert source.read(1.0)[0].values["cpu_share"] == pytest.approx(0.7)
    assert source.read(2.0)[0].values["cpu_share"] == 0.0
    assert "cpu_share" not in source.read(2.0)[0].values


def test_load_and_memory_are_told() -> None:
    (reading,) = HostSource(a_system()).read(1.0)
    assert reading.values == {"memory_used_bytes": 2.0**30, "load_average": 1.5}


def test_a_machine_without_a_load_average_has_none() -> None:
    def refuse() -> None:
        raise OSError("no load here")

    (reading,) = HostSource(a_system(getloadavg=refuse)).read(1.0)
    assert "load_average" not in reading.values


def test_the_temperature_is_that_of_the_hottest_sensor_that_works() -> None:
    system = a_system(sensors_temperatures=lambda: sensors(40.0, 71.5, None, 255.0, -128.0, 0.0))
    (reading,) = HostSource(system).read(0.0)
    assert reading.values["temperature_celsius"] == 71.5


def test_a_machine_without_working_sensors_has_no_temperature() -> None:
    def refuse() -> None:
        raise OSError("the firmware is busy")

    for ask in (dict, lambda: sensors(None, 0.0), refuse):
        (reading,) = HostSource(a_system(sensors_temperatures=ask)).read(0.0)
        assert "temperature_celsius" not in reading.values


def test_the_sensors_are_asked_less_often_than_the_rest() -> None:
    source = HostSource(a_system(sensors_temperatures=lambda: sensors(50.0)))
    moments = [0.0, 1.0, TEMPERATURE_SECONDS - 0.1, TEMPERATURE_SECONDS, TEMPERATURE_SECONDS + 1]
    told = [at for at in moments if "temperature_celsius" in source.read(at)[0].values]
    assert told == [0.0, TEMPERATURE_SECONDS]


@pytest.mark.parametrize(
    ("path", "text", "is_one"),
    [
        (".dockerenv", "", True),
        ("run/.containerenv", "", True),
        ("proc/1/cgroup", "12:cpu:/kubepods/burstable/pod1\n", True),
        ("proc/self/mountinfo", "30 1 0:24 / / rw,relatime - overlay overlay rw\n", True),
        (
            "proc/self/mountinfo",
            "30 1 8:1 / / rw - ext4 a rw\n31 30 0:24 / /x - overlay o\n",
            False,
        ),
        ("proc/1/cgroup", "0::/init.scope\n", False),
    ],
)
def test_a_container_is_known_by_what_its_makers_leave(
    path: str, text: str, is_one: bool, tmp_path: Path
) -> None:
    write(tmp_path, path, text)
    assert is_container(tmp_path) == is_one


def test_the_least_limit_of_a_container_s_groups_is_its_memory(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == math.inf
    write(tmp_path, "proc/self/cgroup", "0::/kubepods/pod1/box\n")
    write(tmp_path, "sys/fs/cgroup/kubepods/pod1/box/memory.max", "max\n")
    assert memory_limit(tmp_path) == math.inf
    write(tmp_path, "sys/fs/cgroup/kubepods/pod1/memory.max", "4096\n")
    write(tmp_path, "sys/fs/cgroup/kubepods/memory.max", "8192\n")
    assert memory_limit(tmp_path) == 4096


def test_the_limit_of_the_first_version_of_control_groups_counts_too(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "5:devices:/\n4:memory:/docker/1\n0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "2048\n")
    assert memory_limit(tmp_path) == 2048
    (tmp_path / "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes").unlink()
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "1024\n")  # of the namespace
    assert memory_limit(tmp_path) == 1024
