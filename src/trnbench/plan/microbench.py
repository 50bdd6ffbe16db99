"""What `trnbench peak` times on the device that is here, from what was asked for."""

import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from trnbench import __version__
from trnbench.analysis.microbench import REPEATS
from trnbench.catalog.accelerators import Accelerator, accelerator_of_device
from trnbench.catalog.backends import backend_of
from trnbench.catalog.models import models
from trnbench.catalog.worlds import worlds_of
from trnbench.errors import ConfigError, did_you_mean
from trnbench.machine.neuron import OPERATIONS
from trnbench.model.matmuls import LayerMatmul, block_matmuls, training_matmuls
from trnbench.plan.device import Target
from trnbench.plan.rules import FP8_FAMILIES, FP8_MULTIPLE
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import (
    AttentionTask,
    Collective,
    CollectiveTask,
    MatmulTask,
    Microbench,
    MoveTask,
    PeakTask,
)
from trnbench.protocol.parallel import ALL_REDUCE_BYTES
from trnbench.protocol.records import FoundDevice
from trnbench.schema.microbench import Group, PeakDocument
from trnbench.units import say_bytes

MIB = 2**20
FLOAT_BYTES = 4

PROCESSES = 2
"""Ranks on a processor, whose collectives measure what moves data between processes."""

Arithmetic = Literal["fp32", "bf16", "fp8"]
Layout = Literal["nt", "nn", "tn"]

COLLECTIVES: tuple[Collective, ...] = typing.get_args(Collective)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of what is timed: by default they fill a kind of device, and are no larger."""

    squares: tuple[int, ...]
    array_bytes: int
    """Several times the last cache."""
    collective_bytes: tuple[int, ...]
    model: str
    batch: int
    tokens: int
    """Of each sequence of the batch."""


PROCESSOR = Sizes(
    squares=(512, 1024, 2048),
    array_bytes=256 * MIB,
    collective_bytes=(64 * 1024, MIB, 16 * MIB, 64 * MIB),
    model="gpt2-124m",
    batch=1,
    tokens=1024,
)
ACCELERATOR = Sizes(
    squares=(1024, 2048, 4096, 8192),
    array_bytes=1024 * MIB,
    collective_bytes=(64 * 1024, MIB, 16 * MIB, 256 * MIB, 1024 * MIB),
    model="llama3-8b",
    batch=2,
    tokens=4096,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakRequest:
    """What was asked for; None takes what fits the device."""

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
    """Of this machine: filling it would kill a worker on the processor without a word, where an
    accelerator raises an error."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One task, and what it is part of."""

    group: Group
    label: str
    """Its name without its arithmetic and its size."""
    task: PeakTask
    count: int = 1
    """How many of it a training step makes."""
    ranks: int = 1
    """How many do it together."""


@dataclass(frozen=True, slots=True)
class Part:
    """Tasks that the same workers time, and what each of the workers is asked, but for its seat."""

    planned: Sequence[Planned]
    task: Microbench
    ranks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakPlan:
    """What our ranks will time, and what the vendor's tool will."""

    document: PeakDocument
    """Without a reading."""
    parts: Sequence[Part]
    by_tool: Sequence[Planned]
    """Collectives that the vendor's tool times."""


def plan_peak(asked: PeakRequest, found: FoundDevice, now: datetime) -> PeakPlan:
    """Resolve everything to numbers.

    Raises:
        ConfigError: no such model, sequences that do not fit it, more ranks than devices, more than
            a processor's memory has room for, or fp8 where the device or the sizes do not allow it.
    """
    backend = backend_of(found.backend)
    usual = PROCESSOR if backend.is_host else ACCELERATOR
    shape = _shape_of(asked.model or usual.model)
    sizes = _sizes(asked, usual, shape)
    chip = accelerator_of_device(found.device_name)
    worlds = _worlds(asked.ranks, found, chip)
    if "fp8" in asked.precisions:
        lack = Target(backend=found.backend, accelerator=chip).fp8_lack
        _require_fp8(lack, sizes, shape)
    singles = single_tasks(sizes, shape, asked.precisions)
    if backend.is_host and asked.memory_bytes is not None:
        _require_room(sizes, singles, max(worlds, default=1), asked.memory_bytes)
    task = Microbench(
        backend=found.backend,
        device_index=asked.device_index,
        threads=None,
        repeats=REPEATS,
        seconds_per_repeat=asked.seconds_per_repeat,
        tasks=[each.task for each in singles],
    )
    parts = [Part(singles, task)]
    by_tool: list[Planned] = []
    for world in worlds:
        together = collective_tasks(sizes, world, is_largest=world == max(worlds))
        if backend.collectives_tool is not None:
            by_tool += together
        else:
            tasks = [each.task for each in together]
            together_task = replace(task, tasks=tasks, device_index=None)  # the first so many
            parts.append(Part(together, together_task, world))
    return PeakPlan(
        document=_document(sizes, chip, singles, now),
        parts=parts,
        by_tool=[each for each in by_tool if _is_of_tool(each.task)],
    )


def _is_of_tool(task: PeakTask) -> bool:
    return isinstance(task, CollectiveTask) and task.operation in OPERATIONS


def _document(
    sizes: Sizes, chip: Accelerator | None, singles: Sequence[Planned], now: datetime
) -> PeakDocument:
    return PeakDocument(
        trnbench_version=__version__,
        started_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        status="measuring",
        reason=None,
        model=sizes.model,
        tokens=sizes.batch * sizes.tokens,
        accelerator=None if chip is None else chip.name,
        devices_per_chip=1 if chip is None else chip.devices_per_chip,
        environment=None,
        planned_products=tuple(each.task.name for each in singles if each.group == "model"),
        readings=(),
    )


# --- the tasks ------------------------------------------------------------------------------------


def single_tasks(
    sizes: Sizes, shape: ModelShape, precisions: Sequence[Arithmetic]
) -> list[Planned]:
    """Return what one device does alone, in the order in which it is timed.

    In fp8 only the squares and the matmuls of the model's blocks are timed.
    """
    planned = [
        Planned("square", "square", _matmul(f"{precision} square {size}", precision, (size,) * 3))
        for precision in precisions
        for size in sizes.squares
    ]
    for precision in precisions:
        matmuls = block_matmuls if precision == "fp8" else training_matmuls
        for matmul in matmuls(shape, sizes.batch, sizes.tokens):
            planned += _of_layer(matmul, precision)
    for motion in ("copy", "triad"):
        move = MoveTask(name=motion, motion=motion, array_bytes=sizes.array_bytes)
        planned.append(Planned("memory", motion, move))
    for precision in precisions:
        if precision == "fp8":
            continue
        for passes in ("forward", "training"):
            attention = AttentionTask(
                name=f"{precision} attention {passes}",
                precision=precision,
                batch=sizes.batch,
                heads=shape.heads,
                kv_heads=shape.kv_heads,
                tokens=sizes.tokens,
                head_dim=shape.head_dim,
                passes=passes,
            )
            planned.append(Planned("attention", "attention", attention, shape.layers))
    return planned


def _of_layer(matmul: LayerMatmul, precision: Arithmetic) -> Iterator[Planned]:
    """Yield a weight's matmuls, in the layouts in which a step makes them of Y = X W."""
    rows, inputs, outputs = matmul.rows, matmul.inputs, matmul.outputs
    passes: list[tuple[str, Layout, tuple[int, int, int]]] = [
        ("forward", "nt", (rows, outputs, inputs)),
        ("dX", "nn", (rows, inputs, outputs)),
        ("dW", "tn", (outputs, inputs, rows)),
    ]
    for name, layout, edges in passes:
        if matmul.passes == 3 or name != "dX":
            task = _matmul(f"{precision} {matmul.name} {name}", precision, edges, layout)
            yield Planned("model", matmul.name, task, matmul.count)


def _matmul(
    name: str, precision: Arithmetic, edges: tuple[int, int, int], layout: Layout = "nt"
) -> MatmulTask:
    m, n, k = edges
    return MatmulTask(name=name, precision=precision, m=m, n=n, k=k, layout=layout)


def collective_tasks(sizes: Sizes, ranks: int, *, is_largest: bool = True) -> list[Planned]:
    """Return what so many ranks do together.

    Of a part of the machine the smallest and the largest message alone are timed, which show
    latency and bandwidth; and of all-reduce the one that jobs time too.
    """
    messages = sorted(set(sizes.collective_bytes))
    some = {messages[0], messages[-1]}
    return [
        Planned(
            "collective",
            operation.replace("_", "-"),
            CollectiveTask(
                name=f"{operation} {size} of {ranks}", operation=operation, whole_bytes=size
            ),
            ranks=ranks,
        )
        for operation in COLLECTIVES
        for size in messages
        if is_largest or size in some or (operation, size) == ("all_reduce", ALL_REDUCE_BYTES)
    ]


# --- what fits the device -------------------------------------------------------------------------


def _sizes(asked: PeakRequest, usual: Sizes, shape: ModelShape) -> Sizes:
    name = asked.model or usual.model
    messages = tuple(int(mib * MIB) for mib in asked.messages_mib)
    return replace(
        usual,
        squares=tuple(asked.squares) or usual.squares,
        array_bytes=usual.array_bytes if asked.array_mib is None else asked.array_mib * MIB,
        collective_bytes=messages or usual.collective_bytes,
        model=name,
        batch=asked.batch or usual.batch,
        tokens=_tokens(name, shape, asked.sequence_length, usual.tokens),
    )


def _tokens(name: str, shape: ModelShape, asked: int | None, usual: int) -> int:
    longest = shape.max_positions
    if shape.image is not None:
        if asked not in (None, longest):
            raise ConfigError(
                f"--sequence-length {asked}: {name} makes {longest} tokens of an image",
                hint="leave it off; --batch sets the images",
            )
        return longest
    if asked is not None and asked > longest:
        raise ConfigError(
            f"--sequence-length {asked}: {name} has {longest} positions",
            hint="use fewer, or another --model; --batch makes more rows",
        )
    return asked or min(usual, longest)


def _shape_of(name: str) -> ModelShape:
    if name in models():
        return models()[name].shape
    raise ConfigError(
        f"--model {name}: is not in the catalog",
        hint=did_you_mean(name, models()) or "see `trnbench models`",
    )


def _worlds(asked: int | None, found: FoundDevice, chip: Accelerator | None) -> list[int]:
    """Return the numbers of ranks between which collectives are timed, the fewest first.

    By default that is every number that divides the devices here and that their runtime supports.
    """
    is_host = backend_of(found.backend).is_host
    here = PROCESSES if is_host else found.device_count
    supported = None if chip is None else worlds_of(chip.name, chip.devices_per_chip)
    if asked is None:
        divisors = [n for n in range(2, here + 1) if here % n == 0]
        return [n for n in divisors if supported is None or n in supported]
    if not is_host and asked > here:
        raise ConfigError(
            f"--ranks {asked}: there are {here} {found.backend} devices here",
            hint=f"use up to {here}, or leave it off",
        )
    if supported is not None and asked not in supported:
        possible = ", ".join(str(n) for n in supported if n <= here)
        raise ConfigError(
            f"--ranks {asked}: the runtime of {chip.name if chip else found.backend} supports "
            f"{possible}",
            hint="use one of these, or leave it off",
        )
    return [asked] if asked > 1 else []


def _require_fp8(lack: str | None, sizes: Sizes, shape: ModelShape) -> None:
    if lack is not None:
        raise ConfigError(f"--precision fp8: {lack}", hint="leave it off, or use bf16")
    if shape.family not in FP8_FAMILIES:
        raise ConfigError(
            f"--precision fp8: {' and '.join(FP8_FAMILIES)} models are trained in it, and "
            f"{sizes.model} is {shape.family}",
            hint="name another --model",
        )
    edges = [(f"--square {size}", size) for size in sizes.squares]
    edges += [("--batch times --sequence-length", sizes.batch * sizes.tokens)]
    model = f"--model {sizes.model}"
    edges += [(model, shape.hidden_size), (model, shape.intermediate_size)]
    for option, edge in edges:
        if edge % FP8_MULTIPLE:
            raise ConfigError(
                f"{option}: {edge} is not a multiple of {FP8_MULTIPLE}, as fp8 matmuls need",
                hint="change it, or leave out --precision fp8",
            )


def _require_room(
    sizes: Sizes, singles: Sequence[Planned], ranks: int, memory_bytes: float
) -> None:
    square, message = max(sizes.squares), max(sizes.collective_bytes)
    of_model = f"--model {sizes.model}, --batch {sizes.batch}, --sequence-length {sizes.tokens}"
    in_model = max(_bytes_of(each.task) for each in singles if each.group in ("model", "attention"))
    for option, taken in (
        (f"--square {square}", 3 * FLOAT_BYTES * square**2),
        (f"--array-mib {sizes.array_bytes // MIB}", 3 * sizes.array_bytes),
        (f"--message-mib {message / MIB:g}", 3 * ranks * message),
        (of_model, in_model),
    ):
        if taken > memory_bytes / 2:
            raise ConfigError(
                f"{option}: takes {say_bytes(taken)}, and this machine has "
                f"{say_bytes(memory_bytes)} of memory",
                hint="use less, so that half of it stays free",
            )


def _bytes_of(task: PeakTask) -> int:
    """Return what a task's operands and its result take; operands are drawn in fp32."""
    if isinstance(task, MatmulTask):
        return FLOAT_BYTES * (task.m * task.k + task.k * task.n + task.m * task.n)
    if isinstance(task, AttentionTask):
        # Queries, keys, values and the output, and the gradient of each.
        rows = task.batch * task.tokens * 2 * (task.heads + task.kv_heads)
        return FLOAT_BYTES * rows * task.head_dim * (2 if task.passes == "training" else 1)
    return 0
