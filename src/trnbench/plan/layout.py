"""Which layout a job has: the sizes that are written, and of the rest the one an expert would take.

Copies (DDP) where a replica fits one device as well as a shard of it would; else shards (FSDP2); on
Trainium tensor parallelism inside one chip where shards alone do not fit, or recompute everything.
Why: docs/decisions/0028-layout-auto.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from trnbench.config.load import Conflict
from trnbench.config.model import Config
from trnbench.errors import HostMemoryError
from trnbench.machine.describe import Machine
from trnbench.model.memory import STATE_BYTES_PER_PARAMETER
from trnbench.plan.device import Target, plan_device
from trnbench.plan.parallel import (
    KEYS,
    Asked,
    check_world,
    fill,
    layout_of,
    read_sizes,
    worlds_within,
)
from trnbench.plan.predict import memory_of, memory_verdict
from trnbench.plan.runtime import check_host_memory, check_runtime, host_memory_of
from trnbench.plan.splits import ZERO_BUBBLE, check_passes, check_split
from trnbench.plan.step import RECOMPUTES, plan_execution, plan_workload, split_batch
from trnbench.plan.supply import Supply, devices
from trnbench.prices.base import PriceRequest
from trnbench.protocol.parallel import Axis, Layout
from trnbench.schema.plan import (
    MemoryVerdict,
    PlannedDevice,
    PlannedModel,
    PlannedParallel,
    PlannedWorkload,
)
from trnbench.units import GIB, say_bytes

Sizes = Mapping[Axis, int]

SMALL_STATE_BYTES = 4 * GIB
"""Of a replica that is copied to devices whose memory is not known: each that trains has more."""

FITNESS = ("fits", "unknown", "tight", "does_not_fit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a layout is chosen for."""

    config: Config
    model: PlannedModel
    target: Target
    supply: Supply
    machine: Machine
    request: PriceRequest

    @property
    def has_experts(self) -> bool:
        """Whether the model has experts that can be shared out."""
        return self.model.shape is not None and self.model.shape.experts is not None

    def layout(self, sizes: Sizes) -> Layout:
        """Return the layout of these sizes."""
        return layout_of(self.config.parallel, sizes, has_experts=self.has_experts)

    def check(self, layout: Layout) -> None:
        """Refuse a layout that does not suit the model or the batch."""
        check_split(self.model, self.config, layout, self.target.likely_row)
        micro, passes = split_batch(self.config.workload, layout)
        check_passes(layout, passes, micro * layout.data_parallel_size)

    def suits(self, sizes: Sizes) -> bool:
        """Whether the model and the batch allow these sizes."""
        try:
            self.check(self.layout(sizes))
        except Conflict:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A layout, and what follows from it."""

    parallel: PlannedParallel
    device: PlannedDevice
    workload: PlannedWorkload
    first_device: int | None = None
    """The index of the first device; None: the first of its kind."""
    verdict: MemoryVerdict
    memory_bytes: float | None

    @property
    def burden(self) -> tuple[int, int]:
        """How badly it fits, and how much it recomputes to do so."""
        fitness = 0 if self.verdict == "unknown" else FITNESS.index(self.verdict)
        return fitness, RECOMPUTES.index(self.workload.step.recompute)

    @property
    def fits(self) -> bool:
        """Whether nothing says that it does not fit."""
        return self.burden[0] == 0


def choose_layout(job: Job) -> Choice:
    """Choose the layout of a job, or follow the sizes that are written.

    Raises:
        Conflict: the sizes do not suit the model, the batch or the runtime.
        UnavailableError: there are not so many devices, or they are not free.
    """
    asked = read_sizes(job.config.parallel)
    if asked.has_free_data:
        return _choose_data_ranks(job, asked)
    sizes = fill(asked, job.supply)
    if asked.filled is None:
        why = "the sizes are those under `parallel`"
    else:
        why = f"{KEYS[asked.filled]} is what the other sizes leave"
    return _settled(job, asked, sizes, why)


def _settled(job: Job, asked: Asked, sizes: Sizes, why: str) -> Choice:
    """Return the plan of a layout that is checked, with its reason."""
    job.check(job.layout(sizes))
    _check_groups(job, sizes)
    choice = _planned(job, sizes)
    start = check_world(sizes, asked, job.supply, job.suits)
    check_runtime(job.target, job.machine, choice.parallel.world_size)
    why += _check_host(job, choice)
    is_named = job.config.device.first is not None
    return replace(
        choice,
        parallel=choice.parallel.model_copy(
            update={
                "reason": why + _say_idle(job, choice.parallel.world_size) + _say_kept(job, choice)
            }
        ),
        first_device=start if start or is_named else None,
    )


def _check_host(job: Job, choice: Choice) -> str:
    """Refuse ranks that do not fit this machine's memory; return a warning, or nothing."""
    if job.target.found is None:
        return ""  # the job is for another machine
    execution = plan_execution(job.config, job.model, job.target)
    layout = choice.parallel.layout
    need = host_memory_of(job.model, layout, execution, job.target, job.machine)
    return check_host_memory(need, job.machine)


def _check_groups(job: Job, sizes: Sizes) -> None:
    """Refuse tensor groups of which one is on a node and a part of another.

    Source: AWS Neuron documentation, neuron-runtime/explore/internode-collective-comm (2.32):
    groups across machines have as many ranks on each.
    """
    nodes, world, tensor = job.supply.nodes, job.layout(sizes).world_size, sizes["tensor"]
    each = world // nodes
    if nodes > 1 and world % nodes == 0 and each % tensor and tensor % each:
        raise Conflict(
            "parallel.tensor_parallel_size",
            f"{tensor} does not divide the {each} ranks of a node: a group would be split unevenly "
            "between nodes",
            hint=f"use a divisor of {each}",
            others=["parallel"],
        )


def _planned(job: Job, sizes: Sizes) -> Choice:
    layout = job.layout(sizes)
    nodes = job.supply.nodes if layout.world_size % job.supply.nodes == 0 else 1
    parallel = PlannedParallel.of(layout, nodes=nodes)
    device = plan_device(job.target, parallel, job.machine, job.request)
    workload = plan_workload(job.config, job.model, parallel, device, job.target)
    if job.model.shape is None:
        return Choice(
            parallel=parallel,
            device=device,
            workload=workload,
            verdict="unknown",
            memory_bytes=None,
        )
    memory = memory_of(job.model.shape, workload, parallel)
    return Choice(
        parallel=parallel,
        device=device,
        workload=workload,
        verdict=memory_verdict(memory, device, job.target),
        memory_bytes=memory.total_bytes,
    )


# --- the data ranks -------------------------------------------------------------------------------


def _choose_data_ranks(job: Job, asked: Asked) -> Choice:
    """Take as many data ranks as there are devices and sequences for."""
    if asked.inner > 1:
        job.check(job.layout(asked.sizes))
    groups = _most_groups(job, asked.sizes)
    if groups is None:
        return _settled(job, asked, asked.sizes, "the sizes are those under `parallel`")
    if groups == 1:
        return _settled(job, asked, asked.sizes, _why_one(job, asked))
    copies: Sizes = {**asked.sizes, "replicate": groups}
    shards: Sizes = {**asked.sizes, "shard": groups}
    copied, sharded = _planned(job, copies), _planned(job, shards)
    if _copies_suffice(job, copied, sharded):
        return _settled(job, asked, copies, _why_copies(job, copied))
    split = _tensor_sizes(job, asked)
    if split is not None and (not sharded.fits or sharded.workload.step.recompute == "full"):
        tensored = _planned(job, split)
        if tensored.burden < sharded.burden:
            return _settled(job, asked, split, _why_tensor(job, tensored, sharded))
    hybrid = _hybrid_sizes(job, asked, groups)
    if hybrid is not None and _planned(job, hybrid).burden <= sharded.burden:
        return _settled(job, asked, hybrid, _why_hybrid(job, copied, hybrid))
    return _settled(job, asked, shards, _why_shards(job, copied, sharded))


def _hybrid_sizes(job: Job, asked: Asked, groups: int) -> Sizes | None:
    """Return shards inside each node and copies between nodes; None where that is no choice."""
    nodes = job.supply.nodes
    if nodes == 1 or groups % nodes or groups == nodes or asked.sizes["pipeline"] > 1:
        return None
    sizes: Sizes = {**asked.sizes, "replicate": nodes, "shard": groups // nodes}
    return sizes if job.suits(sizes) else None


def _most_groups(job: Job, sizes: Sizes) -> int | None:
    """Return the most data ranks that there are devices and sequences for; None without any."""
    inner = job.layout(sizes).world_size
    possible = [*worlds_within(job.supply, inner)]
    suiting = (n for n in possible if job.suits({**sizes, "shard": n}))
    return next(suiting, possible[-1] if possible else None)


def _tensor_sizes(job: Job, asked: Asked) -> Sizes | None:
    """Return tensor groups inside one chip, and the shards over them; None where they are none."""
    ranks = job.target.likely_row.tensor_ranks
    if ranks is None or asked.inner > 1 or "parallel.tensor_parallel_size" in asked.written:
        return None
    sizes: Sizes = {**asked.sizes, "tensor": min(ranks, job.supply.per_chip)}
    if not job.suits(sizes):
        return None
    groups = _most_groups(job, sizes)
    return None if groups is None else {**sizes, "shard": groups}


def _copies_suffice(job: Job, copied: Choice, sharded: Choice) -> bool:
    """Whether a replica fits one device without recomputing more than a shard would.

    Each rank builds its own on the host, where all of them must fit too.
    """
    try:
        _check_host(job, copied)
    except HostMemoryError:
        return False
    if job.model.shape is None or copied.device.memory_bytes is None:
        room = copied.device.memory_bytes
        limit = SMALL_STATE_BYTES if room is None else room / 2
        return _state_bytes(job, copied) <= limit
    return copied.fits and copied.burden <= sharded.burden


def _state_bytes(job: Job, choice: Choice) -> float:
    """Return the bytes of weights, gradients and moments of one replica."""
    each = sum(STATE_BYTES_PER_PARAMETER[choice.workload.precision])
    return each * float(job.model.parameter_count)


# --- why ------------------------------------------------------------------------------------------


def _why_one(job: Job, asked: Asked) -> str:
    if asked.inner > 1:
        return "the sizes are those under `parallel`, and no devices are left for data ranks"
    row = job.target.likely_row
    if job.target.backend == "auto" and job.target.accelerator is None:
        return "no device was looked for: on the machine the job takes all that are free"
    if row.is_host:
        return "a processor is one process unless `parallel` or `device` asks for more"
    if row.process_group is None:
        return f"this version drives one {row.name} device for each job"
    if job.supply.fill == 1:
        return "there is one device"
    return "one rank"


def _need(choice: Choice) -> str:
    need, room = choice.memory_bytes, choice.device.memory_bytes
    if need is None or room is None:
        return ""
    return f" ({say_bytes(need)} of {say_bytes(room)})"


def _why_copies(job: Job, copied: Choice) -> str:
    count = copied.parallel.data_parallel_replicate_size
    if job.model.shape is None or copied.device.memory_bytes is None:
        return f"DDP over {count}: the state of a replica is small"
    return f"DDP over {count}: a replica fits one device{_need(copied)}"


def _why_shards(job: Job, copied: Choice, sharded: Choice) -> str:
    said = f"FSDP2 over {sharded.parallel.data_parallel_shard_size}"
    if job.model.shape is None or copied.device.memory_bytes is None:
        return f"{said}: whether a replica fits one device is not known"
    if copied.fits and copied.burden <= sharded.burden:
        return f"{said}: this machine's memory does not hold a whole model for each rank"
    if copied.fits:
        more = copied.workload.step.recompute
        return f"{said}: a replica would fit one device only with {more} recomputation"
    return f"{said}: a replica does not fit one device{_need(copied)}"


def _why_hybrid(job: Job, copied: Choice, sizes: Sizes) -> str:
    said = (
        f"HSDP: FSDP2 over the {sizes['shard']} data ranks of a node, and {sizes['replicate']} "
        "copies, one a node, as the links between nodes are slower"
    )
    if job.model.shape is None or copied.device.memory_bytes is None:
        return f"{said}; whether a replica fits one device is not known"
    return said if copied.fits else f"{said}; a replica does not fit one device{_need(copied)}"


def _why_tensor(job: Job, tensored: Choice, sharded: Choice) -> str:
    layout = tensored.parallel
    said = (
        f"tensor {layout.tensor_parallel_size} inside a chip x FSDP2 over "
        f"{layout.data_parallel_shard_size}"
    )
    if sharded.fits:
        return f"{said}: FSDP2 alone would recompute everything"
    return f"{said}: FSDP2 alone does not fit{_need(sharded)}"


def _say_kept(job: Job, choice: Choice) -> str:
    """Say what recomputing would need where a schedule keeps all and does not fit; else nothing."""
    parallel = choice.parallel
    is_kept = parallel.pipeline_schedule == ZERO_BUBBLE and parallel.pipeline_parallel_size > 1
    if not is_kept or job.model.shape is None or choice.verdict in ("fits", "unknown"):
        return ""
    other = "1f1b" if parallel.pipeline_stages_per_rank == 1 else "interleaved_1f1b"
    step = replace(choice.workload.step, recompute="full")
    memory = memory_of(
        job.model.shape,
        choice.workload.model_copy(update={"step": step}),
        parallel.model_copy(update={"pipeline_schedule": other}),
    )
    return (
        f"; zero_bubble recomputes nothing: pipeline_schedule: {other} with "
        f"activation_checkpointing: full needs about {say_bytes(memory.total_bytes)}"
    )


def _say_idle(job: Job, world: int) -> str:
    """Say which devices stay idle, and why; nothing where none does."""
    supply = job.supply
    free = supply.free
    if supply.asked.count is not None or (supply.instance is None and supply.total is None):
        return ""
    if supply.total is None or job.target.likely_row.process_group is None:
        return ""
    machines = supply.nodes
    if supply.instance is not None and machines == 1:
        machines = max(1, -(-world // supply.total))
    idle = machines * supply.total - world
    if idle <= 0:
        return ""
    said = f"; {idle} of {devices(machines * supply.total)} idle"
    reasons = [*_why_idle(job, world, free)]
    return f"{said}: {', and '.join(reasons)}" if reasons else said


def _why_idle(job: Job, world: int, free: int) -> Iterator[str]:
    supply, batch = job.supply, job.config.workload
    asked = read_sizes(job.config.parallel)
    if supply.holders:  # a plan names no process of anybody
        held = (supply.total or 0) * supply.nodes - free
        yield f"{devices(held)} {'is' if held == 1 else 'are'} held by other processes"
    if not asked.has_free_data:
        return
    larger = [n for n in range(world + 1, free + 1) if supply.takes(n) and n % asked.inner == 0]
    if larger:
        of = f" in passes of {batch.micro_batch_size}" if batch.micro_batch_size else ""
        yield f"global_batch_size {batch.global_batch_size}{of} divides over no more ranks"
    elif supply.worlds is not None and not supply.supports(free):
        yield f"the runtime supports no larger world here ({', '.join(map(str, supply.worlds))})"
