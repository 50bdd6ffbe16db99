"""What a worker is asked to do: one task, and, while it trains, commands.

The task is the first line on the worker's standard input, in an envelope with the version of this
protocol; the commands are the lines after it.
"""

import typing
from dataclasses import dataclass
from typing import Literal

from trnbench.protocol.codec import ProtocolError, encode, from_document, parse_object
from trnbench.protocol.model import ExternalModel, ModelShape
from trnbench.protocol.parallel import ALONE, SINGLE, Layout, Seat

PROTOCOL_VERSION = 6
"""Raised when a task, a command or a record changes; parent and child must agree on it."""

Precision = Literal["fp32", "bf16", "pure_bf16", "bf16_master", "fp8"]
"""fp32; fp32 parameters with bf16 matmuls; everything in bf16, moments included; bf16 parameters
and gradients with fp32 masters and moments; bf16 with the blocks' matmuls in fp8."""

Execution = Literal["eager", "compile"]
"""eager: operator by operator; compile: through torch.compile and the device's own compiler."""

Recompute = Literal["none", "selective", "full"]
"""What of each block the backward pass computes again: nothing; what lies between its matmuls and
its attention; all of it."""

AdamW = Literal["fused", "foreach", "for-loop"]
"""torch's implementations."""

Collective = Literal[
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_receive"
]
"""send_receive: each rank sends to the next and receives from the one before, in a ring."""

Purpose = Literal["warmup", "measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """AdamW, its learning rate schedule and gradient clipping."""

    name: Literal["adamw"]
    learning_rate: float
    lr_warmup_steps: int
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    gradient_clip_norm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The synthetic token stream `trnbench-synth-1` (docs/metrics.md, "The token stream")."""

    alphabet_size: int
    noise: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters beside frozen weights; only they are trained.

    Source: Hu et al., arXiv 2106.09685.
    """

    rank: int
    alpha: float
    """The adapters' output is scaled by alpha / rank."""
    targets: Literal["attention", "all"]
    """Which matmuls have adapters: those of attention, or all in the blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """How one step is executed, as the plan resolved it for the device."""

    recompute: Recompute = "none"
    loss_chunk_rows: int | None = None
    """Rows whose logits exist at once; null: all of a pass."""
    adamw: AdamW | None = None
    """Null: the backend chooses."""
    document_length: int | None = None
    """Tokens of each document packed into a sequence; attention stays within a document."""
    lora: Lora | None = None
    expert_capacity: float | None = None
    """Rows that an expert has room for, over the mean; null: any number (shapes vary then)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOrder:
    """A small model of the case's kind, trained first and compared with fp32 on the CPU."""

    shape: ModelShape | None
    """Null for an external model."""
    sequence_length: int
    sequences_a_pass: int
    passes: int
    """Per optimizer step."""
    steps: int
    optimizer: OptimizerSettings
    step: StepSettings = StepSettings()
    """The case's, with documents, chunks and adapters of the small model's size."""
    external: ExternalModel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """What to train, on which device, from which tokens; without price, verdict or path."""

    wire_version: int
    shape: ModelShape | None
    """Null for an external model."""
    sequence_length: int
    micro_batch_size: int
    """Sequences per forward and backward pass on this rank."""
    gradient_accumulation_steps: int
    """Passes per optimizer step."""
    precision: Precision
    optimizer: OptimizerSettings
    stream: StreamSettings
    backend: str
    threads: int | None
    """Of the CPU backend; null: torch chooses."""
    measure_ceiling: bool
    """Whether to measure the device's matmul rate before the model is built."""
    seed: int
    """Seeds the initial weights."""
    execution: Execution = "eager"
    device_index: int | None = None
    """Of local rank 0, and the others follow it; null: the first of its kind."""
    layout: Layout = SINGLE
    gate: GateOrder | None = None
    """Null: no parity gate."""
    step: StepSettings = StepSettings()
    external: ExternalModel | None = None
    """Instead of a shape."""

    @property
    def own_shape(self) -> ModelShape:
        """The shape, where the caller knows that the model is not an external one."""
        if self.shape is None:
            raise ValueError("the order is of an external model, which has no shape")
        return self.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeInventory:
    """Task: read what is installed, without importing any of it."""

    kind: Literal["inventory"] = "inventory"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDevices:
    """Task: list the devices that torch can train on, without claiming one."""

    kind: Literal["probe"] = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeModel:
    """Task: describe an external model, without touching a device."""

    kind: Literal["describe"] = "describe"
    external: ExternalModel
    sequence_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Task: train as ordered, block by block as commanded."""

    kind: Literal["train"] = "train"
    order: WorkOrder
    seat: Seat = ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSteps:
    """Task: profile the steps of an order."""

    kind: Literal["profile"] = "profile"
    order: WorkOrder
    warmup_steps: int
    """Before anything is timed: at least three, one of which compiles."""
    steps: int
    """Timed without the profiler, under it, and without it again."""
    trace: str
    """Path of the trace: JSON for Chrome's and Perfetto's viewers."""
    capture: str
    """Folder for what the vendor's own profiler writes; it need not exist."""
    seat: Seat = ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulTask:
    """A matmul, (M, K) by (K, N)."""

    kind: Literal["product"] = "product"
    name: str
    precision: Literal["fp32", "bf16", "fp8"]
    """fp8: both operands in e4m3, the result in bf16."""
    m: int
    n: int
    k: int
    layout: Literal["nt", "nn", "tn"]
    """Which operand is transposed in memory: as for a layer's output, its input's gradient, its
    weight's gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTask:
    """A memory-bound operation over long fp32 arrays."""

    kind: Literal["move"] = "move"
    name: str
    motion: Literal["copy", "triad"]
    """copy: a = b; triad: a = b + s c (the names are STREAM's)."""
    array_bytes: int
    """Of each array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTask:
    """The causal attention core of one layer, without its projections."""

    kind: Literal["attention"] = "attention"
    name: str
    precision: Literal["fp32", "bf16"]
    batch: int
    heads: int
    kv_heads: int
    tokens: int
    head_dim: int
    passes: Literal["forward", "training"]
    """training: forward and backward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveTask:
    """One collective operation of all ranks, on fp32."""

    kind: Literal["collective"] = "collective"
    name: str
    operation: Collective
    whole_bytes: int
    """What each rank holds before or after, whichever is more."""


PeakTask = MatmulTask | MoveTask | AttentionTask | CollectiveTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Microbench:
    """Task: time single operations, in this order."""

    kind: Literal["microbench"] = "microbench"
    backend: str
    device_index: int | None
    threads: int | None
    repeats: int
    """Timings of each task, after its warm-up."""
    seconds_per_repeat: float
    """Each repeat runs its task as often as fills this time, at least once."""
    tasks: list[PeakTask]
    seat: Seat = ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinNodes:
    """Task: carry lines between the parents of a job's nodes by torch's TCPStore."""

    kind: Literal["join_nodes"] = "join_nodes"
    address: str
    port: int
    node: int
    nodes: int
    is_host: bool
    """Whether this worker opens the store; else it connects to it."""
    prefix: str
    """Of its keys, in a store that others use too."""
    seconds: float
    """In which all must have come."""


Task = TakeInventory | ProbeDevices | DescribeModel | Train | ProfileSteps | Microbench | JoinNodes

TASKS: tuple[type, ...] = typing.get_args(Task)


def encode_task(task: Task) -> str:
    """Write a task in its envelope, as one line without the newline.

    An order keeps the version that it was planned by: a worker of another version refuses it.
    """
    order = getattr(task, "order", None)
    version = PROTOCOL_VERSION if order is None else order.wire_version
    return f'{{"wire_version":{version},"task":{encode(task)}}}'


def decode_task(line: str | bytes) -> Task:
    """Read a task out of its envelope; raise `ProtocolError` for another version, or no task."""
    envelope = parse_object(line)
    version = envelope.get("wire_version")
    if version != PROTOCOL_VERSION:
        raise ProtocolError(f"task of protocol version {version}, not {PROTOCOL_VERSION}")
    task: Task = from_document(envelope.get("task"), TASKS)
    return task


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBlock:
    """Command: run and time this many optimizer steps as one."""

    kind: Literal["run"] = "run"
    steps: int
    purpose: Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Command: report memory, close the device and end."""

    kind: Literal["finish"] = "finish"
    communication_steps: int = 0
    """Steps that ranks of several run under the profiler first, for `Communication`; 0: none."""
    times_all_reduce: bool = False
    """Whether they then time an all-reduce between all of them."""


Command = RunBlock | Finish

COMMANDS: tuple[type, ...] = typing.get_args(Command)
