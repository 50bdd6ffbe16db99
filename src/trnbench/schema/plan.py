"""Plan: everything that a case needs, resolved to numbers before the first step.

`Plan`, at the end, is made of the parts above it.

Format versions, and what changed in each:

1   first version
2   a model's family and sizes, beside its shape
3   `parallel` has the sizes of replicas and shards, for data_parallel_size and data_parallel
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from trnbench.protocol.model import ExternalModel, ModelShape
from trnbench.protocol.orders import Precision, StepSettings, WorkOrder
from trnbench.protocol.parallel import Layout, PipelineSchedule
from trnbench.protocol.records import Described
from trnbench.schema.base import Strict
from trnbench.schema.price import Price

MemoryVerdict = Literal["fits", "tight", "does_not_fit", "unknown"]


class MeasureConfig(Strict):
    """How often to launch, and when to stop: as soon as one of these holds."""

    launches: Annotated[int, Field(ge=1, le=100)] = 1
    """Fresh processes in which each case is measured. Launches differ by more than the steps
    within one show: with three the interval allows for that, with four or more a comparison finds
    small changes."""
    relative_precision: Annotated[float, Field(gt=0, lt=1, examples=[0.01])] = 0.005
    """Half-width of the 95 % interval, as a part of the value, that is precise enough."""
    min_samples: Annotated[int, Field(ge=8, le=10_000)] = 50
    """Timed samples of a launch before the precision is looked at."""
    max_samples: Annotated[int, Field(ge=8, le=100_000)] = 1000
    """Timed samples after which measuring ends, precise or not."""
    min_seconds: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """Timed seconds before the precision is looked at."""
    max_minutes: Annotated[float, Field(gt=0, le=10_080)] = 15.0
    """Minutes for the case with all its launches, start-up and compilation included. What is left
    is shared out evenly among the launches to come."""
    max_usd: Annotated[float, Field(gt=0, le=10**6)] | None = None
    """Dollars for the case with all its launches, at the price below; needs a price."""
    gate: bool = True
    """Whether to compare the training of a small model of the same make with the CPU first. Without
    it nothing shows that what was timed is right."""
    ceiling: bool | None = None
    """Whether to time matmuls on the device first, so that the throughput is shown as a part of
    their rate; by default where they need no compiler: on a CPU, whose MFU rests on it, and on a
    GPU."""
    telemetry: bool = True
    """Whether to read utilisation, memory, temperature and power beside the run."""
    numa_binding: Literal["node", "none"] = "node"
    """node: each rank of several runs on the processors that are near its device, where those are
    known; none: wherever the system puts it."""
    hang_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Seconds without a record from the worker after which it counts as hung and is ended. Allow
    for the longest compilation."""


class PlannedModel(Strict):
    """The model and its number of weights."""

    name: str
    family: str
    """The family's name, or the kind of external model."""
    parameter_count: int
    active_parameter_count: int | None = None
    """Weights that one token uses; null in plans older than the count, and where an external
    model's sizes are not known."""
    layers: int | None
    """Null for an external model whose sizes are not known, as is `hidden_size`."""
    hidden_size: int | None
    vocabulary_size: int
    source: str
    shape: ModelShape | None
    """Null for an external model whose family is not known."""
    external: ExternalModel | None = None
    described: Described | None = None
    """What a worker found of the external model, before a device was used."""
    notes: tuple[str, ...] = ()
    """What its config asks for and is not done, a sentence each."""

    @property
    def external_name(self) -> str | None:
        """The kind and the target of an external model; None for one of our families."""
        return None if self.external is None else f"{self.external.kind} {self.external.target}"

    @property
    def is_tied(self) -> bool:
        """Whether the head is the embedding."""
        if self.described is not None:
            return self.described.embeddings_are_tied
        return self.own_shape.tied_embeddings

    @property
    def own_shape(self) -> ModelShape:
        """The shape, for callers that know that there is one; else a ValueError."""
        if self.shape is None:
            raise ValueError(f"the sizes of {self.name} are not known")
        return self.shape


class PassSize(Strict):
    """A size of one pass that is worth a trial, and what memory is predicted for it."""

    micro_batch_size: int
    memory_bytes: float | None
    """Of the fullest rank; null where it cannot be predicted."""
    memory_verdict: MemoryVerdict


class PassTrial(Strict):
    """A size of one pass that was tried, and how that ended."""

    micro_batch_size: int
    fits: bool | None
    """Null where the trial failed for another reason than memory."""
    status: str
    """How its launch ended: finished, out_of_memory, does_not_fit, ..."""
    reason: str
    """In the device's or the compiler's words."""
    peak_memory_bytes: float | None = None
    """Measured on the fullest rank; null where the launch did not come so far."""
    seconds: float


class PassSearch(Strict):
    """How `micro_batch_size: max` became a number."""

    sizes: tuple[PassSize, ...]
    """Those that the batch, the layout and the model allow, smallest first."""
    first: int
    """The one that is tried first: the largest that is predicted to fit."""
    is_batch_given: bool
    """Whether the config gives the global batch, which then stays; else it grows with the size."""
    trials: tuple[PassTrial, ...] = ()
    """In the order in which they were made; none in a plan that was only printed."""
    taken: int | None = None
    """The largest that was seen to fit; null before the trials, and where none did."""

    @property
    def seconds(self) -> float:
        """What the trials took."""
        return sum(each.seconds for each in self.trials)


class PlannedWorkload(Strict):
    """One optimizer step over all ranks."""

    sequence_length: int
    global_batch_size: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    precision: Precision
    optimizer: str
    tokens_per_step: int
    """Tokens of one optimizer step, over all data-parallel ranks."""
    step: StepSettings = StepSettings()
    """How the step is carried out; plans older than the setting carried it out plainly."""
    reason: str | None = None
    """Why the sizes that the config leaves out are these; null where it gives all."""
    search: PassSearch | None = None
    """The trials behind `micro_batch_size: max`; null where the config gives a number."""


class PlannedParallel(Strict):
    """The ranks of the job and their layout, field by field as in `protocol.parallel.Layout`."""

    world_size: int
    data_parallel_replicate_size: int = 1
    data_parallel_shard_size: int = 1
    context_parallel_size: int = 1
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    expert_parallel_size: int = 1
    sequence_parallel: bool = True
    reshard_after_forward: bool = True
    pipeline_schedule: PipelineSchedule = "1f1b"
    pipeline_stages_per_rank: int = 1
    nodes: Annotated[int, Field(ge=1)] = 1
    """Machines that the ranks are on, as many on each, in order."""
    reason: str | None = None
    """Why this layout; null in plans older than the choice."""

    @classmethod
    def of(cls, layout: Layout, reason: str | None = None, nodes: int = 1) -> Self:
        """Return a layout as a plan has it."""
        sizes = asdict(layout)
        return cls(world_size=layout.world_size, **sizes, nodes=nodes, reason=reason)

    @property
    def ranks_per_node(self) -> int:
        """Ranks on each machine."""
        return self.world_size // self.nodes

    @property
    def layout(self) -> Layout:
        """The layout, as the worker is given it."""
        return Layout(**self.model_dump(exclude={"world_size", "nodes", "reason"}))

    @property
    def in_words(self) -> str:
        """The layout in words, with the nodes of several."""
        nodes = f", on {self.nodes} nodes" if self.nodes > 1 else ""
        return f"{self.layout.in_words}{nodes}"


class PlannedDevice(Strict):
    """What the job runs on, as far as it is known before it starts."""

    backend: str
    """`auto` in a plan that was made without looking at a device."""
    accelerator: str | None
    """The chip's name in the catalog; null for a CPU or an unknown chip."""
    instance: str | None
    """The instance type that is paid for; null where none was named or recognised."""
    is_instance_recognised: bool
    """Whether the type was read from this machine, so that only its own region's rate counts."""
    devices_used: Annotated[int, Field(ge=1)] = 1
    """Devices that the job drives, as torch counts them: logical NeuronCores, GPUs."""
    devices_per_chip: Annotated[int, Field(ge=1)] = 1
    chips_used: Annotated[int, Field(ge=1)]
    chips_billed: Annotated[int, Field(ge=1)]
    """Chips of the instances that are paid for; where no instance type is known those of this
    machine that torch sees, and where no device was looked for as many as are used."""
    instances_billed: Annotated[int, Field(ge=1)]
    memory_bytes: float | None
    """Of one device; null where it is not known."""

    @property
    def devices_billed(self) -> int:
        """Devices of the billed chips; as many as are used where no chip is known."""
        if self.accelerator is None:
            return self.devices_used
        return max(self.devices_used, self.chips_billed * self.devices_per_chip)

    @property
    def devices_idle(self) -> int:
        """Billed devices that the job does not drive."""
        return self.devices_billed - self.devices_used

    @property
    def used_share(self) -> float:
        """The part of the billed devices that the job drives, 0 to 1."""
        return self.devices_used / self.devices_billed


class Prediction(Strict):
    """What arithmetic says before anything is run; a measurement replaces it."""

    flops_per_token: dict[str, float]
    """By convention."""
    recomputed_flops_per_token: float | None = None
    """Beyond that: recomputed forward passes, experts' empty places. Null in plans that are older
    than the choice: nothing was recomputed."""
    memory_bytes: float | None
    """Null for an external model whose sizes are not known, as is that of its activations."""
    memory_states_bytes: float
    memory_activations_bytes: float | None
    memory_verdict: MemoryVerdict
    step_seconds: float | None
    step_seconds_low: float | None = None
    """Of the estimate's 80 % range."""
    step_seconds_high: float | None = None
    step_seconds_reason: str
    """How the step time was predicted, or why it was not."""
    max_seconds: float
    """The longest that the case may take."""
    max_usd: float | None
    """What that costs at the plan's price; null without a price."""


class Plan(Strict):
    """One case, resolved; the worker receives `order` alone."""

    schema_version: Literal[3] = 3
    trnbench_version: str
    suite: str
    case_id: str
    swept: dict[str, Any]
    """What the sweep set for this case."""
    model: PlannedModel
    workload: PlannedWorkload
    parallel: PlannedParallel
    device: PlannedDevice
    measure: MeasureConfig
    price: Price | None
    price_reason: str | None
    """Why there is no price, and what sets it."""
    flops_convention: str
    prediction: Prediction
    order: WorkOrder
