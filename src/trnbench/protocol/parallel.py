"""How one job spreads over devices: the layout of its ranks, and the place of each among them.

The axes of the mesh, outermost first: pipeline, replicate, shard, context, tensor. So the ranks of
one tensor group are neighbours, on one chip where it has as many devices.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Axis = Literal["pipeline", "replicate", "shard", "context", "tensor"]

AXES: tuple[Axis, ...] = ("pipeline", "replicate", "shard", "context", "tensor")
"""Of the mesh, outermost first."""

PipelineSchedule = Literal["gpipe", "1f1b", "interleaved_1f1b", "zero_bubble"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The sizes of a job's mesh, whose product is the number of ranks, and how each axis works."""

    data_parallel_replicate_size: int = 1
    """Groups that each hold the whole state, and share their gradients (DDP)."""
    data_parallel_shard_size: int = 1
    """Ranks that the state of one replica is sharded over (FSDP2); with replicas, HSDP."""
    context_parallel_size: int = 1
    """Ranks that each have a part of every sequence; states are sharded over them too."""
    tensor_parallel_size: int = 1
    """Ranks that each have a part of every matmul."""
    pipeline_parallel_size: int = 1
    """Ranks that each have some of the blocks."""
    expert_parallel_size: int = 1
    """Ranks, of one tensor group, that each have some of the experts; multiplies to nothing."""
    sequence_parallel: bool = True
    """Whether tensor ranks also share out the tokens between their matmuls."""
    reshard_after_forward: bool = True
    """Whether shard ranks free gathered weights after the forward pass, to gather them again."""
    pipeline_schedule: PipelineSchedule = "1f1b"
    pipeline_stages_per_rank: int = 1

    @property
    def world_size(self) -> int:
        """Ranks of the job."""
        return math.prod(self.size(axis) for axis in AXES)

    @property
    def data_parallel_size(self) -> int:
        """Ranks, or groups of ranks, that are each given sequences of their own."""
        return self.data_parallel_replicate_size * self.data_parallel_shard_size

    @property
    def state_shards(self) -> int:
        """Ranks that each keep a part of the states by FSDP2, of one stage and tensor part."""
        return self.data_parallel_shard_size * self.context_parallel_size

    @property
    def in_words(self) -> str:
        """The axes of more than one rank, outermost first, and what on them is not the default."""
        sizes = {axis: self.size(axis) for axis in AXES}
        said = " x ".join(f"{axis} {size}" for axis, size in sizes.items() if size > 1)
        return ", ".join([said or "one device", *self._unusual()])

    def _unusual(self) -> Iterator[str]:
        if self.pipeline_parallel_size > 1:
            yield f"schedule {self.pipeline_schedule}"
        if self.pipeline_stages_per_rank > 1:
            yield f"{self.pipeline_stages_per_rank} stages a rank"
        if self.expert_parallel_size > 1:
            yield f"experts over {self.expert_parallel_size} ranks"
        if self.tensor_parallel_size > 1 and not self.sequence_parallel:
            yield "without sequence parallelism"
        if self.state_shards > 1 and not self.reshard_after_forward:
            yield "weights stay gathered after the forward pass"

    def size(self, axis: Axis) -> int:
        """Return the ranks along an axis."""
        sizes: dict[Axis, int] = {
            "pipeline": self.pipeline_parallel_size,
            "replicate": self.data_parallel_replicate_size,
            "shard": self.data_parallel_shard_size,
            "context": self.context_parallel_size,
            "tensor": self.tensor_parallel_size,
        }
        return sizes[axis]

    def index(self, rank: int, axis: Axis) -> int:
        """Return a rank's index along an axis."""
        inner = math.prod(self.size(each) for each in AXES[AXES.index(axis) + 1 :])
        return rank // inner % self.size(axis)

    def data_index(self, rank: int) -> int:
        """Return which of the data-parallel parts of a step a rank is given."""
        shards = self.data_parallel_shard_size
        return self.index(rank, "replicate") * shards + self.index(rank, "shard")


SINGLE = Layout()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A worker's place among the ranks of its job, and where they meet."""

    rank: int = 0
    local_rank: int = 0
    """Among the ranks of this machine."""
    world_size: int = 1
    local_world_size: int = 1
    node: int = 0
    address: str = "127.0.0.1"
    """IPv4 address of rank 0's machine: the Neuron runtime takes no name."""
    port: int = 0
    """Of rank 0's store."""
    store_descriptor: int | None = None
    """Of the listening socket of that port, in rank 0; it was bound by the parent, so that nothing
    takes the port in between."""
    processors: str | None = None
    """To which the rank binds itself, as Linux lists them (`0-47,96-143`); None: to none."""

    @property
    def is_alone(self) -> bool:
        """Whether the job has one rank."""
        return self.world_size == 1


ALONE = Seat()


# --- what each rank of several reports ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seated:
    """One rank of several, once its model is built: what it drives, and which program it runs."""

    kind: Literal["seated"] = "seated"
    at_seconds: float
    rank: int
    node: int
    device: str
    """As torch names it."""
    device_id: str | None
    """What no other device of the job has; null for a processor, which ranks share."""
    process_group: str
    """torch.distributed's backend, as found in the group, not as asked for."""
    program: str
    """Digest of what all ranks must have alike: settings, choices, names and sizes of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Communication:
    """One rank's time in collectives, in some steps under the profiler after the timed ones."""

    kind: Literal["communication"] = "communication"
    at_seconds: float
    rank: int
    steps: int
    window_seconds: float | None
    """Of these steps; null where the profiler does not see collectives, and `reason` says why."""
    seconds: float | None
    """In which any collective was under way."""
    exposed_seconds: float | None
    """Of those, in which nothing else was; null where the profiler cannot tell."""
    operations: dict[str, float]
    """Seconds by the profiler's name of the collective."""
    reason: str | None = None
    transports: dict[str, int] | None = None
    """The rank's connections by what moves their bytes, as the library itself wrote down; null
    where it says nothing."""


ALL_REDUCE_BYTES = 2**24
"""Of the all-reduce that a job of several ranks times after its steps. `trnbench peak` times one of
as many bytes at every number of ranks, so that the two can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduce:
    """An all-reduce of fp32 between all ranks of a job, timed after its steps; rank 0 sends it."""

    kind: Literal["all_reduce"] = "all_reduce"
    at_seconds: float
    ranks: int
    whole_bytes: int
    seconds: list[float]
    """Of doing it once on the slowest rank, the mean within each repeat."""
    network_bytes: dict[str, int] | None = None
    """Bytes that rank 0's machine sent and received meanwhile, by `rdma` (EFA, InfiniBand) and
    `tcp`, as its cards counted them; null where it has no card for RDMA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One rank's weights after the last step: ranks that hold the same part must agree."""

    kind: Literal["replica"] = "replica"
    at_seconds: float
    rank: int
    steps: int
    digest: str
