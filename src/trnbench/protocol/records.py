"""What a worker sends: what it found, and what it measures while it works."""

import typing
from dataclasses import dataclass, field
from typing import Literal

from trnbench.protocol.orders import Purpose
from trnbench.protocol.parallel import AllReduce, Communication, Replica, Seated

# --- found without training -----------------------------------------------------------------------

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
"""What stopped the worker: the device is not here, another process holds it, or its driver does not
answer; device or host memory; the compiler; an operator or a type that the chip lacks; ranks that
wait for each other; the hardware, or the software of the device; a compilation while it measured; a
user's model that cannot be trained; a task of another version; else a bug of ours."""

NeuronGeneration = Literal["native", "xla", "stub"]
"""Three packages share the name torch-neuronx: one makes torch's device `neuron`, one `xla`, and
that of the public index is an empty stub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """A kind of device that the worker's interpreter can train on."""

    backend: str
    device_name: str
    device_count: int
    proven: bool
    """Whether the project has run this backend on such a device."""
    supported: bool = True
    """Whether trnbench can drive it; else `note` says what is missing."""
    note: str | None = None
    compiler_lacks: str | None = None
    """What torch.compile needs for this device and does not find."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What the worker's interpreter has installed, read without importing any of it."""

    kind: Literal["inventory"] = "inventory"
    at_seconds: float
    wire_version: int
    python: str
    versions: dict[str, str]
    """Of the distributions that decide how training runs."""
    neuron: NeuronGeneration | None
    processor: FoundDevice
    """What any torch can train on."""
    entry_points: dict[str, list[str]]
    """Devices and compilers that packages add to torch, by entry-point group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The devices that are here, and the versions that would drive them."""

    kind: Literal["probe"] = "probe"
    at_seconds: float
    wire_version: int
    devices: list[FoundDevice]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What an external model is, found by building it on torch's meta device."""

    kind: Literal["described"] = "described"
    at_seconds: float
    wire_version: int
    parameter_count: int
    trained_count: int
    embeddings_are_tied: bool
    vocabulary_size: int
    config: str | None
    """Its config as JSON, with the class's defaults; null where it has none."""
    flops_per_token: float | None
    """Of a forward and a backward pass, by torch's counter; null: `flops_reason` says why."""
    flops_reason: str | None
    versions: dict[str, str]
    wasted_flops_per_token: float = 0.0
    """Computed beyond those without need: experts that a token is not sent to."""
    flops_per_key: float | None = None
    """Of `flops_per_token`, what each key that a token attends to costs; null: not known."""
    notes: list[str] = field(default_factory=list)
    """What its config asks for and is not done, a sentence each."""


# --- a training, a profile ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The worker has entered this part of its work."""

    kind: Literal["phase"] = "phase"
    at_seconds: float
    name: Literal["probe", "gate", "ceiling", "build", "train", "teardown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the worker runs on, as it found it."""

    kind: Literal["environment"] = "environment"
    at_seconds: float
    wire_version: int
    backend: str
    device_name: str
    device_count: int
    """That this job drives."""
    asynchronous: bool
    """Whether calls return before the device has finished."""
    proven: bool
    threads: int | None
    versions: dict[str, str]
    settings: dict[str, str]
    """Numeric settings in force: matmul precision, fused optimizer, instruction set."""
    clock_step_seconds: float | None = None
    """Resolution of the clock that times blocks; null in older files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityPoint:
    """The gradients of one batch against those of fp32 on the CPU; null where not finite."""

    start: Literal["production", "stress"]
    """The weights: the family's initial ones, or ones that make attention far from uniform."""
    loss: float | None
    reference_loss: float
    gradient_norm: float | None
    reference_gradient_norm: float
    tensors: int
    worst_tensor: str
    worst_distance: float | None
    """Norm of the difference over the norm of the reference, of the worst tensor."""
    least_cosine_tensor: str
    least_cosine: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The parity gate: a small model of the case's kind, trained on the device and on the CPU."""

    kind: Literal["parity"] = "parity"
    at_seconds: float
    seconds: float
    """Of the whole gate, the reference included."""
    reference_seconds: float
    was_cached: bool
    """Whether the reference came from the cache."""
    points: list[ParityPoint]
    losses: list[float | None]
    """Of the first steps, in nats."""
    reference_losses: list[float]
    known_answers: dict[str, list[float | None]] = field(default_factory=dict)
    """Of small models on the CPU: loss and gradient norm, and both by another implementation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightUpdate:
    """How far the first steps moved the weights of the case's own model.

    Relative: the norm of the change over the norm of the weight, both over an even sample of it.
    """

    kind: Literal["movement"] = "movement"
    at_seconds: float
    steps: int
    tensors: int
    still: list[str]
    """Weights that did not move at all, and could have."""
    rounded: list[str] = field(default_factory=list)
    """Weights that did not move because their format rounds so small an update away."""
    least_tensor: str | None
    least: float | None
    most_tensor: str | None
    most: float | None
    """Null where a weight was not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingPoint:
    """Repeated rates of one square matmul of this edge."""

    size: int
    flops_per_second: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The measured matmul rate of this device in this run's arithmetic."""

    kind: Literal["ceiling"] = "ceiling"
    at_seconds: float
    dtype: str
    points: list[CeilingPoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The model is on the device; counts are observed there, not planned."""

    kind: Literal["built"] = "built"
    at_seconds: float
    parameter_count: int
    parameter_bytes: int
    embeddings_are_tied: bool
    placement: list[str] | None = None
    """Devices and dtypes of the weights, as torch names them, each once."""
    trained_count: int | None = None
    """Weights that the optimizer steps; null: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Optimizer steps timed as one. Lists have one entry a step, null where not finite."""

    kind: Literal["block"] = "block"
    at_seconds: float
    purpose: Purpose
    first_step: int
    steps: int
    seconds: float
    prepare_seconds: float
    """Of making the block's tokens, before the clock was started."""
    event_seconds: float | None = None
    """The same by the device's own events; null where it has none to trust."""
    rank_seconds: list[float] | None = None
    """Of each rank, in order; `seconds` is the slowest's. Null for one rank."""
    losses: list[float | None]
    gradient_norms: list[float | None]
    oracle_losses: list[float]
    """Of a model that knows the stream, on the same tokens."""
    expert_imbalances: list[float | None] | None = None
    """Rows of the fullest expert over the mean; the mean over the model's blocks with experts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Compilations and fallbacks so far, which a timed step must not hold.

    Counts are since the case's model was built; null where the device's software does not tell.
    Sent before the first block's record, and before that of each block in which something changed.
    """

    kind: Literal["activity"] = "activity"
    at_seconds: float
    steps: int
    """Optimizer steps done."""
    graphs: int | None
    """Captured by torch."""
    compilations: int | None
    """By the device's compiler."""
    cache_hits: int | None
    """Programs that were compiled already."""
    compile_seconds: list[float]
    """Of each compilation, as far as known."""
    fallback_ops: dict[str, int] | None
    """Operators that ran on the CPU instead of the device, and how often; 0: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak memory of the fullest rank so far."""

    kind: Literal["memory"] = "memory"
    at_seconds: float
    peak_bytes: int | None
    counted: str
    """`process_rss`, `device_allocated`, or why there is no figure."""
    rank_peak_bytes: list[int | None] | None = None
    """Of each rank, in order; `peak_bytes` is the most. Null for one rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One operator's own time under the profiler, without that of the operators that it calls.

    A moment in which several threads or streams worked is divided evenly between them, so that all
    operators' seconds together are never more than the window's.
    """

    name: str
    """As torch names it; the kernel's, for device work that no operator launched."""
    within: Literal["optimizer"] | None
    """Whether the optimizer's step, or an operation on all weights at once, called it."""
    calls: int
    host_seconds: float
    device_seconds: float | None
    """Null where the profiler does not see the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """Where the time of some steps went, as torch's profiler saw it."""

    kind: Literal["profiled"] = "profiled"
    at_seconds: float
    warmup_steps: int
    steps: int
    plain_seconds: list[float]
    """Of as many steps without the profiler, by our clock: once before it, and once after."""
    profiled_seconds: float
    """Under the profiler, by our clock."""
    window_seconds: float
    """Under the profiler, by its own clock: what the operators' seconds are parts of."""
    operators: list[OperatorTime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The worker has done its task; its last record."""

    kind: Literal["finished"] = "finished"
    at_seconds: float
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The worker cannot go on; its last record."""

    kind: Literal["failed"] = "failed"
    at_seconds: float
    reason: FailureReason
    message: str
    hint: str | None
    detail: str
    """The traceback, innermost call last."""
    code: str | None = None
    """The vendor's code, such as `NCC_EVRF004`."""
    error: str | None = None
    """The exception's class, with its module unless it is Python's own."""
    raised_in: str | None = None
    """The package whose Python code raised it, or called what raised it."""


# --- a microbenchmark -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakPoint:
    """One operation of a `Microbench`, timed; or why it could not be."""

    kind: Literal["peak_point"] = "peak_point"
    at_seconds: float
    name: str
    runs: int
    """Executions in each repeat."""
    seconds: list[float]
    """Of one execution, the mean within each repeat."""
    reason: str | None = None


ChildRecord = (
    Inventory
    | Probe
    | Described
    | PeakPoint
    | Phase
    | Environment
    | Parity
    | WeightUpdate
    | Ceiling
    | Built
    | Seated
    | Block
    | Activity
    | Memory
    | Communication
    | AllReduce
    | Replica
    | Profiled
    | Finished
    | Failed
)

CHILD_RECORDS: tuple[type, ...] = typing.get_args(ChildRecord)
