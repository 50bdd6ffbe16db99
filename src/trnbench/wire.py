"""The door between parent and child: the work order that goes in, the records that come out.

One JSON object a line crosses in each direction. The child is started with a file that holds its
`WorkOrder`; it answers with records on one pipe, and between timed blocks it waits for a command
on its standard input. Standard library only: both sides import this file, and the child's
interpreter may have nothing else but torch.
"""

import dataclasses
import functools
import json
import math
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

WIRE_VERSION = 4
"""Raised when a record changes shape or meaning; parent and child must agree on it."""

BACKENDS: dict[str, str] = {
    "neuron": "trnbench.train.backends.neuron:NeuronBackend",
    "xla": "trnbench.train.backends.xla:XlaBackend",
    "cuda": "trnbench.train.backends.cuda:CudaBackend",
    "xpu": "trnbench.train.backends.others:XpuBackend",
    "mps": "trnbench.train.backends.others:MpsBackend",
    "cpu": "trnbench.train.backends.cpu:CpuBackend",
}
"""Devices by the names that configs give them, best first, and where the child finds the class.

A new device is one file and one line here. Classes are named as text because loading one may load
its vendor's runtime."""

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

FailureReason = Literal[
    "unavailable",
    "device_busy",
    "device_not_ready",
    "out_of_memory",
    "compile_failure",
    "unsupported",
    "collective_timeout",
    "device_failure",
    "recompiled",
    "bad_model",
    "wrong_order",
    "bug",
]
"""What stopped the child: the device is not here, held by another process, or its driver does not
answer; device or host memory; the compiler; an operator or a type that the chip lacks; ranks that
wait for each other; the hardware; a new compilation in the measuring; a model of
the user's that cannot be trained; else a fault of ours."""

NeuronGeneration = Literal["native", "xla", "stub"]
"""Two products and an empty package share the name torch-neuronx: the first makes torch's device
`neuron`, the second `xla`, and the third, of the public index, nothing at all."""

T = TypeVar("T")


class WireError(ValueError):
    """A line that is not a record or a command of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Rotary frequencies slowed for contexts longer than the original: Llama 3.1's way, or YaRN's.

    Source: Hugging Face transformers, `modeling_rope_utils.py`, `rope_type: llama3` and `yarn`.
    """

    factor: float
    low_frequency_factor: float
    """Turns in the original context below which one is slowed in full (YaRN's beta_slow)."""
    high_frequency_factor: float
    """Turns above which it is kept (YaRN's beta_fast)."""
    original_max_positions: int
    kind: Literal["llama3", "yarn"] = "llama3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of gated MLPs in the MLP's place: each token goes to a few of many."""

    count: int
    per_token: int
    size: int
    """Width of one expert's MLP."""
    shared_size: int = 0
    """Width of the MLP that every token goes through beside its experts; 0 for none."""
    shared_gate: bool = False
    """Whether a sigmoid of the token scales the shared MLP (Qwen2-MoE)."""
    normalized: bool = True
    """Whether the weights of a token's experts sum to one (Mixtral); else they are the router's
    probabilities over all experts (Qwen2-MoE, DeepSeekMoE)."""
    biases: bool = False
    """Whether router and experts have biases (gpt-oss)."""
    clamped: bool = False
    """Whether the gate is gpt-oss's: clamped, with slope 1.702, and one added to `up`."""
    dense_layers: int = 0
    """Blocks at the start that keep the plain MLP (DeepSeekMoE)."""
    balance_coefficient: float = 0.0
    """Weight of the load-balancing loss in what is minimised; the loss told is without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a vision transformer looks at: a square of square patches."""

    size: int
    """Pixels along an edge."""
    patch_size: int
    channels: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes that define a model; nothing in it depends on a device."""

    family: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocabulary_size: int
    max_positions: int
    tied_embeddings: bool
    qk_norm: bool
    norm_epsilon: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    init_std: float
    sliding_window: int | None = None
    """Tokens that a position attends to, itself included; null for all before it."""
    full_attention_every: int | None = None
    """Every so many blocks one attends to all tokens in spite of the window: 2 is gpt-oss's."""
    attention_sinks: bool = False
    """Whether each head has a learned logit that takes part in the softmax and has no value."""
    attention_biases: Literal["none", "qkv", "all"] = "none"
    """Which of a rotary model's projections have biases: none, those in (Qwen2), all (gpt-oss)."""
    experts: Experts | None = None
    image: Image | None = None


GuestKind = Literal["huggingface", "python"]
GuestTask = Literal["next_token", "masked_token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A model that is not ours: a class of transformers with its config, or a module of the user's.

    Its code is found by the training interpreter alone; nothing is downloaded.
    """

    kind: GuestKind
    target: str
    """The class's name; or `package.module:function`, which returns the module."""
    arguments: str
    """A JSON object: the whole config, or the function's arguments by name."""
    checked_keys: list[str]
    """Keys of it that must be known: those that a person wrote, not those of a config file."""
    task: GuestTask = "next_token"
    vocabulary_size: int | None = None
    """Of the tokens that it is given; null until it has been described."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestQuestion:
    """What is asked of a guest before a device is touched."""

    wire_version: int
    guest: Guest
    sequence_length: int


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


def masked_positions(sequence_length: int) -> int:
    """Return how many tokens of a sequence an encoder must fill in: 15 %, and never none.

    Source: Devlin et al., arXiv 1810.04805, section 3.1; 76 of 512 are MLPerf Training's too.
    """
    return max(1, sequence_length * 15 // 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOrder:
    """A small model of the case's make, to be trained first and held against the CPU.

    Either a shape of ours, or a guest with small sizes.
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
    guest: Guest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """All that the child is told: what to build, on what, and from which tokens.

    It holds no price, no verdict and no path.
    """

    wire_version: int
    shape: ModelShape | None
    """Null for a guest."""
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
    guest: Guest | None = None
    """What is trained where it is none of our families."""

    @property
    def own_shape(self) -> ModelShape:
        """The shape, where the caller knows that the model is one of ours.

        Raises:
            ValueError: it is a guest, which has none.
        """
        if self.shape is None:
            raise ValueError("the order is of a guest, whose sizes it does not say")
        return self.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileQuestion:
    """What is asked of a worker that shall say where its steps' time goes."""

    wire_version: int
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
class RunBlock:
    """Command: run this many optimizer steps between two readings of the clock."""

    kind: Literal["run"] = "run"
    steps: int
    purpose: Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Command: report memory, close the device and end."""

    kind: Literal["finish"] = "finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """One kind of device that the child's interpreter can train on."""

    backend: str
    device_name: str
    device_count: int
    proven: bool
    """Whether this backend has been run by the project on such a device."""
    supported: bool = True
    """Whether this version has a backend for it; else `note` says what is missing."""
    note: str | None = None
    compiler_lacks: str | None = None
    """What torch.compile lacks for this device, beside torch; None for nothing that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What the child's interpreter has installed, read without importing any of it."""

    kind: Literal["inventory"] = "inventory"
    at_seconds: float
    wire_version: int
    python: str
    versions: dict[str, str]
    """Of the distributions that decide how training runs, by name."""
    neuron: NeuronGeneration | None
    entry_points: dict[str, list[str]]
    """Devices and compilers that packages add to torch, by the group of their entry point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The devices that are here, best first, and the versions that would drive them."""

    kind: Literal["probe"] = "probe"
    at_seconds: float
    wire_version: int
    devices: list[FoundDevice]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a guest is, found by building it without memory and without a device."""

    kind: Literal["described"] = "described"
    at_seconds: float
    wire_version: int
    parameter_count: int
    trained_count: int
    embeddings_are_tied: bool
    vocabulary_size: int
    config: str | None
    """Its whole config as JSON, with what the class adds by default; null where it has none."""
    flops_per_token: float | None
    """Of a forward and a backward pass, by torch's counter; null where it could not count."""
    flops_reason: str | None
    """Why it could not."""
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductTask:
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


PeakTask = ProductTask | MoveTask | AttentionTask | CollectiveTask


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakQuestion:
    """How fast the device does single things: what is to be timed, in this order."""

    wire_version: int
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakPoint:
    """One task of a `PeakQuestion`, timed; or why it could not be."""

    kind: Literal["peak_point"] = "peak_point"
    at_seconds: float
    name: str
    runs: int
    """Times it was done in each repeat."""
    seconds: list[float]
    """Of doing it once, the mean within each repeat."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The child has entered this part of its work."""

    kind: Literal["phase"] = "phase"
    at_seconds: float
    name: Literal["probe", "gate", "ceiling", "build", "train", "teardown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the child runs on, as it found it."""

    kind: Literal["environment"] = "environment"
    at_seconds: float
    wire_version: int
    backend: str
    device_name: str
    device_count: int
    """Devices that this job drives."""
    asynchronous: bool
    """Whether the device still works after a call has returned."""
    proven: bool
    threads: int | None
    versions: dict[str, str]
    settings: dict[str, str]
    """Numeric settings in force: matrix-product precision, fused optimizer, instruction set."""
    clock_step_seconds: float | None = None
    """The least by which the clock that times blocks was seen to move; null: nobody looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityPoint:
    """The gradients of one batch against those of fp32 on the CPU, from one set of weights.

    A figure is null where it was not finite.
    """

    start: Literal["production", "stress"]
    """The family's own initial weights; or ones by which attention is far from even."""
    loss: float | None
    reference_loss: float
    gradient_norm: float | None
    reference_gradient_norm: float
    tensors: int
    worst_tensor: str
    worst_distance: float | None
    """Norm of the difference over the norm of the reference, of the weight where it is largest."""
    least_cosine_tensor: str
    least_cosine: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The gate: a small model of the case's make, trained on the device and on the CPU."""

    kind: Literal["parity"] = "parity"
    at_seconds: float
    seconds: float
    """Of the whole gate."""
    reference_seconds: float
    """Of that, what the reference took."""
    was_cached: bool
    """Whether the reference was found."""
    points: list[ParityPoint]
    losses: list[float | None]
    """Of the first steps, in nats."""
    reference_losses: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """How far the first steps moved the weights of the case's own model.

    Relative: the norm of the change over the norm of the weight, both over an even sample of it.
    A weight that began as zeros counts as `from_zero`: it only has to move.
    """

    kind: Literal["movement"] = "movement"
    at_seconds: float
    steps: int
    tensors: int
    still: list[str]
    """Weights that did not move at all."""
    least_tensor: str | None
    least: float | None
    most_tensor: str | None
    most: float | None
    """Null where a weight became something that is no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingPoint:
    """Repeated rates of one square matrix product of this edge."""

    size: int
    flops_per_second: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The measured matrix-product rate of this device in this run's arithmetic."""

    kind: Literal["ceiling"] = "ceiling"
    at_seconds: float
    dtype: str
    points: list[CeilingPoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The model stands on the device; counts are observed there, not planned."""

    kind: Literal["built"] = "built"
    at_seconds: float
    parameter_count: int
    parameter_bytes: int
    embeddings_are_tied: bool
    placement: list[str] | None = None
    """Where the weights were found, as torch names it: device and type of number, each once."""
    trained_count: int | None = None
    """Weights that the optimizer steps; null: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A number of optimizer steps timed as one.

    `losses`, `gradient_norms` and `oracle_losses` have one entry a step; null stands for a value
    that was not finite. The oracle's loss is what a model that knows the stream would have had on
    the same tokens.
    """

    kind: Literal["block"] = "block"
    at_seconds: float
    purpose: Purpose
    first_step: int
    steps: int
    seconds: float
    prepare_seconds: float
    """Time to make the block's tokens, before the clock was started."""
    event_seconds: float | None = None
    """The same time by the device's own events; null where there are none that can be trusted."""
    rank_seconds: list[float] | None = None
    """Of each rank, its own work without waiting for the others; null: there is one rank."""
    losses: list[float | None]
    gradient_norms: list[float | None]
    oracle_losses: list[float]
    expert_imbalances: list[float | None] | None = None
    """Rows of the fullest expert over the mean, mean over the blocks that have experts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What the device's software has done so far that a timed step must not hold.

    Counts are since the case's own model was built; null where this device's software does not
    tell. It is sent just before the record of the first block, and of each block in which something
    of it changed.
    """

    kind: Literal["activity"] = "activity"
    at_seconds: float
    steps: int
    """Optimizer steps done."""
    graphs: int | None
    """Graphs that torch has captured."""
    compilations: int | None
    """Programs that the device's compiler has made."""
    cache_hits: int | None
    """Programs that were found compiled."""
    compile_seconds: list[float]
    """Of each compilation, as far as it is told."""
    fallback_ops: dict[str, int] | None
    """Operators that ran on the processor instead of the device, and how often; 0 for unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak memory of the job so far, and what was counted."""

    kind: Literal["memory"] = "memory"
    at_seconds: float
    peak_bytes: int | None
    counted: str
    """`process_rss`, `device_allocated`, or why there is no figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One operator's own time under the profiler, without that of the operators that it calls.

    Where several threads or streams worked at once, a moment is shared out evenly between them:
    all operators' seconds together are never more than the window's.
    """

    name: str
    """As torch names it; of device work that no operator launched, the kernel's name."""
    within: Literal["optimizer"] | None
    """Whether it was called by the optimizer's step, or by an operation on all weights at once."""
    calls: int
    host_seconds: float
    device_seconds: float | None
    """Null where the profiler saw nothing of the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """Where the time of some steps went, as torch's profiler saw it."""

    kind: Literal["profiled"] = "profiled"
    at_seconds: float
    warmup_steps: int
    steps: int
    plain_seconds: list[float]
    """Of these steps by the clock without the profiler: once before it, and once after."""
    profiled_seconds: float
    """Of as many under it."""
    window_seconds: float
    """Of the same, by the profiler's own clock: what the operators' seconds are parts of."""
    operators: list[OperatorTime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The child did all it was told; it says nothing after this."""

    kind: Literal["finished"] = "finished"
    at_seconds: float
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The child cannot go on; it says nothing after this."""

    kind: Literal["failed"] = "failed"
    at_seconds: float
    reason: FailureReason
    message: str
    hint: str | None
    detail: str
    """The traceback, innermost call last."""
    code: str | None = None
    """The vendor's own code for it, such as `NCC_EVRF004`."""


ChildRecord = (
    Inventory
    | Probe
    | Described
    | PeakPoint
    | Phase
    | Environment
    | Parity
    | Movement
    | Ceiling
    | Built
    | Block
    | Activity
    | Memory
    | Profiled
    | Finished
    | Failed
)
CHILD_RECORDS: tuple[type, ...] = typing.get_args(ChildRecord)

Command = RunBlock | Finish
COMMANDS: tuple[type, ...] = typing.get_args(Command)


def encode(message: Any) -> str:
    """Write a record, a command or an order as one line of JSON, without the newline.

    Raises:
        ValueError: a float is NaN or infinite; such a value must be sent as null.
    """
    return json.dumps(_plain(message), allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Turn nested dataclasses into dictionaries, sharing the lists (`asdict` would copy them)."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple) and value and dataclasses.is_dataclass(value[0]):
        return [_plain(item) for item in value]
    return value


def decode(line: str | bytes, kinds: tuple[type, ...]) -> Any:
    """Read one line as whichever of `kinds` its `kind` names.

    Raises:
        WireError: not JSON, an unknown kind, a missing or unknown field, or a wrong type.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not a line of JSON: {str(error)[:120]}") from error
    if not isinstance(document, dict):
        raise WireError(f"expected an object, got {type(document).__name__}")
    name = document.get("kind")
    for cls in kinds:
        if cls.__dataclass_fields__["kind"].default == name:  # type: ignore[attr-defined]
            return from_json(cls, document)
    raise WireError(f"unknown kind {str(name)[:40]!r}")


def from_json(cls: type[T], document: Any, where: str = "") -> T:
    """Build the dataclass `cls` from parsed JSON, refusing what its annotations do not allow.

    Raises:
        WireError: names the offending field.
    """
    if not isinstance(document, dict):
        raise WireError(f"{where or cls.__name__}: expected an object")
    fields = _fields_of(cls)  # type: ignore[arg-type]
    unknown = document.keys() - fields.keys()
    if unknown:
        raise WireError(f"{where or cls.__name__}: unknown field {min(unknown)!r}")
    arguments = {}
    for name, (annotation, is_required) in fields.items():
        if name in document:
            arguments[name] = _checked(annotation, document[name], f"{where}{name}")
        elif is_required:
            raise WireError(f"{where or cls.__name__}: missing field {name!r}")
    return cls(**arguments)


@functools.cache
def _fields_of(cls: type) -> dict[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(cls)
    return {
        f.name: (
            hints[f.name],
            f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING,
        )
        for f in dataclasses.fields(cls)
        if typing.get_origin(hints[f.name]) is not ClassVar
    }


_LARGEST = sys.float_info.max


def _checked(annotation: Any, value: Any, where: str) -> Any:
    """Return `value` as `annotation` wants it; an int serves as a float, nothing else bends.

    NaN, infinities and ints that are no float are refused: such a value is sent as null. So is
    text that no file can hold (half of a surrogate pair).
    """
    origin = typing.get_origin(annotation)
    if dataclasses.is_dataclass(annotation):
        return from_json(annotation, value, f"{where}.")  # type: ignore[arg-type]
    if origin is Literal:
        if value in typing.get_args(annotation):
            return value
    elif origin in (typing.Union, types.UnionType):
        return _checked_union(annotation, value, where)
    elif origin is list and isinstance(value, list):
        (item,) = typing.get_args(annotation)
        if _are_numbers(item, value):
            return value
        return [_checked(item, entry, where) for entry in value]
    elif origin is dict and isinstance(value, dict):
        _, item = typing.get_args(annotation)
        return {
            _checked(str, k, where): _checked(item, entry, f"{where}.{k}")
            for k, entry in value.items()
        }
    elif annotation is float and type(value) in (int, float) and abs(value) <= _LARGEST:
        return float(value)
    elif type(value) is annotation and _SCALARS.get(annotation, _never)(value):
        return value
    raise WireError(f"{where}: {str(value)[:60]!r} is not {_named(annotation)}")


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _never(_value: Any) -> bool:
    return False


_SCALARS: dict[type, Callable[[Any], bool]] = {
    bool: lambda _value: True,
    int: lambda _value: True,
    str: _is_text,
}
"""Which values of these types a record can hold."""


def _are_numbers(item: Any, values: list[Any]) -> bool:
    """Tell quickly whether a list of floats is as it should be; the losses of a run are millions.

    False says nothing: each entry is looked at then.
    """
    if item is not float and item != float | None:
        return False
    return {float}.issuperset(map(type, values)) and all(map(math.isfinite, values))


def _checked_union(annotation: Any, value: Any, where: str) -> Any:
    if value is None and type(None) in typing.get_args(annotation):
        return None
    for option in typing.get_args(annotation):
        if option is type(None):
            continue
        try:
            return _checked(option, value, where)
        except WireError:
            continue
    raise WireError(f"{where}: {str(value)[:60]!r} is not {_named(annotation)}")


def _named(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)
