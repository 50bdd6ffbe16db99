"""What each launcher says: the nodes, this one's place among them, and node 0's address."""

from collections.abc import Mapping

import pytest

from trnbench.errors import ConfigError
from trnbench.run.allocation import ENGINES, ONE_NODE, Allocation, expand_names, find_allocation

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "4",
    "RANK": "4",
    "WORLD_SIZE": "8",
    "MASTER_ADDR": "ip-10-0-0-1",
    "MASTER_PORT": "31000",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
    "PMIX_RANK": "1",
    "MASTER_ADDR": "10.0.0.1",
}
HYDRA = {
    "PMI_RANK": "0",
    "PMI_SIZE": "2",
    "MPI_LOCALRANKID": "0",
    "MPI_LOCALNRANKS": "1",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "30000",
}
SKYPILOT = {
    "SKYPILOT_NODE_RANK": "2",
    "SKYPILOT_NUM_NODES": "3",
    "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2\n10.0.0.3",
}
STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURMD_NODENAME": "n2",
}
SCRIPT = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NUM_NODES": "3",
    "SLURM_JOB_NODELIST": "n[1-2],m5",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURMD_NODENAME": "n1",
}
TRAINER = {
    "PET_NNODES": "4",
    "PET_NODE_RANK": "3",
    "PET_MASTER_ADDR": "job-node-0-0.job",
    "PET_MASTER_PORT": "29400",
    "JOB_COMPLETION_INDEX": "3",
}
INDEXED = {"JOB_COMPLETION_INDEX": "0", "PET_NNODES": "2", "MASTER_ADDR": "job-0.job"}


def place(environment: Mapping[str, str]) -> tuple[str, int, int, int]:
    found = find_allocation(environment)
    return found.engine, found.nodes, found.node_rank, found.local_rank


@pytest.mark.parametrize(
    ("environment", "engine", "nodes", "rank", "address"),
    [
        (TORCHRUN, "torchrun", 2, 1, "ip-10-0-0-1"),
        (OPEN_MPI, "Open MPI", 2, 1, "10.0.0.1"),
        (HYDRA, "MPI", 2, 0, "10.0.0.1"),
        (SKYPILOT, "SkyPilot", 3, 2, "10.0.0.1"),
        (STEP, "Slurm", 2, 1, "n1"),
        (SCRIPT, "Slurm", 3, 0, None),
        (TRAINER, "Kubernetes", 4, 3, "job-node-0-0.job"),
        (INDEXED, "Kubernetes", 2, 0, "job-0.job"),
    ],
)
def test_each_engine_says_its_place_and_where_node_0_is(
    environment: Mapping[str, str], engine: str, nodes: int, rank: int, address: str | None
) -> None:
    found = find_allocation(environment)
    assert (found.engine, found.nodes, found.node_rank) == (engine, nodes, rank)
    assert found.address == address
    assert found.leads_node
    assert found.is_first == (rank == 0)
    assert found.port is None if address is None else 1024 <= (found.port or 0) < 32_768


def test_every_engine_is_tried_here() -> None:
    environments = (TORCHRUN, OPEN_MPI, HYDRA, SKYPILOT, STEP, TRAINER)
    claimed = [{each for each in ENGINES if each(env) is not None} for env in environments]
    assert set.union(*claimed) == set(ENGINES)


def test_without_a_launcher_there_is_one_node() -> None:
    assert find_allocation({"PATH": "/bin", "MASTER_ADDR": "left.over"}) == ONE_NODE


def test_of_several_processes_on_a_node_the_first_leads_it() -> None:
    second = find_allocation({**TORCHRUN, "LOCAL_RANK": "3", "RANK": "7"})
    assert not second.leads_node
    assert not second.is_first
    assert not find_allocation({**STEP, "SLURM_LOCALID": "1"}).leads_node


def test_torchrun_s_own_store_is_used_where_it_listens() -> None:
    assert find_allocation(TORCHRUN).has_store
    without = {**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "False"}
    assert not find_allocation(without).has_store
    assert not find_allocation(STEP).has_store


def test_a_script_of_slurm_starts_the_other_nodes_itself() -> None:
    assert find_allocation(SCRIPT).others == ("n2", "m5")
    assert find_allocation(STEP).others == ()


def test_steps_of_jobs_meet_at_different_ports() -> None:
    ports = {
        find_allocation({**STEP, "SLURM_JOB_ID": job, "SLURM_STEP_ID": step}).port
        for job in ("7", "8")
        for step in ("0", "1")
    }
    assert len(ports) == 4


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        # mpirun and torchrun start processes inside a step of Slurm's, and the innermost counts.
        ({**STEP, **TORCHRUN}, ("torchrun", 2, 1, 0)),
        ({**STEP, **OPEN_MPI}, ("Open MPI", 2, 1, 0)),
        # torchrun --standalone on one node of several.
        (
            {**SCRIPT, **TORCHRUN, "GROUP_WORLD_SIZE": "1", "GROUP_RANK": "0", "WORLD_SIZE": "4"},
            ("torchrun", 1, 0, 0),
        ),
        # srun --mpi=pmi2 sets PMI's variables too.
        ({**STEP, "PMI_RANK": "1", "PMI_SIZE": "2"}, ("Slurm", 2, 1, 0)),
        # One node of a job of several.
        (
            {**STEP, "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NODEID": "0",
             "SLURM_STEP_NODELIST": "n2"},
            ("Slurm", 1, 0, 0),
        ),
        # A batch script and an interactive shell have special steps.
        ({**SCRIPT, "SLURM_STEP_ID": "4294967291"}, ("Slurm", 3, 0, 0)),
        # An Indexed Job that is an array of jobs of one pod.
        ({"JOB_COMPLETION_INDEX": "5"}, ("none", 1, 0, 0)),
        # One machine, many processes.
        (
            {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
             "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            ("Open MPI", 1, 0, 1),
        ),
    ],
)  # fmt: skip
def test_launchers_inside_launchers(
    environment: Mapping[str, str], expected: tuple[str, int, int, int]
) -> None:
    assert place(environment) == expected


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({**TORCHRUN, "GROUP_RANK": "2"}, "torchrun's GROUP_RANK is 2, counted from 0"),
        ({**TORCHRUN, "WORLD_SIZE": "6"}, "WORLD_SIZE is 6 for 2 nodes of 4"),
        ({**TORCHRUN, "LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1'"),
        ({**TORCHRUN, "MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        ({**OPEN_MPI, "PMIX_RANK": "0"}, "PMIX_RANK is 0 and OMPI_COMM_WORLD_RANK is 1"),
        ({**OPEN_MPI, "MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        (
            {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"},
            "nothing says which nodes",
        ),
        ({**SKYPILOT, "SKYPILOT_NODE_IPS": "10.0.0.1"}, "has 1 addresses, not 3"),
        ({**STEP, "SLURM_STEP_NODELIST": "n[1-3]"}, "SLURM_STEP_NODELIST has 3 nodes, not 2"),
        ({**STEP, "SLURM_NODEID": "two"}, "SLURM_NODEID is 'two'"),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, "SLURM_STEP_NUM_TASKS is 1 for 2 nodes"),
        ({**SCRIPT, "SLURMD_NODENAME": "login"}, "not on a node of its Slurm job"),
        ({**TRAINER, "PET_NODE_RANK": "1"}, "JOB_COMPLETION_INDEX is 3 and PET_NODE_RANK is 1"),
        ({**INDEXED, "MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        ({"JOB_COMPLETION_INDEX": "1", "MASTER_ADDR": "job-0.job"}, "nothing says how many pods"),
        ({**SCRIPT, **TRAINER}, "Slurm 3 and Kubernetes 4"),
    ],
)
def test_contradictions_are_refused_with_the_variable(
    environment: Mapping[str, str], said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        find_allocation(environment)
    assert said in str(raised.value)
    assert raised.value.problems[0].hint


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n[1-3,07],m5", ["n1", "n2", "n3", "n07", "m5"]),
        ("queue1-dy-trn2-[08-11]", [f"queue1-dy-trn2-{n}" for n in ("08", "09", "10", "11")]),
        ("r[1-2]c[1-2]", ["r1c1", "r1c2", "r2c1", "r2c2"]),
    ],
)
def test_slurm_s_lists_of_names(text: str, names: list[str]) -> None:
    assert expand_names(text) == names


@pytest.mark.parametrize("text", ["", ",", "n[1-", "n[b]", "n[3-1]", "n[1-99999999]"])
def test_what_is_no_list_of_names(text: str) -> None:
    with pytest.raises(ConfigError, match="no list of Slurm"):
        expand_names(text)


def test_a_new_engine_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def batch(environment: Mapping[str, str]) -> Allocation | None:
        if "AWS_BATCH_JOB_NUM_NODES" not in environment:
            return None
        nodes, rank = (
            environment["AWS_BATCH_JOB_NUM_NODES"],
            environment["AWS_BATCH_JOB_NODE_INDEX"],
        )
        return Allocation(engine="Batch", nodes=int(nodes), node_rank=int(rank), address="10.0.0.1")

    monkeypatch.setattr("trnbench.run.allocation.ENGINES", (*ENGINES, batch))
    variables = {"AWS_BATCH_JOB_NUM_NODES": "2", "AWS_BATCH_JOB_NODE_INDEX": "1"}
    assert place(variables) == ("Batch", 2, 1, 0)
