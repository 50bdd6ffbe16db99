"""How long one optimizer step takes on a machine that is not here, its parts, range and memory.

    step = (blocks + exposed collectives + launches) * (1 + bubble) + exposed data ranks + optimizer

each by physics at shared fractions of datasheet rates, and all times the slowness that this chip's
published steps had. Source: docs/estimate.md; formulas of docs/metrics.md, "Step time".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from trnbench.errors import ConfigError
from trnbench.estimate.calibration import Calibrated, Calibration, calibration
from trnbench.estimate.collectives import (
    exchange_seconds,
    gather_seconds,
    group_of,
    grouped,
    links_of,
    send_seconds,
)
from trnbench.estimate.machine import Machine
from trnbench.estimate.work import Work, work_of
from trnbench.model.flops import DEFAULT_CONVENTION, PLAIN, fp8_flops_per_token, mixed_rate
from trnbench.model.memory import (
    COMFORTABLE_SHARE,
    STATE_BYTES_PER_PARAMETER,
    MemoryPrediction,
    predict_memory,
)
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Precision, StepSettings
from trnbench.protocol.parallel import SINGLE, Layout

Verdict = Literal["fits", "tight", "does_not_fit", "unknown"]

GRAPH_VENDORS = ("AWS", "Google", "Intel")
"""Of chips whose compiler makes one program of a pass: the host launches no kernel by itself."""

RESERVED_BYTES = {"AWS": 1.5 * 2**30}
"""Of each device, for a vendor's runtime; docs/metrics.md, "Memory"."""
CUDA_RESERVED_BYTES = 1.0 * 2**30
"""CUDA's context and NCCL's buffers."""

SAME_SILICON = {"a100-40": "a100-80"}
"""Chips that differ in memory alone: steps of one are data for the other."""

FALLBACKS = {"dense_bf16": "dense_fp8", "dense_fp8": "dense_bf16", "adapters": "dense_bf16"}
"""Kinds of steps of the same chip that an estimate may rest on, with a wider range."""
FALLBACK_SPREAD = 1.25
"""Factor by which such a range is wider at each end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One way of training a model on so many chips."""

    shape: ModelShape
    sequence_length: int
    global_batch_size: int
    """Sequences of one optimizer step."""
    precision: Precision = "bf16"
    step: StepSettings = PLAIN
    """Recomputation, chunks of the loss, adapters, capacity of experts."""
    micro_batch_size: int = 1
    """Sequences of one pass of one data rank."""
    layout: Layout = SINGLE
    machine: Machine
    chips: int
    """That the job has; those of its instances, or fewer."""

    @property
    def passes(self) -> int:
        """Passes of a step on each rank; at least one."""
        ranks = self.layout.data_parallel_size * self.micro_batch_size
        return max(1, round(self.global_batch_size / ranks))

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.global_batch_size * self.sequence_length

    @property
    def kind(self) -> str:
        """Which kind of published steps it is like."""
        return kind_of(self.shape, self.precision, self.step)


class Terms(NamedTuple):
    """Seconds of one step by physics, at shared fractions of datasheet rates."""

    matmuls: float
    """With the blocks' weights, and the head."""
    attention: float
    recomputed: float
    memory: float
    """Moving activations, weights and logits between memory and cores."""
    launches: float
    """What the host needs for kernels beyond the time that they take."""
    tensor: float
    """Exposed collectives of tensor, context and expert ranks."""
    pipeline: float
    """Bubble, and sends between stages."""
    data: float
    """Exposed collectives of data ranks: gradients, and weights that are gathered."""
    optimizer: float

    @property
    def seconds(self) -> float:
        """All together."""
        return sum(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """What a step is estimated to take, and what that rests on."""

    seconds: float | None
    """Median of what is expected; None without data of this chip."""
    seconds_low: float
    """Lower end of the 80 % range; without data the least that physics allows."""
    seconds_high: float | None
    bound_seconds: float
    """Model FLOPs at the datasheet's peak: no step is faster."""
    parts: dict[str, float]
    """Seconds by what they are spent on; they sum to `seconds`, without data to physics'."""
    limited_by: str
    """The largest part, in words."""
    tokens_per_second: float | None
    tokens_per_second_per_chip: float | None
    mfu: float | None
    convention: str
    memory: MemoryPrediction
    """Of the fullest device."""
    memory_room_bytes: float | None
    """Of a device, without what the vendor's runtime takes."""
    memory_verdict: Verdict
    basis: str
    """What the estimate rests on, in words."""
    has_data: bool
    gaps: dict[str, str] = field(default_factory=dict)
    """What is not known of the machine and left out, by name."""


class Quick(NamedTuple):
    """What a search needs of one candidate."""

    setup: Setup
    seconds: float
    """By physics times the chip's slowness, where there is data."""
    memory_bytes: float
    verdict: Verdict


def kind_of(shape: ModelShape, precision: Precision, step: StepSettings) -> str:
    """Return the kind of steps that a step is one of: its published rows are its data."""
    if step.lora is not None:
        return "adapters"
    if shape.experts is not None:
        return "experts_fp8" if precision == "fp8" else "experts"
    if shape.family in ("bert", "vit"):
        return "encoder"
    matmuls = precision if precision in ("fp8", "fp32") else "bf16"
    return f"dense_{matmuls}"


# --- the whole answer -----------------------------------------------------------------------------


def estimate_step(setup: Setup, known: Calibration | None = None) -> StepEstimate:
    """Estimate one optimizer step of a setup.

    Args:
        setup: with a layout whose ranks are the devices of its chips.
        known: the calibration; None: the catalog's.

    Raises:
        ConfigError: the chip has no peak in this precision, or the layout has other ranks.
    """
    known = known or calibration()
    check_setup(setup)
    terms = terms_of(setup, known)
    row, basis = data_of(setup, known)
    bound = _bound_seconds(setup)
    slowness = row.slowness if row else 1.0
    seconds = max(bound, terms.seconds * slowness) if row else None
    scale = seconds / terms.seconds if seconds else 1.0
    memory, room = _memory(setup), _room(setup.machine)
    rate = setup.tokens / seconds if seconds else None
    parts = {name: value * scale for name, value in terms._asdict().items() if value}
    return StepEstimate(
        seconds=seconds,
        seconds_low=max(bound, terms.seconds * row.low) if row else bound,
        seconds_high=max(bound, terms.seconds * row.high) if row else None,
        bound_seconds=bound,
        parts=parts,
        limited_by=max(parts, key=lambda name: parts[name]),
        tokens_per_second=rate,
        tokens_per_second_per_chip=rate / setup.chips if rate else None,
        mfu=bound / seconds if seconds and bound else None,
        convention=DEFAULT_CONVENTION,
        memory=memory,
        memory_room_bytes=room,
        memory_verdict=_verdict(memory.total_bytes, room),
        basis=basis,
        has_data=row is not None,
        gaps=dict(setup.machine.gaps),
    )


def check_setup(setup: Setup) -> None:
    """Refuse what no arithmetic can be done on.

    Raises:
        ConfigError: the chip has no peak in this precision, or the layout has other ranks.
    """
    chip = setup.machine.chip
    if setup.machine.peak_flops_per_second(setup.precision) is None:
        raise ConfigError(
            f"{chip.name} has no published peak in {setup.precision}",
            hint="choose another precision, or measure one with `trnbench peak`",
        )
    devices, ranks = setup.chips * chip.devices_per_chip, setup.layout.world_size
    if ranks != devices:
        raise ConfigError(
            f"a layout of {ranks} ranks is not one of {setup.chips} x {chip.name}, which are "
            f"{devices} devices",
            hint=f"choose sizes whose product is {devices}",
        )


def estimate_layouts(setups: Iterable[Setup], known: Calibration | None = None) -> Iterator[Quick]:
    """Estimate many setups of one model and machine, checked before, without their words."""
    known = known or calibration()
    slowness, room = None, None
    for setup in setups:
        if slowness is None:
            row, _ = data_of(setup, known)
            slowness, room = row.slowness if row else 1.0, _room(setup.machine)
        memory = _memory(setup).total_bytes
        seconds = terms_of(setup, known).seconds * slowness
        yield Quick(setup, seconds, memory, _verdict(memory, room))


def data_of(setup: Setup, known: Calibration) -> tuple[Calibrated | None, str]:
    """Return the data that an estimate rests on, and what it is in words."""
    chip, kind = setup.machine.chip.name, setup.kind
    said = kind.replace("_", " ")
    for name in (chip, SAME_SILICON.get(chip, chip)):
        row = known.of(name, kind)
        if row is not None:
            own = known.own.get((name, kind))
            rests = own or f"{row.rows} published {said} rows of {name} ({_sources(row)})"
            return row, rests
        row = known.of(name, FALLBACKS.get(kind, ""))
        if row is not None:
            other = row.kind.replace("_", " ")
            wide = replace(row, low=row.low / FALLBACK_SPREAD, high=row.high * FALLBACK_SPREAD)
            return wide, (
                f"no {said} rows of {name}; {row.rows} of its {other} rows ({_sources(row)}), "
                f"range widened by {FALLBACK_SPREAD:g}"
            )
    return None, (
        f"no data for this chip: no published {said} step of {chip} is known; the bound is the "
        "model's FLOPs at the datasheet's peak"
    )


def _sources(row: Calibrated) -> str:
    names = row.sources.split("|")
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# --- terms ----------------------------------------------------------------------------------------


def terms_of(setup: Setup, known: Calibration) -> Terms:
    """Return the seconds of a step by physics, by what they are spent on."""
    layout, machine, shares = setup.layout, setup.machine, known.shares
    work = work_of(setup.shape, setup.sequence_length, setup.precision, setup.step)
    links = links_of(machine, shares.links)
    tensor, pipeline = layout.tensor_parallel_size, layout.pipeline_parallel_size
    passes = setup.passes
    tokens = setup.micro_batch_size * setup.sequence_length / layout.context_parallel_size
    # Of one pass of one rank; the last pipeline rank has the head, and the others wait for it.
    share = tokens / (tensor * pipeline)
    fast, plain = _rates(setup, known)
    matmuls = share * (work.block_flops / fast + work.head_flops / plain)
    attention = share * work.attention_flops / (plain * shares.attention)
    recomputed = share * work.recomputed_flops / fast
    memory = _memory_seconds(setup, work, known, share)
    device = matmuls + attention + recomputed + memory
    launches = max(0.0, _launch_seconds(setup, known) - device)
    inside = shares.exposed * _inside_seconds(setup, work, tokens)  # of one pass
    inside /= shares.links
    busy = device + launches + inside
    bubble = (pipeline - 1) / layout.pipeline_stages_per_rank * busy
    sends = 0.0
    if pipeline > 1:
        sent = 2 * work.width * work.hidden_size * tokens / tensor
        group = group_of(layout, "pipeline", links)
        sends = send_seconds(sent * layout.pipeline_stages_per_rank, group, links)
        sends *= shares.exposed * passes
    data = max(0.0, _data_seconds(setup, work, known) - shares.overlap * busy * passes)
    return Terms(
        matmuls=matmuls * passes,
        attention=attention * passes,
        recomputed=recomputed * passes,
        memory=memory * passes,
        launches=launches * passes,
        tensor=inside * passes,
        pipeline=bubble + sends,
        data=data,
        optimizer=_optimizer_seconds(setup, work, known),
    )


def _rates(setup: Setup, known: Calibration) -> tuple[float, float]:
    """Return the FLOP/s of a device in the blocks' matmuls and in all others."""
    machine, precision = setup.machine, setup.precision
    chip, devices = machine.chip, machine.chip.devices_per_chip
    plain_name: Precision = "fp32" if precision == "fp32" else "bf16"
    plain = machine.peak_flops_per_second(plain_name) or 0.0
    fast = machine.peak_flops_per_second(precision) or plain
    shares = (
        known.matmul.get((chip.name, precision), known.shares.matmul),
        known.matmul.get((chip.name, plain_name), known.shares.matmul),
    )
    return fast * shares[0] / devices, plain * shares[1] / devices


def _memory_rate(setup: Setup, known: Calibration) -> float | None:
    chip = setup.machine.chip
    if chip.memory_bytes_per_second is None:
        return None
    share = known.memory.get(chip.name, known.shares.memory)
    return chip.memory_bytes_per_second * share / chip.devices_per_chip


def _memory_seconds(setup: Setup, work: Work, known: Calibration, share: float) -> float:
    """Return the time of one pass in moving activations, and weights three times."""
    rate = _memory_rate(setup, known)
    if rate is None:
        return 0.0
    split = setup.layout.tensor_parallel_size * setup.layout.pipeline_parallel_size
    more = 4 / 3 if setup.step.recompute == "full" else 1.0
    moved = known.shares.traffic * work.moved_bytes * share * more
    return (moved + 3 * work.width * work.parameters / split) / rate


def _optimizer_seconds(setup: Setup, work: Work, known: Calibration) -> float:
    """Return the time of AdamW: it reads weight, gradient and moments, and writes three of them."""
    rate = _memory_rate(setup, known)
    layout = setup.layout
    split = layout.tensor_parallel_size * layout.pipeline_parallel_size
    shards = layout.data_parallel_shard_size * layout.context_parallel_size
    weight, gradient, state = STATE_BYTES_PER_PARAMETER[setup.precision]
    moved = 2 * (weight + state) + gradient
    return 0.0 if rate is None else moved * work.trained_parameters / (split * shards) / rate


def _launch_seconds(setup: Setup, known: Calibration) -> float:
    """Return what the host needs to launch one pass."""
    if setup.machine.chip.vendor in GRAPH_VENDORS:
        return 0.0
    more = 4 / 3 if setup.step.recompute == "full" else 1.0
    blocks = setup.shape.layers / setup.layout.pipeline_parallel_size
    return known.shares.launch_seconds_per_block * blocks * more


def _inside_seconds(setup: Setup, work: Work, tokens: float) -> float:
    """Return the time of one pass in collectives that blocks wait for, at full rates of links.

    Tensor ranks gather and scatter states four times each; a context rank passes keys and values
    on; tokens go to their experts and come back, in both directions of the pass.
    """
    layout = setup.layout
    links = links_of(setup.machine, 1.0)
    blocks = work.layers / layout.pipeline_parallel_size
    more = 1.5 if setup.step.recompute == "full" else 1.0
    state = work.width * work.hidden_size * tokens
    seconds = 0.0
    if layout.tensor_parallel_size > 1:
        group = group_of(layout, "tensor", links)
        seconds += 8 * more * gather_seconds(state, group, links)
    if layout.context_parallel_size > 1:
        group = group_of(layout, "context", links)
        whole = work.width * work.key_value_size * tokens * layout.context_parallel_size
        seconds += 3 * gather_seconds(whole / layout.tensor_parallel_size, group, links)
    if layout.expert_parallel_size > 1:
        group = grouped(layout.expert_parallel_size, 1, links)
        sent = work.expert_rows * state / layout.tensor_parallel_size
        seconds += 4 * exchange_seconds(sent, group, links)
    return blocks * seconds


def _data_seconds(setup: Setup, work: Work, known: Calibration) -> float:
    """Return the time of a step in collectives of data ranks, hidden or not."""
    layout = setup.layout
    links = links_of(setup.machine, known.shares.links)
    split = layout.tensor_parallel_size * layout.pipeline_parallel_size
    gradient = STATE_BYTES_PER_PARAMETER[setup.precision][1]
    seconds, shards = 0.0, layout.data_parallel_shard_size
    if shards * layout.context_parallel_size > 1:
        stride = layout.tensor_parallel_size
        group = grouped(shards * layout.context_parallel_size, stride, links)
        if shards > 1:
            gathers = setup.passes * (2 if layout.reshard_after_forward else 1)
            if layout.pipeline_parallel_size > 1:
                gathers = 1  # gathered once for all passes of a step
            weights = work.width * work.parameters / split
            seconds += gathers * gather_seconds(weights, group, links)
        seconds += gather_seconds(gradient * work.trained_parameters / split, group, links)
    if layout.data_parallel_replicate_size > 1:
        group = group_of(layout, "replicate", links)
        whole = gradient * work.trained_parameters / (split * shards)
        seconds += 2 * gather_seconds(whole, group, links)
    return seconds


def _bound_seconds(setup: Setup) -> float:
    """Return the least time that the datasheet's peak allows the model's FLOPs."""
    work = work_of(setup.shape, setup.sequence_length, setup.precision, setup.step)
    machine = setup.machine
    plain = machine.peak_flops_per_second("fp32" if setup.precision == "fp32" else "bf16") or 0.0
    peak = plain
    if setup.precision == "fp8":
        fast = machine.peak_flops_per_second("fp8") or plain
        blocks = fp8_flops_per_token(setup.shape) * (4 / 6 if setup.step.lora else 1)
        peak = mixed_rate(work.model_flops, blocks, fast, plain)
    return work.model_flops * setup.tokens / (setup.chips * peak)


# --- memory ---------------------------------------------------------------------------------------


def _memory(setup: Setup) -> MemoryPrediction:
    return predict_memory(
        setup.shape,
        sequence_length=setup.sequence_length,
        micro_batch_size=setup.micro_batch_size,
        precision=setup.precision,
        layout=setup.layout,
        passes=setup.passes,
        step=setup.step,
    )


def _room(machine: Machine) -> float | None:
    chip = machine.chip
    if chip.memory_bytes is None:
        return None
    reserved = RESERVED_BYTES.get(chip.vendor, CUDA_RESERVED_BYTES)
    return chip.memory_bytes / chip.devices_per_chip - reserved


def _verdict(needed: float, room: float | None) -> Verdict:
    if room is None:
        return "unknown"
    if needed <= COMFORTABLE_SHARE * room:
        return "fits"
    return "tight" if needed <= room else "does_not_fit"
