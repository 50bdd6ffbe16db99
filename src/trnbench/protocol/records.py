"""All that a worker may send: what it found, and what it tells of itself while it works."""

import typing
from dataclasses import dataclass
from typing import Literal

from trnbench.protocol.orders import Purpose

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
"""What stopped the child: the device is not here, held by another process, or its driver does not
answer; device or host memory; the compiler; an operator or a type that the chip lacks; ranks that
wait for each other; the hardware; a new compilation in the measuring; a model of
the user's that cannot be trained; else a fault of ours."""

NeuronGeneration = Literal["native", "xla", "stub"]
"""Two products and an empty package share the name torch-neuronx: the first makes torch's device
`neuron`, the second `xla`, and the third, of the public index, nothing at all."""


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
    processor: FoundDevice
    """What any torch here could train on."""
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
    """What an external model is, found by building it without memory and without a device."""

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


# --- a training, a profile ------------------------------------------------------------------------


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
class WeightUpdate:
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


# --- a microbenchmark -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakPoint:
    """One operation of a `Microbench`, timed; or why it could not be."""

    kind: Literal["peak_point"] = "peak_point"
    at_seconds: float
    name: str
    runs: int
    """Times it was done in each repeat."""
    seconds: list[float]
    """Of doing it once, the mean within each repeat."""
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
    | Block
    | Activity
    | Memory
    | Profiled
    | Finished
    | Failed
)

CHILD_RECORDS: tuple[type, ...] = typing.get_args(ChildRecord)
