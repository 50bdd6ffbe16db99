"""The variables that a worker is started with: decided here, before any vendor's runtime loads.

What the user set is kept, except what would change what is measured. What is decided is recorded
with the measurement. `catalog/backends.py` has each backend's variables.
"""

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from trnbench.catalog.backends import AUTOLOAD, backend_of
from trnbench.errors import ConfigError
from trnbench.plan.runtime import compile_workers
from trnbench.protocol.orders import Microbench, WorkOrder
from trnbench.protocol.parallel import Seat
from trnbench.protocol.records import NeuronGeneration
from trnbench.run.rendezvous import interface_toward

Variables = dict[str, str]

FOREIGN_LAUNCH = (
    "GROUP_RANK",
    "GROUP_WORLD_SIZE",
    "ROLE_NAME",
    "ROLE_RANK",
    "ROLE_WORLD_SIZE",
    "TORCHELASTIC_ERROR_FILE",
    "TORCHELASTIC_MAX_RESTARTS",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_SIGNALS_TO_HANDLE",
    "TORCHELASTIC_USE_AGENT_STORE",
)
"""What torchrun sets for its own ranks. A rank of ours that inherited them would look for
torchrun's store. Source: torch 2.13, distributed/elastic/agent/server/local_elastic_agent.py."""

OF_ONE_LAUNCH = ("MASTER_PORT",)
"""Other at each launch, and so left out of records."""

THREADS = "OMP_NUM_THREADS"
COMPILE_THREADS = "TORCHINDUCTOR_COMPILE_THREADS"


def user_cache_folder() -> Path:
    """Return the folder for this user's caches, by the XDG base directory specification."""
    named = os.environ.get("XDG_CACHE_HOME")
    return Path(named) if named else Path.home() / ".cache"


WITHOUT_EXTENSIONS: Mapping[str, str] = {AUTOLOAD: "0"}
"""Of a worker that needs no device but the processor: a vendor's extension may claim its device, or
fail to load."""


def environment_of_probe(generation: NeuronGeneration | None) -> Variables:
    """Return the variables of a probe, which must not load native TorchNeuron.

    Loading it may claim cores, and a core that was claimed is busy for some seconds after.
    """
    return dict(WITHOUT_EXTENSIONS) if generation == "native" else {}


def environment_of_worker(
    work: WorkOrder | Microbench, inherited: Mapping[str, str], caches: Path
) -> Variables:
    """Return the variables that one worker is given on top of the inherited ones.

    Raises:
        ConfigError: the user set a variable that the backend cannot work with.
    """
    backend = backend_of(work.backend)
    for refused in backend.refused_values:
        if refused.part in inherited.get(refused.variable, ""):
            raise ConfigError(f"{refused.variable}: {refused.reason}", hint=refused.hint)
    variables = {
        name: inherited.get(name, value.format(caches=caches / "trnbench"))
        for name, value in backend.default_variables.items()
    }
    if backend.device_variable is not None and _ranks(work) == 1:
        variables[backend.device_variable] = _one_device(work, inherited, backend.device_variable)
    off = {name: "0" for name in backend.profiling_variables if inherited.get(name, "0") != "0"}
    return {**variables, **backend.fixed_variables, **off}


def environment_of_rank(
    work: WorkOrder | Microbench, seat: Seat, inherited: Mapping[str, str], caches: Path
) -> dict[str, str | None]:
    """Return the variables of one rank's worker; None takes an inherited one away.

    Raises:
        ConfigError: the user set a variable that the backend or the job cannot work with.
    """
    variables: dict[str, str | None] = {**environment_of_worker(work, inherited, caches)}
    if seat.is_alone:
        return variables
    backend = backend_of(work.backend)
    if backend.device_variable is not None:
        variables[backend.device_variable] = _device_of(
            work, seat, inherited.get(backend.device_variable), backend.device_variable
        )
    share = max((os.cpu_count() or 1) // seat.local_world_size, 1)
    threads = work.threads or inherited.get(THREADS) or share
    # Else each rank has as many compilers as the machine has processors.
    compilers = inherited.get(COMPILE_THREADS) or compile_workers(share, 1)
    if seat.local_world_size < seat.world_size:
        variables |= _between_nodes(backend.node_variables, seat, inherited)
    return {
        **variables,
        **dict.fromkeys((*FOREIGN_LAUNCH, *backend.launch_variables)),
        "RANK": str(seat.rank),
        "LOCAL_RANK": str(seat.local_rank),
        "WORLD_SIZE": str(seat.world_size),
        "LOCAL_WORLD_SIZE": str(seat.local_world_size),
        "MASTER_ADDR": seat.address,
        "MASTER_PORT": str(seat.port),
        THREADS: str(threads),
        COMPILE_THREADS: str(compilers),
    }


GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"


def _between_nodes(
    usual: Mapping[str, str], seat: Seat, inherited: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the variables of a rank whose job has other nodes; what the user set stays.

    Without a named interface gloo takes the address that the host's name has, which many
    containers lead to the loopback.
    """
    found = {name: inherited.get(name, value) for name, value in usual.items()}
    if _kernel() < FORK_SAFE_KERNEL and "FI_PROVIDER" in usual:
        found["FI_EFA_FORK_SAFE"] = inherited.get("FI_EFA_FORK_SAFE", "1")
    interface = inherited.get(GLOO_INTERFACE) or interface_toward(seat.address)
    return {**found, **({GLOO_INTERFACE: interface} if interface else {})}


FORK_SAFE_KERNEL = (5, 15)
"""Before it, EFA needs FI_EFA_FORK_SAFE. Source: AWS Neuron documentation, neuron-runtime/
nrt-troubleshoot (2.32)."""


def _kernel() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else FORK_SAFE_KERNEL


def recorded(variables: Mapping[str, str | None]) -> Variables:
    """Return what a launch's record has of a rank's variables: those set, of any launch."""
    return {
        name: value
        for name, value in variables.items()
        if value is not None and name not in OF_ONE_LAUNCH
    }


def _ranks(work: WorkOrder | Microbench) -> int:
    return work.seat.world_size if isinstance(work, Microbench) else work.layout.world_size


def _device_of(
    work: WorkOrder | Microbench, seat: Seat, named: str | None, variable: str
) -> str | None:
    """Return the one device of a rank; None where its runtime finds it by LOCAL_RANK.

    A range that the user exported is shared out: none may reach a rank, which claims one device.
    """
    first = work.device_index
    if named is None:
        return str(first + seat.local_rank) if first else None
    devices = _listed(named, variable)
    ranks = seat.local_world_size
    if len(devices) < ranks or (first is not None and devices[0] != first):
        wanted = f"{ranks} from {work.backend}:{first}" if first is not None else str(ranks)
        raise ConfigError(
            f"{variable}={named}: names {len(devices)}, and the job takes {wanted}",
            hint=f"unset {variable}, or ask for as many devices as it names",
        )
    return str(devices[seat.local_rank])


def _listed(text: str, variable: str) -> list[int]:
    """Return the devices that a list of numbers and ranges names, such as `0-3,8`."""
    devices: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        if found is None:
            raise ConfigError(
                f"{variable}={text}: is no list of numbers and ranges",
                hint=f"write it as 0-3 or 0,1,2,3, or unset {variable}",
            )
        first = int(found[1])
        devices += range(first, int(found[2] or first) + 1)
    return devices


def _one_device(work: WorkOrder | Microbench, inherited: Mapping[str, str], variable: str) -> str:
    """Return the value by which the worker claims one device, or the user's value."""
    index = "0" if work.device_index is None else str(work.device_index)
    named = inherited.get(variable)
    if named is not None and work.device_index is not None and named != index:
        raise ConfigError(
            f"{variable}={named} and device {work.backend}:{index}: say different things",
            hint=f"unset {variable}, or leave the number off `device`",
        )
    return index if named is None else named
