"""What a worker is given to do: one task, and, while it trains, commands.

The task is the first line on the worker's standard input, in an envelope with the version of this
protocol; the commands are the lines after it.
"""

import typing
from dataclasses import dataclass
from typing import Literal

from trnbench.protocol.codec import ProtocolError, encode, from_document, parse_object
from trnbench.protocol.model import ExternalModel, ModelShape

PROTOCOL_VERSION = 5
"""Raised when a task, a command or a record changes; parent and child must agree on it."""

Precision = Literal["fp32", "bf16", "pure_bf16", "bf16_master", "fp8"]
"""fp32; fp32 parameters with bf16 matrix products; everything in bf16, moments included; bf16
parameters and gradients with fp32 masters and moments; bf16 with the blocks' products in fp8."""

Execution = Literal["eager", "compile"]
"""eager: operator by operator; compile: through torch.compile and the device's own compiler."""

Recompute = Literal["none", "selective", "full"]
"""What of each block is made again in the backward pass: nothing; what lies between its matrix
products and its attention; all of it."""

AdamW = Literal["fused", "foreach", "for-loop"]
"""Which of torch's implementations steps the weights."""

Purpose = Literal["warmup", "measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """AdamW and what goes around it."""

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
    """Low-rank adapters beside frozen weights: all that is trained.

    Source: Hu et al., arXiv 2106.09685.
    """

    rank: int
    alpha: float
    """The adapters' outcome is scaled by alpha / rank."""
    targets: Literal["attention", "all"]
    """Which products have adapters: those of attention, or every one in the blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """How one step is carried out; the plan has resolved each for the device."""

    recompute: Recompute = "none"
    loss_chunk_rows: int | None = None
    """Rows whose logits exist at once; null: those of a whole pass."""
    adamw: AdamW | None = None
    """Which of torch's implementations steps the weights; null: the device's own choice."""
    document_length: int | None = None
    """Tokens of each document packed into a sequence; attention stays within a document."""
    lora: Lora | None = None
    expert_capacity: float | None = None
    """Places of each expert over the rows that it gets on average, where shapes must not move;
    null: as many as come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOrder:
    """A small model of the case's make, to be trained first and held against the CPU.

    Either a shape of ours, or an external model with small sizes.
    """

    shape: ModelShape | None
    sequence_length: int
    sequences_a_pass: int
    passes: int
    """In one optimizer step."""
    steps: int
    optimizer: OptimizerSettings
    step: StepSettings = StepSettings()
    """As the case's, with documents, chunks and adapters of the small model's size."""
    external: ExternalModel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """All that the child is told: what to build, on what, and from which tokens.

    It holds no price, no verdict and no path.
    """

    wire_version: int
    shape: ModelShape | None
    """Null for an external model."""
    sequence_length: int
    micro_batch_size: int
    """Sequences in one forward and backward pass on this rank."""
    gradient_accumulation_steps: int
    """Passes in one optimizer step."""
    precision: Precision
    optimizer: OptimizerSettings
    stream: StreamSettings
    backend: str
    threads: int | None
    """Threads of the CPU backend; null leaves torch's own choice."""
    measure_ceiling: bool
    """Whether to measure the device's matrix-product rate before the model is built."""
    seed: int
    """Seeds the initial weights."""
    execution: Execution = "eager"
    device_index: int | None = None
    """Which of several devices of this kind; null takes the first."""
    gate: GateOrder | None = None
    """Null: the training is not held against the CPU."""
    step: StepSettings = StepSettings()
    external: ExternalModel | None = None
    """What is trained where it is none of our families."""

    @property
    def own_shape(self) -> ModelShape:
        """The shape, where the caller knows that the model is one of ours.

        Raises:
            ValueError: it is an external model, which has none.
        """
        if self.shape is None:
            raise ValueError("the order is of an external model, whose sizes it does not say")
        return self.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeInventory:
    """Task: say what is installed, without importing any of it."""

    kind: Literal["inventory"] = "inventory"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDevices:
    """Task: say which devices torch can train on, without claiming one."""

    kind: Literal["probe"] = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeModel:
    """Task: say what an external model is, without touching a device."""

    kind: Literal["describe"] = "describe"
    external: ExternalModel
    sequence_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Task: train as the order says, block by block as commanded."""

    kind: Literal["train"] = "train"
    order: WorkOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSteps:
    """Task: say where the time of an order's steps goes."""

    kind: Literal["profile"] = "profile"
    order: WorkOrder
    warmup_steps: int
    """Run before anything is timed: at least three, one of which compiles."""
    steps: int
    """Timed without the profiler, under it, and without it again."""
    trace: str
    """Where the trace goes, as the JSON that Chrome's and Perfetto's viewers read."""
    capture: str
    """The folder for what a vendor's own profiler writes beside it; it need not be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatmulTask:
    """A matrix product, (M, K) by (K, N)."""

    kind: Literal["product"] = "product"
    name: str
    precision: Literal["fp32", "bf16", "fp8"]
    """fp8: both sides in e4m3, the outcome in bf16."""
    m: int
    n: int
    k: int
    layout: Literal["nt", "nn", "tn"]
    """Which operand lies transposed in memory: as for a layer's output, its input's gradient, its
    weight's gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTask:
    """Memory read and written by one simple operation over long arrays of fp32."""

    kind: Literal["move"] = "move"
    name: str
    motion: Literal["copy", "triad"]
    """copy: a = b; triad: a = b + s c, as STREAM names them."""
    array_bytes: int
    """Of each array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTask:
    """The attention core of one layer under a causal mask, without its products with weights."""

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
    operation: Literal["all_reduce", "all_gather", "reduce_scatter"]
    whole_bytes: int
    """Of the whole array: what each rank holds before or after, whichever is more."""


PeakTask = MatmulTask | MoveTask | AttentionTask | CollectiveTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Microbench:
    """Task: time single operations, in this order."""

    kind: Literal["microbench"] = "microbench"
    backend: str
    device_index: int | None
    threads: int | None
    repeats: int
    """Timings of each task, after those that warm it up."""
    seconds_per_repeat: float
    """A task is done as often in each repeat as fills this time, at least once."""
    tasks: list[PeakTask]
    rank: int = 0
    ranks: int = 1
    rendezvous: str | None = None
    """A file by which the ranks find each other; null where there is one."""


Task = TakeInventory | ProbeDevices | DescribeModel | Train | ProfileSteps | Microbench

TASKS: tuple[type, ...] = typing.get_args(Task)


def encode_task(task: Task) -> str:
    """Write a task in its envelope, as one line without the newline.

    An order keeps the version that it was planned by, and a worker of another refuses it.
    """
    order = getattr(task, "order", None)
    version = PROTOCOL_VERSION if order is None else order.wire_version
    return f'{{"wire_version":{version},"task":{encode(task)}}}'


def decode_task(line: str | bytes) -> Task:
    """Read a task out of its envelope.

    Raises:
        ProtocolError: it is of another version of this protocol, or is no task.
    """
    envelope = parse_object(line)
    version = envelope.get("wire_version")
    if version != PROTOCOL_VERSION:
        raise ProtocolError(f"task of protocol version {version}, not {PROTOCOL_VERSION}")
    task: Task = from_document(envelope.get("task"), TASKS)
    return task


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBlock:
    """Command: run this many optimizer steps between two readings of the clock."""

    kind: Literal["run"] = "run"
    steps: int
    purpose: Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Command: report memory, close the device and end."""

    kind: Literal["finish"] = "finish"


Command = RunBlock | Finish

COMMANDS: tuple[type, ...] = typing.get_args(Command)
