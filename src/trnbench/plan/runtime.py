"""What must hold of this machine and its software before a job is begun."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trnbench.errors import HostMemoryError, UnavailableError
from trnbench.machine.describe import Machine
from trnbench.plan.device import Target
from trnbench.protocol.orders import Execution
from trnbench.protocol.parallel import Layout
from trnbench.schema.plan import PlannedModel
from trnbench.units import say_bytes

RUNTIME_PACKAGE = "aws-neuronx-runtime-lib"
FIRST_SOUND_RUNTIME = (2, 34)
"""Of SDK 2.32. Before it, groups of ranks that several programs used in another order could be
given wrong data. Source: AWS Neuron documentation, release-notes/components/runtime (2.32)."""


def check_runtime(target: Target, machine: Machine, ranks: int) -> None:
    """Refuse software with which the job would be wrong or could not be loaded.

    Raises:
        UnavailableError: it says what to change.
    """
    if target.found is None or not target.row.is_counted_by_tool:
        return
    _check_logical_cores(target, machine)
    if ranks > 1:
        _check_collectives(machine)


def _check_logical_cores(target: Target, machine: Machine) -> None:
    """Refuse a compiler whose LNC is not that of the ranks: its programs would not load."""
    chip, compiler = target.accelerator, machine.logical_cores.by_compiler_flag
    if chip is None or compiler is None:
        return
    usual = (chip.cores_per_chip or chip.devices_per_chip) // chip.devices_per_chip
    ranks = machine.logical_core_config or usual
    if compiler != ranks:
        raise UnavailableError(
            f"NEURON_CC_FLAGS compiles for an LNC of {compiler}, and the ranks have {ranks}: "
            "the runtime would not load the programs",
            hint=f"take the flag out, or set NEURON_LOGICAL_NC_CONFIG={compiler}",
        )


def _check_collectives(machine: Machine) -> None:
    version = machine.chips.neuron.system_packages.get(RUNTIME_PACKAGE, "")
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is not None and (int(found[1]), int(found[2])) < FIRST_SOUND_RUNTIME:
        raise UnavailableError(
            f"{RUNTIME_PACKAGE} {version} is of an SDK before 2.32, whose collectives could move "
            "wrong data without a word",
            hint="update the Neuron SDK, or train on one device: --device neuron:0",
        )


# --- the host's memory ----------------------------------------------------------------------------

RANK_BYTES, COMPILING_BYTES = 0.15e9, 0.15e9
"""Of a rank: torch's own, shared pages left out, and what its compiler adds. They are the least:
measured on a processor (docs/metrics.md, "The host's memory"); a device's software adds to it."""

WORKER_BYTES = 0.25e9
"""Of one process of Inductor's that compiles a kernel, measured in the same way."""

MOST_WORKERS = 32
"""Of one rank, by torch's own limit (2.13, `torch/_inductor/config.py`, decide_compile_threads)."""

TIGHT_HOST = 0.85
"""Of the host's memory; a job that needs more at least is told so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """The least that a job needs of its machine's memory before its first step, by rank."""

    ranks: int
    processes: float
    """Bytes of a rank's process."""
    model: float
    """Bytes of the whole model in fp32, where each rank builds it before it is on the device."""
    compilers: float
    """Bytes of the processes that compile for a rank."""
    vendors_compilers: int = 0
    """Of the whole job, at one time; what each needs is published nowhere."""

    @property
    def total_bytes(self) -> float:
        """Of all ranks."""
        return self.ranks * (self.processes + self.model + self.compilers)

    def __str__(self) -> str:
        """Say the sum, and what is not in it."""
        parts = " + ".join(self._parts())
        more, count = "", self.vendors_compilers
        if count:
            some = f"{count} compilers" if count > 1 else "one compiler"
            more = f"; {some} of the vendor's at a time, whose need is not known, beside it"
        return f"{say_bytes(self.total_bytes)} = {self.ranks} x ({parts}){more}"

    def _parts(self) -> Iterator[str]:
        yield f"torch {say_bytes(self.processes)}"
        if self.model:
            yield f"the model as it is built {say_bytes(self.model)}"
        if self.compilers:
            yield f"compilers {say_bytes(self.compilers)}"


def compile_workers(processors: int, local_ranks: int) -> int:
    """Return how many processes of Inductor's compile for one rank: its share of the processors."""
    return max(1, min(processors // local_ranks, MOST_WORKERS))


def host_memory_of(
    model: PlannedModel, layout: Layout, execution: Execution, target: Target, machine: Machine
) -> HostMemory:
    """Return the least that a job needs of this machine's memory before its first step.

    A model of ours that is shared out is filled weight by weight; any other is built whole, in
    fp32, by every rank (`train/build.py`). One rank of each stage compiles first on Neuron.
    """
    ranks, row = layout.world_size, target.likely_row
    is_shared_out = layout.data_parallel_replicate_size < ranks
    if not row.is_host and target.found is not None:
        ranks = min(ranks, target.found.device_count)  # the others are on other machines
    is_whole = not row.is_host and (model.external is not None or not is_shared_out)
    processes, compilers, of_vendor = RANK_BYTES, 0.0, 0
    if execution == "compile":
        processes += COMPILING_BYTES
        if row.compiling == "always":
            of_vendor = layout.pipeline_parallel_size
        else:
            compilers = WORKER_BYTES * compile_workers(machine.host.logical_cpus, ranks)
    return HostMemory(
        ranks=ranks,
        processes=processes,
        model=4.0 * model.parameter_count if is_whole else 0.0,
        compilers=compilers,
        vendors_compilers=of_vendor,
    )


def check_host_memory(need: HostMemory, machine: Machine) -> str:
    """Refuse a job whose ranks do not fit the machine's memory; return a warning, or nothing.

    Raises:
        HostMemoryError: the kernel would kill ranks, with signal 9 and no word.
    """
    there = machine.host.memory_bytes
    if need.total_bytes <= TIGHT_HOST * there:
        return ""
    said = f"{say_bytes(there)} of memory; before the first step the ranks need at least {need}"
    if need.total_bytes <= there:
        return f"; the host is tight, with {said}"
    fit = int(there // (need.total_bytes / need.ranks))
    fewer = f"at most {fit} rank{'' if fit == 1 else 's'} fit" if fit else "not even one rank fits"
    raise HostMemoryError(
        f"this machine has {said}",
        hint=f"{fewer}: take fewer devices, give the container more memory, or let ranks share the "
        "state of a model of ours (data_parallel_shard_size), which none builds whole then",
    )
