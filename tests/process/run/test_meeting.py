"""The ranks of a job meet on a port that no other process can take, each in its own seat."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.process.run.processes import script_command
from tests.pure.train.orders import make_order
from trnbench.errors import ConfigError, UnavailableError
from trnbench.protocol.orders import Train
from trnbench.protocol.parallel import ALONE, Layout, Seat
from trnbench.run import meeting as meetings
from trnbench.run.environment import FOREIGN_LAUNCH, environment_of_rank, recorded
from trnbench.run.job import Job, Variables
from trnbench.run.meeting import FIXED_PORTS, LOOPBACK, Meeting
from trnbench.run.worker import converse

TWO = Layout(data_parallel_replicate_size=2)

# Says which of its descriptors listen, and on which port.
LISTENS = """\
import json, socket, stat
seat = json.loads(sys.stdin.readline())["task"]["seat"]
ports = []
for name in os.listdir("/proc/self/fd"):
    try:
        if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
            ports.append(socket.socket(fileno=os.dup(int(name))).getsockname()[1])
    except OSError:
        pass
print(ports, seat["store_descriptor"] is not None, flush=True)
say(json.dumps(dict(kind="finished", at_seconds=0.0, steps=seat["port"])) + "\\n")
"""


def is_free(port: int) -> bool:
    with socket.socket() as other:
        try:
            other.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def seat_of(rank: int, ranks: int = 2) -> Seat:
    return Seat(
        rank=rank, local_rank=rank, world_size=ranks, local_world_size=ranks, port=21_000
    )  # fmt: skip


def test_a_rank_alone_joins_no_group() -> None:
    before = psutil.Process().num_fds()
    with Meeting(1) as meeting:
        assert meeting.seats == [ALONE]
        assert psutil.Process().num_fds() == before


def test_the_port_is_taken_from_the_beginning_and_given_back(tmp_path: Path) -> None:
    with Meeting(3) as meeting:
        port = meeting.seats[0].port
        assert not is_free(port)
        assert [seat.rank for seat in meeting.seats] == [0, 1, 2]
        assert {(seat.port, seat.world_size, seat.address) for seat in meeting.seats} == {
            (port, 3, LOOPBACK)
        }
        assert [seat.store_descriptor is None for seat in meeting.seats] == [False, True, True]
    assert is_free(port)


def test_rank_0_alone_inherits_the_socket_and_our_copy_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = script_command(tmp_path, LISTENS)
    monkeypatch.setattr(meetings, "start", starter(command))
    here = psutil.Process()
    before = here.num_fds()
    with Meeting(2) as meeting:
        tasks = [Train(order=make_order(), seat=seat) for seat in meeting.seats]
        port = meeting.seats[0].port
        with meeting.start(sys.executable, tasks, [{}, {}]) as job:
            assert len(list(converse(job))) == 2
            assert job.output_tail(0).strip() == f"[{port}] True"
            assert job.output_tail(1).strip() == "[] False"
    assert here.num_fds() == before


def starter(command: list[str]) -> Callable[..., Job]:
    def start(
        _python: str,
        tasks: list[Train],
        variables: list[Variables],
        held: dict[int, int],
        _remote: list[object],
    ) -> Job:
        job = Job([command] * len(tasks), variables, held)
        for rank, task in enumerate(tasks):
            job.give(rank, task)
        return job

    return start


def test_a_runtime_with_ports_of_its_own_is_not_met_among_them() -> None:
    with Meeting(2, has_own_ports=True) as meeting:
        assert meeting.seats[0].port in FIXED_PORTS
        assert FIXED_PORTS.stop <= 32_768


def test_without_a_port_the_job_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        monkeypatch.setattr(meetings, "FIXED_PORTS", [taken.getsockname()[1]] * 200)
        with pytest.raises(UnavailableError, match="the 2 ranks have no port"):
            Meeting(2, has_own_ports=True)


# --- variables of a rank ------------------------------------------------------------------------


def test_a_rank_has_what_torch_names_it_by_and_nothing_of_another_launcher() -> None:
    inherited = {"MASTER_PORT": "1", "RANK": "7", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    made = environment_of_rank(
        make_order(layout=TWO, threads=3), seat_of(1), inherited, Path("caches")
    )
    assert made["RANK"] == made["LOCAL_RANK"] == "1"
    assert made["WORLD_SIZE"] == made["LOCAL_WORLD_SIZE"] == "2"
    assert (made["MASTER_ADDR"], made["MASTER_PORT"]) == ("127.0.0.1", "21000")
    assert made["OMP_NUM_THREADS"] == "3"
    assert all(made[name] is None for name in FOREIGN_LAUNCH)
    kept = recorded(made)
    assert "MASTER_PORT" not in kept
    assert not set(FOREIGN_LAUNCH) & set(kept)


def test_threads_that_are_not_named_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    order = make_order(layout=TWO, backend="cuda", threads=None)
    monkeypatch.setattr(os, "cpu_count", lambda: 48)
    made = environment_of_rank(order, seat_of(0), {}, Path("c"))
    assert (made["OMP_NUM_THREADS"], made["TORCHINDUCTOR_COMPILE_THREADS"]) == ("24", "24")
    named = {"OMP_NUM_THREADS": "5"}
    assert environment_of_rank(order, seat_of(0), named, Path("c"))["OMP_NUM_THREADS"] == "5"
    named = {"TORCHINDUCTOR_COMPILE_THREADS": "6"}
    kept = environment_of_rank(order, seat_of(0), named, Path("c"))
    assert kept["TORCHINDUCTOR_COMPILE_THREADS"] == "6"
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert environment_of_rank(order, seat_of(0), {}, Path("c"))["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("index", "exported", "cores"),
    [
        (None, None, [None, None]),  # the runtime goes by LOCAL_RANK
        (0, None, [None, None]),
        (8, None, ["8", "9"]),
        (None, "4-7", ["4", "5"]),
        (None, "3,9", ["3", "9"]),
        (4, "4-5", ["4", "5"]),
    ],
)
def test_no_range_of_cores_reaches_a_rank(
    index: int | None, exported: str | None, cores: list[str | None]
) -> None:
    order = make_order(layout=TWO, backend="neuron", device_index=index)
    inherited = {} if exported is None else {"NEURON_RT_VISIBLE_CORES": exported}
    inherited["NEURON_RT_ROOT_COMM_ID"] = "10.0.0.1:44444"
    for rank, core in enumerate(cores):
        made = environment_of_rank(order, seat_of(rank), inherited, Path("caches"))
        assert made.get("NEURON_RT_VISIBLE_CORES") == core
        assert made["NEURON_RT_ROOT_COMM_ID"] is None


@pytest.mark.parametrize(
    ("index", "exported", "said"),
    [
        (None, "4", "names 1, and the job takes 2"),
        (0, "4-7", "names 4, and the job takes 2 from neuron:0"),
        (None, "4-", "is no list of numbers and ranges"),
    ],
)
def test_cores_that_do_not_fit_the_job_are_refused(
    index: int | None, exported: str, said: str
) -> None:
    order = make_order(layout=TWO, backend="neuron", device_index=index)
    with pytest.raises(ConfigError, match=f"NEURON_RT_VISIBLE_CORES={exported}: {said}"):
        environment_of_rank(
            order, seat_of(0), {"NEURON_RT_VISIBLE_CORES": exported}, Path("caches")
        )


def test_a_rank_without_a_variable_does_not_inherit_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURON_RT_ROOT_COMM_ID", "10.0.0.1:44444")
    body = "print(os.environ.get('NEURON_RT_ROOT_COMM_ID'), flush=True)"
    body += "\nimport json; say(json.dumps(dict(kind='finished', at_seconds=0.0, steps=1)) + '\\n')"
    with Job([script_command(tmp_path, body)], [{"NEURON_RT_ROOT_COMM_ID": None}]) as job:
        list(converse(job))
        assert job.output_tail().strip() == "None"
