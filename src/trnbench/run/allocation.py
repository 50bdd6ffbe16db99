"""The machines that a launcher gave us, as its environment variables say: one function an engine.

Nothing is asked and nothing opened here. A new engine is a function and its name in `ENGINES`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from trnbench.errors import ConfigError

Environment = Mapping[str, str]

DEFAULT_PORT = 29_450
"""Of the store that we open where no launcher names a port; below Linux's ephemeral range."""

OWN_PORTS = range(20_000, 29_000)
"""From which a port is taken by the job's number, so that two jobs on a node differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """This process's place among the nodes of a job, and where node 0 can be reached."""

    engine: str
    """As messages name it."""
    nodes: int
    node_rank: int
    local_rank: int = 0
    """Of the processes that the launcher started on this node: 0 leads it, the others leave."""
    address: str | None = None
    """Name or address of node 0, or of the machine that holds `store`; None of one node, and where
    we start the other nodes ourselves."""
    port: int | None = None
    has_store: bool = False
    """Whether the launcher's own store of torch's listens there."""
    others: tuple[str, ...] = ()
    """Names by which Slurm starts a process on each other node; empty where each has one."""

    @property
    def leads_node(self) -> bool:
        """Whether this is the one process of its node that works."""
        return self.local_rank == 0

    @property
    def is_first(self) -> bool:
        """Whether this process leads the job."""
        return self.node_rank == 0 and self.leads_node


ONE_NODE = Allocation(engine="none", nodes=1, node_rank=0)

Engine = Callable[[Environment], Allocation | None]


def find_allocation(environment: Environment) -> Allocation:
    """Return what the innermost launcher gave us; `ONE_NODE` without any.

    Raises:
        ConfigError: its variables contradict each other, or another launcher's.
    """
    found = [each for engine in ENGINES if (each := engine(environment)) is not None]
    if not found:
        return ONE_NODE
    several = {each.nodes: each for each in reversed(found) if each.nodes > 1}
    if len(several) > 1:
        said = " and ".join(f"{each.engine} {each.nodes}" for each in found if each.nodes > 1)
        raise ConfigError(
            f"the launchers' variables say different numbers of nodes: {said}",
            hint="start one trnbench a node by one of them, and unset the variables of the other",
        )
    return found[0]


# --- one function an engine, which returns None where it did not start this process --------------


def _torchrun(environment: Environment) -> Allocation | None:
    """Source: torch 2.13, distributed/elastic/agent/server/local_elastic_agent.py."""
    of = _Variables("torchrun", environment)
    if "TORCHELASTIC_RUN_ID" not in environment:
        return None
    nodes, rank = of.place("GROUP_WORLD_SIZE", "GROUP_RANK")
    local = of.number("LOCAL_RANK")
    each = of.number("LOCAL_WORLD_SIZE", least=1)
    of.require_product("WORLD_SIZE", nodes * each, f"{nodes} nodes of {each} processes")
    return Allocation(
        engine="torchrun",
        nodes=nodes,
        node_rank=rank,
        local_rank=local,
        address=of.text("MASTER_ADDR"),
        port=of.number("MASTER_PORT", least=1),
        has_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _open_mpi(environment: Environment) -> Allocation | None:
    """Source: Open MPI 5 documentation, "Environment variables set by mpirun"; PRRTE."""
    if "OMPI_COMM_WORLD_RANK" not in environment:
        return None
    of = _Variables("Open MPI", environment)
    of.require_same("PMIX_RANK", "OMPI_COMM_WORLD_RANK")
    return _mpi(of, *(f"OMPI_COMM_WORLD_{name}" for name in _MPI_PARTS))


_MPI_PARTS = ("SIZE", "RANK", "LOCAL_SIZE", "LOCAL_RANK")


def _hydra(environment: Environment) -> Allocation | None:
    """MPICH's and Intel MPI's launcher. Source: MPICH 4, pm/hydra/proxy/pmip_cb.c."""
    if "MPI_LOCALRANKID" not in environment:
        return None
    of = _Variables("MPI", environment)
    return _mpi(of, "PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS", "MPI_LOCALRANKID")


def _mpi(of: "_Variables", size: str, rank: str, local_size: str, local: str) -> Allocation:
    """Return the place in a job whose variables count processes, not nodes."""
    world, here = of.number(size, least=1), of.number(local_size, least=1)
    if world > here > 1:
        raise ConfigError(
            f"{of.engine} started {here} processes on this node ({local_size}={here}) of {world}: "
            "nothing says which nodes they are on",
            hint="start one a node: `mpirun --map-by ppr:1:node trnbench run …`",
        )
    nodes = world if here == 1 else 1
    node_rank = of.place(size, rank)[1] if here == 1 else 0
    address = (
        of.text("MASTER_ADDR", "pass node 0's: `mpirun -x MASTER_ADDR=…`") if nodes > 1 else None
    )
    return Allocation(
        engine=of.engine,
        nodes=nodes,
        node_rank=node_rank,
        local_rank=of.number(local),
        address=address,
        port=of.number("MASTER_PORT", least=1, default=DEFAULT_PORT),
    )


def _skypilot(environment: Environment) -> Allocation | None:
    """Source: SkyPilot documentation, "Environment variables for tasks" (0.14)."""
    if "SKYPILOT_NODE_RANK" not in environment:
        return None
    of = _Variables("SkyPilot", environment)
    nodes, rank = of.place("SKYPILOT_NUM_NODES", "SKYPILOT_NODE_RANK")
    addresses = of.text("SKYPILOT_NODE_IPS").split()
    if len(addresses) != nodes:
        raise of.contradiction("SKYPILOT_NODE_IPS", f"has {len(addresses)} addresses, not {nodes}")
    return Allocation(
        engine="SkyPilot", nodes=nodes, node_rank=rank, address=addresses[0], port=DEFAULT_PORT
    )


_FIRST_SPECIAL_STEP = 0xFFFFFFF0
"""Numbers of batch scripts and interactive shells. Source: Slurm 22.05, slurm/slurm.h."""


def _slurm(environment: Environment) -> Allocation | None:
    """Source: srun(1) and sbatch(1) of Slurm 22.05, "Output environment variables"."""
    if "SLURM_JOB_ID" not in environment:
        return None
    of = _Variables("Slurm", environment)
    step = of.number("SLURM_STEP_ID", default=_FIRST_SPECIAL_STEP)
    if step >= _FIRST_SPECIAL_STEP or "SLURM_STEP_NUM_NODES" not in environment:
        return _slurm_script(of, environment)
    nodes, rank = of.place("SLURM_STEP_NUM_NODES", "SLURM_NODEID")
    tasks = of.number("SLURM_STEP_NUM_TASKS", least=1, default=nodes)
    if tasks < nodes:
        raise of.contradiction("SLURM_STEP_NUM_TASKS", f"is {tasks} for {nodes} nodes")
    names = expand_names(of.text("SLURM_STEP_NODELIST"))
    if len(names) != nodes:
        raise of.contradiction("SLURM_STEP_NODELIST", f"has {len(names)} nodes, not {nodes}")
    job = of.number("SLURM_JOB_ID")
    return Allocation(
        engine="Slurm",
        nodes=nodes,
        node_rank=rank,
        local_rank=of.number("SLURM_LOCALID"),
        address=names[0],
        port=OWN_PORTS[(job * 31 + step) % len(OWN_PORTS)],
    )


def _slurm_script(of: "_Variables", environment: Environment) -> Allocation:
    """Return the place of a job's script, which runs on its first node alone."""
    nodes = of.number("SLURM_JOB_NUM_NODES", least=1, default=1)
    if nodes == 1:
        return Allocation(engine="Slurm", nodes=1, node_rank=0)
    names = expand_names(of.text("SLURM_JOB_NODELIST"))
    here = environment.get("SLURMD_NODENAME")
    if here not in names:
        raise ConfigError(
            "this shell is not on a node of its Slurm job, which has "
            f"{nodes} nodes (SLURM_JOB_NUM_NODES)",
            hint="start one trnbench a node: `srun --ntasks-per-node=1 trnbench run …`",
        )
    if len(names) != nodes:
        raise of.contradiction("SLURM_JOB_NODELIST", f"has {len(names)} nodes, not {nodes}")
    others = tuple(name for name in names if name != here)
    return Allocation(engine="Slurm", nodes=nodes, node_rank=0, others=others)


def _kubernetes(environment: Environment) -> Allocation | None:
    """Pods of Kubeflow's Trainer, of a JobSet, or of an Indexed Job that names its leader.

    Source: Kubeflow Trainer 2.3, runtime/framework/plugins/torch (`PET_*`); Kubernetes
    documentation, "Indexed Job" (`JOB_COMPLETION_INDEX`).
    """
    index, leader = environment.get("JOB_COMPLETION_INDEX"), environment.get("MASTER_ADDR")
    if "PET_NNODES" not in environment:
        if index is not None and leader is not None:
            raise ConfigError(
                f"JOB_COMPLETION_INDEX={index} and MASTER_ADDR are set, and nothing says how many "
                "pods the job has",
                hint="set PET_NNODES in the pods to the job's `completions`",
            )
        return None  # an Indexed Job may be an array of jobs of one pod
    of = _Variables("Kubernetes", environment)
    rank_key = "PET_NODE_RANK" if "PET_NODE_RANK" in environment else "JOB_COMPLETION_INDEX"
    if rank_key == "PET_NODE_RANK":
        of.require_same("JOB_COMPLETION_INDEX", rank_key)
    nodes, rank = of.place("PET_NNODES", rank_key)
    own = "PET_MASTER_ADDR" if "PET_MASTER_ADDR" in environment else "MASTER_ADDR"
    port = "PET_MASTER_PORT" if "PET_MASTER_PORT" in environment else "MASTER_PORT"
    return Allocation(
        engine="Kubernetes",
        nodes=nodes,
        node_rank=rank,
        address=of.text(own, "the leader's service name, NAME-0.SERVICE") if nodes > 1 else None,
        port=of.number(port, least=1, default=DEFAULT_PORT),
    )


ENGINES: tuple[Engine, ...] = (_torchrun, _open_mpi, _hydra, _skypilot, _slurm, _kubernetes)
"""The innermost first: one that another started has the variables of both."""


# --- reading variables ----------------------------------------------------------------------------


class _Variables:
    """An engine's variables, which say their name where they are wrong."""

    def __init__(self, engine: str, environment: Environment) -> None:
        self.engine = engine
        self._environment = environment

    def text(self, name: str, hint: str | None = None) -> str:
        """Return a variable that must be there."""
        value = self._environment.get(name, "").strip()
        if not value:
            raise ConfigError(
                f"{name} is not set, and {self.engine} started this process on a node of several",
                hint=hint or f"start trnbench by {self.engine} itself, without clearing variables",
            )
        return value

    def number(self, name: str, least: int = 0, default: int | None = None) -> int:
        """Return a variable that must be a number, of at least so much."""
        if default is not None and name not in self._environment:
            return default
        value = self.text(name)
        if not re.fullmatch(r"\d{1,12}", value, re.ASCII) or int(value) < least:
            raise self.contradiction(name, f"is {value!r} and no number from {least}")
        return int(value)

    def place(self, count: str, rank: str) -> tuple[int, int]:
        """Return how many there are, and which of them this is."""
        many, which = self.number(count, least=1), self.number(rank)
        if which >= many:
            raise self.contradiction(rank, f"is {which}, counted from 0, of {count}={many}")
        return many, which

    def require_same(self, name: str, other: str) -> None:
        """Refuse a variable that is set to something else than another."""
        value, wanted = self._environment.get(name), self._environment.get(other)
        if value is not None and value != wanted:
            raise self.contradiction(name, f"is {value} and {other} is {wanted}")

    def require_product(self, name: str, wanted: int, what: str) -> None:
        """Refuse a number that is not what others multiply to."""
        if self.number(name, default=wanted) != wanted:
            raise self.contradiction(name, f"is {self._environment[name]} for {what}")

    def contradiction(self, name: str, what: str) -> ConfigError:
        """Return the error of a variable."""
        return ConfigError(
            f"{self.engine}'s {name} {what}",
            hint=f"start trnbench by {self.engine} itself, and set none of its variables by hand; "
            f"to use this machine alone, unset {name}",
        )


_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
MOST_NAMES = 100_000


def expand_names(text: str) -> list[str]:
    """Return the names that a list of Slurm's names: `n[1-2,07],m5` are n1, n2, n07 and m5.

    Source: scontrol(1), "show hostlist".

    Raises:
        ConfigError: it is none.
    """
    names = [name for part in _parts(text) for name in _expanded(part, text)]
    if not names:
        raise _no_list(text)
    return names


def _parts(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    return [part for part in re.split(r",(?![^\[]*\])", text) if part]


def _expanded(part: str, text: str) -> Iterator[str]:
    before, bracket, rest = part.partition("[")
    if not bracket:
        yield before
        return
    inside, closed, after = rest.partition("]")
    if not closed:
        raise _no_list(text)
    for piece in inside.split(","):
        found = _RANGE.fullmatch(piece)
        if found is None:
            raise _no_list(text)
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < first + MOST_NAMES:
            raise _no_list(text)
        for number in range(first, last + 1):
            for tail in _expanded(after, text):
                yield f"{before}{number:0{len(found[1])}d}{tail}"


def _no_list(text: str) -> ConfigError:
    return ConfigError(
        f"{text[:80]!r} is no list of Slurm's node names",
        hint="start trnbench by srun or sbatch, which set SLURM_JOB_NODELIST",
    )
