"""A way of training a model on so many chips, and the seconds of its step by physics.

    step = (blocks + exposed collectives + launches) * (1 + bubble) + exposed data ranks + optimizer

each at shared fractions of datasheet rates. Source: docs/estimate.md; the formulas of
docs/metrics.md, "Step time".
"""

from dataclasses import dataclass
from typing import NamedTuple

from trnbench.estimate.calibration import Calibration
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
from trnbench.model.flops import PLAIN, fp8_flops_per_token, mixed_rate
from trnbench.model.memory import STATE_BYTES_PER_PARAMETER
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Precision, StepSettings
from trnbench.protocol.parallel import SINGLE, Layout

GRAPH_VENDORS = ("AWS", "Google", "Intel")
"""Of chips whose compiler makes one program of a pass: the host launches no kernel by itself."""


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
    weight, gradient, state = STATE_BYTES_PER_PARAMETER[setup.precision]
    moved = 2 * (weight + state) + gradient
    return (
        0.0
        if rate is None
        else moved * work.trained_parameters / (split * layout.state_shards) / rate
    )


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
    seconds, shards = 0.0, layout.state_shards
    if shards > 1:
        group = grouped(shards, layout.tensor_parallel_size, links)
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


def bound_seconds(setup: Setup) -> float:
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
