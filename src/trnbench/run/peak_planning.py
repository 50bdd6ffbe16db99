"""From what `trnbench peak` was asked for, and the device that is here, to what will be timed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trnbench import __version__
from trnbench.analysis.ceilings import REPEATS
from trnbench.analysis.peak_tasks import (
    MIB,
    Arithmetic,
    Planned,
    Sizes,
    collective_tasks,
    single_tasks,
    sizes_for,
)
from trnbench.catalog.accelerators import Accelerator, accelerator_of_device
from trnbench.catalog.models import models, nearest_models
from trnbench.run.fp8_planning import FAMILIES, MULTIPLE, lack_of_fp8
from trnbench.run.peak import Part
from trnbench.schema.errors import ConfigError
from trnbench.schema.peak import PeakDocument
from trnbench.schema.units import say_bytes
from trnbench.wire import (
    WIRE_VERSION,
    AttentionTask,
    FoundDevice,
    ModelShape,
    PeakQuestion,
    PeakTask,
    ProductTask,
)

PROCESSES = 2
"""Ranks on a processor, which is one device: what moves data between processes is measured."""

FLOAT_BYTES = 4

BY_TOOL = ("neuron", "xla")
"""Backends whose collectives the vendor's tool times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakRequest:
    """What was asked for; None is left to the device."""

    device_index: int | None
    model: str | None
    batch: int | None
    sequence_length: int | None
    precisions: Sequence[Arithmetic]
    ranks: int | None
    squares: Sequence[int] = ()
    array_mib: int | None = None
    messages_mib: Sequence[float] = ()
    seconds_per_repeat: float
    memory_bytes: float | None = None
    """Of this machine, which a processor must not be made to fill: its kernel kills, and tells
    nobody why. An accelerator says so itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakPlan:
    """What will be timed, by whom."""

    document: PeakDocument
    """Without a reading."""
    parts: Sequence[Part]
    by_tool: Sequence[Planned]
    """Collectives that the vendor's tool times."""
    ranks: int
    """Of collectives, whoever times them; 1: there are none."""


def plan_peak(asked: PeakRequest, found: FoundDevice, now: datetime) -> PeakPlan:
    """Resolve everything to numbers.

    Raises:
        ConfigError: no such model, sequences that do not fit it, more ranks than devices, more than
            a processor's memory has room for, or fp8 where the device has none or an edge is not
            one that it takes.
    """
    sizes = _sizes(asked, found.backend)
    name = asked.model or sizes.model
    shape = _shape_of(name)
    batch = asked.batch or sizes.batch
    length = _length_of(name, shape, asked.sequence_length, sizes)
    ranks = _ranks(asked.ranks, found)
    chip = accelerator_of_device(found.device_name)
    if "fp8" in asked.precisions:
        _require_fp8(found, chip, name, shape, sizes.squares, batch * length)
    singles = single_tasks(sizes, shape, batch, length, asked.precisions)
    if found.backend == "cpu":
        of_model = f"--model {name}, --batch {batch}, --sequence-length {length}"
        _require_room(sizes, of_model, singles, asked.memory_bytes)
    together = tuple(collective_tasks(sizes)) if ranks > 1 else ()
    question = PeakQuestion(
        wire_version=WIRE_VERSION,
        backend=found.backend,
        device_index=asked.device_index,
        threads=None,
        repeats=REPEATS,
        seconds_per_repeat=asked.seconds_per_repeat,
        tasks=[],
    )
    is_by_tool = found.backend in BY_TOOL
    parts = [_part(question, singles, 1)]
    if together and not is_by_tool:
        parts.append(_part(question, together, ranks))
    document = _document(name, batch * length, chip, singles, now)
    return PeakPlan(
        document=document, parts=parts, by_tool=together if is_by_tool else (), ranks=ranks
    )


def _document(
    name: str, tokens: int, chip: Accelerator | None, singles: Sequence[Planned], now: datetime
) -> PeakDocument:
    """Return what is known before anything is measured."""
    return PeakDocument(
        trnbench_version=__version__,
        started_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        status="measuring",
        reason=None,
        model=name,
        tokens=tokens,
        accelerator=None if chip is None else chip.name,
        devices_per_chip=1 if chip is None else chip.devices_per_chip,
        environment=None,
        planned_products=tuple(each.task.name for each in singles if each.group == "model"),
        readings=(),
    )


def _sizes(asked: PeakRequest, backend: str) -> Sizes:
    usual = sizes_for(backend)
    return replace(
        usual,
        squares=tuple(asked.squares) or usual.squares,
        array_bytes=usual.array_bytes if asked.array_mib is None else asked.array_mib * MIB,
        collective_bytes=tuple(int(mib * MIB) for mib in asked.messages_mib)
        or usual.collective_bytes,
    )


def _require_room(
    sizes: Sizes, of_model: str, singles: Sequence[Planned], memory_bytes: float | None
) -> None:
    largest = max(sizes.squares)
    ours = max(_bytes_of(each.task) for each in singles if each.group in ("model", "attention"))
    for option, taken in (
        (f"--square {largest}", 3 * FLOAT_BYTES * largest**2),
        (f"--array-mib {sizes.array_bytes // MIB}", 3 * sizes.array_bytes),
        (f"--message-mib {max(sizes.collective_bytes) / MIB:g}", 4 * max(sizes.collective_bytes)),
        (of_model, ours),
    ):
        if memory_bytes is not None and taken > memory_bytes / 2:
            raise ConfigError(
                f"{option}: takes {say_bytes(taken)}, and this machine has "
                f"{say_bytes(memory_bytes)} of memory",
                hint="use less, so that half of it stays free",
            )


def _bytes_of(task: PeakTask) -> int:
    """Return what a task's operands and outcome take, which are drawn in fp32 whatever they are."""
    if isinstance(task, ProductTask):
        return FLOAT_BYTES * (task.m * task.k + task.k * task.n + task.m * task.n)
    if isinstance(task, AttentionTask):
        # Queries, keys, values and the outcome, and each one's gradient.
        rows = task.batch * task.tokens * 2 * (task.heads + task.kv_heads)
        return FLOAT_BYTES * rows * task.head_dim * (2 if task.passes == "training" else 1)
    return 0


def _require_fp8(
    found: FoundDevice,
    chip: Accelerator | None,
    name: str,
    shape: ModelShape,
    squares: Sequence[int],
    rows: int,
) -> None:
    lacks = lack_of_fp8(found.backend, chip)
    if lacks is not None:
        raise ConfigError(f"--precision fp8: {lacks}", hint="leave it off, or use bf16")
    if shape.family not in FAMILIES:
        raise ConfigError(
            f"--precision fp8: {' and '.join(FAMILIES)} models are trained in it, and {name} is "
            f"{shape.family}",
            hint="name another --model",
        )
    edges = [(f"--square {size}", size) for size in squares]
    edges += [("--batch times --sequence-length", rows)]
    edges += [(f"--model {name}", size) for size in (shape.hidden_size, shape.intermediate_size)]
    for option, edge in edges:
        if edge % MULTIPLE:
            raise ConfigError(
                f"{option}: {edge} is not a multiple of {MULTIPLE}, as fp8 products need",
                hint="change it, or leave out --precision fp8",
            )


def _part(question: PeakQuestion, planned: Sequence[Planned], ranks: int) -> Part:
    tasks = [each.task for each in planned]
    return Part(planned, replace(question, tasks=tasks, ranks=ranks))


def _shape_of(name: str) -> ModelShape:
    if name in models():
        return models()[name].shape
    near = nearest_models(name)
    raise ConfigError(
        f"--model {name}: is not in the catalog",
        hint=f"did you mean {' or '.join(near)}?" if near else "see `trnbench models`",
    )


def _length_of(name: str, shape: ModelShape, asked: int | None, sizes: Sizes) -> int:
    if shape.image is not None:
        made = shape.max_positions
        if asked not in (None, made):
            raise ConfigError(
                f"--sequence-length {asked}: {name} makes {made} tokens of a picture",
                hint="leave it off; --batch sets the pictures",
            )
        return made
    if asked is not None and asked > shape.max_positions:
        raise ConfigError(
            f"--sequence-length {asked}: {name} knows {shape.max_positions} positions",
            hint="use fewer, or another --model; --batch makes more rows",
        )
    return asked or min(sizes.tokens, shape.max_positions)


def _ranks(asked: int | None, found: FoundDevice) -> int:
    """Return how many devices take part in collectives."""
    here = PROCESSES if found.backend == "cpu" else found.device_count
    if asked is not None and found.backend != "cpu" and asked > here:
        raise ConfigError(
            f"--ranks {asked}: there are {here} {found.backend} devices here",
            hint=f"use up to {here}, or leave it off",
        )
    return asked or here
