"""How long one optimizer step takes on a machine that is not here, its parts, range and memory.

The seconds by physics (`terms.py`) times the slowness that this chip's published steps had.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from trnbench.errors import ConfigError
from trnbench.estimate.calibration import Calibrated, Calibration, calibration
from trnbench.estimate.machine import Machine
from trnbench.estimate.terms import Setup, bound_seconds, terms_of
from trnbench.model.flops import DEFAULT_CONVENTION
from trnbench.model.memory import (
    COMFORTABLE_SHARE,
    MemoryPrediction,
    predict_memory,
    state_bytes,
)
from trnbench.schema.plan import MemoryVerdict

RESERVED_BYTES = {"AWS": 1.5 * 2**30}
"""Of each device, for a vendor's runtime; docs/metrics.md, "Memory"."""
CUDA_RESERVED_BYTES = 1.0 * 2**30
"""CUDA's context and NCCL's buffers."""

LIMITS = {
    "matmuls": "matmuls",
    "attention": "attention over the sequence",
    "recomputed": "recomputation",
    "memory": "memory traffic",
    "launches": "launches by the host",
    "tensor": "collectives inside blocks",
    "pipeline": "the pipeline's bubble",
    "data": "collectives of data ranks",
    "optimizer": "the optimizer",
}
"""What limits a step whose largest part has this name."""

AWS_TABLES = "Neuron SDK"
"""The publication that has AWS's own training rates."""

SAME_SILICON = {"a100-40": "a100-80"}
"""Chips that differ in memory alone: steps of one are data for the other."""

FALLBACKS = {
    "dense_bf16": ("dense_fp8", "adapters", "experts"),
    "dense_fp8": ("dense_bf16", "adapters", "experts_fp8"),
    "dense_fp32": ("dense_bf16",),
    "adapters": ("dense_bf16", "dense_fp8"),
    "experts": ("experts_fp8",),
    "experts_fp8": ("experts",),
}
"""Kinds of steps of the same chip that an estimate may rest on, with a wider range."""
FALLBACK_SPREAD = 1.1
"""Factor by which such a range is wider at each end."""


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
    memory_verdict: MemoryVerdict
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
    verdict: MemoryVerdict


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
    bound = bound_seconds(setup)
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
        limited_by=LIMITS[max(parts, key=lambda name: parts[name])],
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
        ConfigError: the chip has no peak in this precision, the layout has other ranks, or a size
            is below one.
    """
    chip = setup.machine.chip
    for name in ("sequence_length", "global_batch_size", "micro_batch_size", "chips"):
        if getattr(setup, name) < 1:
            raise ConfigError(
                f"{name} is {getattr(setup, name)}, and has to be at least 1",
                hint=f"choose a {name} of 1 or more",
            )
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


class Standard(NamedTuple):
    """What many setups of one model and machine have in common, for a search through them."""

    known: Calibration
    slowness: float
    room: float | None

    @classmethod
    def of(cls, setup: Setup, known: Calibration) -> "Standard":
        """Look up the data of one of them."""
        row, _ = data_of(setup, known)
        return cls(known, row.slowness if row else 1.0, _room(setup.machine))

    def seconds(self, setup: Setup) -> float:
        """Return the seconds of a step: by physics times the chip's slowness."""
        return terms_of(setup, self.known).seconds * self.slowness

    def has_room_for_states(self, setup: Setup) -> bool:
        """Whether weights, gradients and the optimizer's state alone leave room for the rest."""
        needed = state_bytes(setup.shape, setup.precision, setup.layout, setup.step)
        return self.room is None or needed <= self.room

    def judge(self, setup: Setup, seconds: float) -> Quick:
        """Predict the memory of a setup beside its seconds."""
        memory = _memory(setup).total_bytes
        return Quick(setup, seconds, memory, _verdict(memory, self.room))


def estimate_layouts(setups: Iterable[Setup], known: Calibration | None = None) -> Iterator[Quick]:
    """Estimate many setups of one model and machine, checked before, without their words."""
    standard = None
    for setup in setups:
        standard = standard or Standard.of(setup, known or calibration())
        yield standard.judge(setup, standard.seconds(setup))


def data_of(setup: Setup, known: Calibration) -> tuple[Calibrated | None, str]:
    """Return the data that an estimate rests on, and what it is in words."""
    chip, kind = setup.machine.chip.name, setup.kind
    said = kind.replace("_", " ")
    for name in (chip, SAME_SILICON.get(chip, chip)):
        row = known.of(name, kind)
        if row is not None:
            own = known.own.get((name, kind))
            rows = "row" if row.rows == 1 else "rows"
            rests = f"{row.rows} published {said} {rows} of {name} ({_sources(row)})"
            is_aws = setup.machine.chip.vendor == "AWS"
            if is_aws and AWS_TABLES not in row.sources:
                rests += "; AWS publishes no training table of it"
            return row, own or rests
        others = (known.of(name, each) for each in FALLBACKS.get(kind, ()))
        row = next(filter(None, others), None)
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
    said = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if len(names) == 1:
        said = f"all by {said}"
    return said + (", none of more than one chip" if row.chips == 1 else "")


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


def _verdict(needed: float, room: float | None) -> MemoryVerdict:
    if room is None:
        return "unknown"
    if needed <= COMFORTABLE_SHARE * room:
        return "fits"
    return "tight" if needed <= room else "does_not_fit"
