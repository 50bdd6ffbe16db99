"""The stand-in's process group does what several ranks rest on: one launch of two ranks."""

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.process.stand_in.interpreter import needs_python_devices
from tests.stand_in import stand_in_environment

pytestmark = needs_python_devices

PROGRAMS = Path(__file__).with_name("rank_programs.py")
WORLD = 2
ON_RANKS = ("collectives", "missing_wait", "refusals", "names", "skew", "training", "freed")


def start(
    rank: int, port: int, descriptor: int | None, programs: tuple[str, ...], **settings: str
) -> subprocess.Popen[str]:
    """Start one rank, as the product's parent does: rank 0 has the listening socket."""
    place = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": WORLD if port else 1,
        "LOCAL_WORLD_SIZE": WORLD, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "OMP_NUM_THREADS": 1,
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, PROGRAMS, "-" if descriptor is None else str(descriptor), *programs],
        env={
            **os.environ,
            **stand_in_environment(),
            **{name: str(value) for name, value in place.items()},
            **settings,
        },
        pass_fds=[] if descriptor is None else [descriptor],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a rank found."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-4000:]
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    """What each of two ranks finds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        started = [
            start(rank, port, listener.fileno() if rank == 0 else None, ON_RANKS)
            for rank in range(WORLD)
        ]
        return [answer_of(process) for process in started]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What one process hears whose core another has: this one."""
    folder = tmp_path_factory.mktemp("cores")
    with (folder / "core-0").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = start(0, 0, None, ("rules",), STAND_IN_CORES=str(folder))
        found: Mapping[str, str] = answer_of(process)["rules"]
    return found


def test_each_collective_gives_the_values_of_all_ranks(ranks: list[dict[str, Any]]) -> None:
    for rank, found in enumerate(ranks):
        values = dict(found["collectives"])
        counted = values.pop("counted")
        assert values == {
            "all_reduce": [3.0, 3.0],
            "broadcast": [2.0, 2.0],
            "all_gather": [[1.0, 1.0], [2.0, 2.0]],
            "all_gather_single": [1.0, 1.0, 2.0, 2.0],
            "reduce_scatter": [3.0],
            "all_to_all": [1.0, 2.0],
            "received": [2.0 - rank, 2.0 - rank],
            "objects": [{"rank": 0}, {"rank": 1}],
        }
        assert counted["c10d::allreduce"] == counted["c10d::send"] == counted["c10d::recv"] == 1


def test_values_that_are_not_waited_for_are_not_there(ranks: list[dict[str, Any]]) -> None:
    assert [found["missing_wait"] for found in ranks] == [{"before": "nan", "after": "2.0"}] * 2


def test_what_the_group_cannot_do_is_refused(ranks: list[dict[str, Any]]) -> None:
    refused = ranks[1]["refusals"]
    assert refused["cpu"] == "RuntimeError: No backend type associated with device type cpu"
    assert refused["host group"] == "2.0", "a second group, of gloo, takes the host's data"
    assert "of no part of them" in refused["barrier of a part"]
    assert refused["number"].startswith("IndexError")
    assert "unequal parts" in refused["uneven"]
    assert refused["twice"].endswith("trying to initialize the default process group twice!")


def test_a_quiet_fallback_to_gloo_works_and_shows_in_the_group_alone(
    ranks: list[dict[str, Any]],
) -> None:
    expected = {"found": "neuron", "fallen": "gloo", "asked": "neuron", "sum": "2.0"}
    assert ranks[0]["names"] == expected


def test_a_slow_rank_takes_longer_and_holds_up_the_others(ranks: list[dict[str, Any]]) -> None:
    fast, slow = (found["skew"] for found in ranks)
    assert slow["own"] == pytest.approx(3 * fast["own"])
    assert fast["collective"] == pytest.approx(1e-4 + 400 / 1e6)
    assert fast["ended"] == slow["ended"]


@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
def test_training_is_that_of_one_process(ranks: list[dict[str, Any]], way: str) -> None:
    first, second = (found["training"] for found in ranks)
    means = [(a + b) / 2 for a, b in zip(first[way], second[way], strict=True)]
    assert means == pytest.approx(first["cpu"], rel=2e-6)
    assert first[way] != second[way], "each rank has rows of its own"
    assert first["share"] == 0.5


def test_a_freed_storage_gives_its_bytes_back_and_reads_as_nan(ranks: list[dict[str, Any]]) -> None:
    found = ranks[0]["freed"]
    assert (found["freed"], found["refilled"], found["read"]) == (4000, 4000, "nan")
    assert "emptied and refilled" in found["half"]


def test_a_group_comes_before_the_device_and_once(rules: Mapping[str, str]) -> None:
    too_early = (
        "RuntimeError: Neuron runtime should not be initialized before the init_process_group."
    )
    assert (rules["in order"], rules["touched before"], rules["again"]) == (
        "",
        too_early,
        too_early,
    )
    assert "twice!" in rules["twice"]


def test_a_rank_has_one_core_that_no_other_has(rules: Mapping[str, str]) -> None:
    assert "a rank has one core, and not 0-3" in rules["range"]
    assert "Requested:lnc0-lnc0 Available:0" in rules["core of another"]
