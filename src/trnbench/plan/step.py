"""One optimizer step, resolved: its tokens and passes, its arithmetic, and how it is carried out.

What is `auto` in a config is decided here, for the device and from what the model comes to.
"""

import dataclasses
import math

from trnbench.catalog.accelerators import Accelerator
from trnbench.catalog.backends import BACKENDS, backend_of
from trnbench.config.load import Conflict
from trnbench.config.model import Config, WorkloadConfig
from trnbench.model.families import FAMILIES, family_of
from trnbench.plan.device import expected_backend
from trnbench.plan.external import external_step
from trnbench.plan.model import check_workload
from trnbench.plan.predict import memory_fits
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Execution, Lora, Precision, Recompute, StepSettings
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import PlannedDevice, PlannedModel, PlannedParallel, PlannedWorkload

LEAST_CHUNK_ROWS = 128

COMPILING_MINUTES = 5.0
"""What a launch on a GPU must have for `auto` to compile: the first time may take one or two."""

STATIC_CAPACITY = 2.0

GROUPED_ROW_BYTES = 16
"""What rows of a grouped product must be a multiple of. Source: PyTorch, `_grouped_mm`'s check of
strides ("strides should be multiple of 16 bytes", 2.13)."""

RECOMPUTES: tuple[Recompute, ...] = ("none", "selective", "full")
"""From what costs the most memory to what costs the most time."""


def plan_workload(
    config: Config, model: PlannedModel, parallel: PlannedParallel, precision: Precision
) -> PlannedWorkload:
    """Resolve what one step trains on."""
    asked, data = config.workload, parallel.data_parallel_size
    if precision == "fp8":
        check_fp8_model(config, model)
    if model.external is None:
        check_workload(model.own_shape, model.name, asked)
    micro = asked.micro_batch_size or max(1, asked.global_batch_size // data)
    per_pass = micro * data
    if asked.global_batch_size % per_pass:
        raise Conflict(
            "workload.global_batch_size",
            f"{asked.global_batch_size} is not a multiple of "
            f"micro_batch_size {micro} x data_parallel_size {data} = {per_pass}",
            hint=f"use {_multiples(asked.global_batch_size, per_pass)}, or change micro_batch_size",
            others=["workload.micro_batch_size", "parallel.data_parallel_size"],
        )
    return PlannedWorkload(
        sequence_length=asked.sequence_length,
        global_batch_size=asked.global_batch_size,
        micro_batch_size=micro,
        gradient_accumulation_steps=asked.global_batch_size // per_pass,
        precision=precision,
        optimizer=asked.optimizer,
        tokens_per_step=asked.global_batch_size * asked.sequence_length,
    )


def _multiples(wanted: int, step: int) -> str:
    below, above = wanted // step * step, math.ceil(wanted / step) * step
    return f"{below} or {above}" if below else str(above)


def plan_precision(config: Config, backend: str, accelerator: Accelerator | None) -> Precision:
    """Resolve the step's arithmetic."""
    asked = config.workload.precision
    if asked == "fp8":
        check_fp8_device(backend, accelerator)
    if asked != "auto":
        return asked
    return "fp32" if expected_backend(backend, accelerator).is_host else "bf16"


def plan_execution(
    config: Config, model: PlannedModel, backend: str, found: FoundDevice | None
) -> Execution:
    """Resolve whether the step is compiled."""
    asked = config.workload.execution
    lacks = found.compiler_lacks if found else None
    if asked == "compile" and lacks:
        raise Conflict(
            "workload.execution",
            f"compile needs {lacks} on {backend}, which is not here",
            hint="install it for the interpreter that trains, or use eager, or auto",
            others=["device"],
        )
    compiling = backend_of(backend).compiling
    if asked == "compile" and compiling == "by_itself":
        raise Conflict(
            "workload.execution",
            f"compile is not supported on {backend}, whose graphs are compiled anyway",
            hint="use eager, or auto",
            others=["device"],
        )
    if asked != "auto":
        return asked
    # What brings values to fp8 costs more than fp8 gains where it is not fused.
    if compiling == "always" or (config.workload.precision == "fp8" and lacks is None):
        return "compile"
    # Eager kernels understate a GPU; a case of a minute would do nothing but compile, and how long
    # an external model compiles is not known.
    has_time = config.measure.max_minutes / config.measure.launches >= COMPILING_MINUTES
    is_ready = compiling == "where_it_pays" and lacks is None and model.external is None
    return "compile" if is_ready and has_time else "eager"


def plan_step(
    config: Config,
    model: PlannedModel,
    workload: PlannedWorkload,
    parallel: PlannedParallel,
    device: PlannedDevice,
    accelerator: Accelerator | None,
) -> StepSettings:
    """Resolve how the step is carried out."""
    if model.external is not None:
        return external_step(config)
    asked, shape = config.workload, model.own_shape
    capacity = _expert_capacity(asked, shape, device.backend)
    if shape.experts is not None and capacity is None:
        _check_runs(shape.hidden_size, shape.experts.size, workload.precision)
    step = StepSettings(
        loss_chunk_rows=_chunk_rows(asked, shape, workload, device.backend),
        adamw=None if asked.adamw == "auto" else asked.adamw,
        document_length=asked.document_length,
        lora=_lora(asked, shape),
        expert_capacity=capacity,
    )
    asked_recompute = asked.activation_checkpointing
    if asked_recompute != "auto":
        return dataclasses.replace(step, recompute=asked_recompute)
    for recompute in RECOMPUTES:
        chosen = dataclasses.replace(step, recompute=recompute)
        tried = workload.model_copy(update={"step": chosen})
        if memory_fits(model, tried, parallel, device, accelerator):
            return chosen
    # The plan's verdict says what does not fit at all; where nothing is known, keep all.
    return step if device.memory_bytes is None else dataclasses.replace(step, recompute="full")


def _chunk_rows(
    asked: WorkloadConfig, shape: ModelShape, workload: PlannedWorkload, backend: str
) -> int | None:
    """Return the rows of one chunk of logits, or None where all of a pass fit into one."""
    if asked.loss == "plain":
        if asked.loss_chunk_tokens is not None:
            raise Conflict(
                "workload.loss_chunk_tokens",
                f"{asked.loss_chunk_tokens} has no chunks to size with loss: plain",
                hint="use loss: chunked, or leave it out",
                others=["workload.loss"],
            )
        return None
    rows = rows_of_pass(shape, workload)
    room = backend_of(backend).loss_chunk_bytes
    fitting = max(LEAST_CHUNK_ROWS, int(room / 4 / shape.vocabulary_size))
    # A power of two, so that kernels meet round sizes.
    chunk = asked.loss_chunk_tokens or 2 ** int(math.log2(fitting))
    if asked.loss == "auto" and asked.loss_chunk_tokens is None and rows <= chunk:
        return None
    return min(chunk, rows)


def rows_of_pass(shape: ModelShape, workload: PlannedWorkload) -> int:
    """Return the targets of one pass: what the head makes logits of."""
    return workload.micro_batch_size * family_of(shape).targets(workload.sequence_length)


def _expert_capacity(asked: WorkloadConfig, shape: ModelShape, backend: str) -> float | None:
    if shape.experts is None:
        if asked.expert_capacity is not None:
            raise Conflict(
                "workload.expert_capacity",
                f"{asked.expert_capacity:g} is for models with experts",
                hint="leave it out",
                others=["model"],
            )
        return None
    if asked.expert_capacity is None and backend_of(backend).has_static_shapes:
        return STATIC_CAPACITY
    return asked.expert_capacity


def _check_runs(hidden_size: int, size: int, precision: Precision) -> None:
    """Refuse experts whose rows torch's grouped kernel cannot take."""
    edge = GROUPED_ROW_BYTES // (4 if precision == "fp32" else 2)
    for key, value in (("experts.size", size), ("hidden_size", hidden_size)):
        if value % edge:
            raise Conflict(
                f"model.{key}",
                f"{value} is not a multiple of {edge}, as grouped products in {precision} need",
                hint="change it, or give workload.expert_capacity: fixed places need none",
                others=["workload.precision"],
            )


def _lora(asked: WorkloadConfig, shape: ModelShape) -> Lora | None:
    if asked.lora is None:
        return None
    edges = [shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim]
    if asked.lora.targets == "all":
        edges.append(shape.intermediate_size)
        if shape.experts is not None:
            raise Conflict(
                "workload.lora.targets",
                "all: experts have no adapters of their own here",
                hint="use `targets: attention`",
                others=["model"],
            )
    if asked.lora.rank > min(edges):
        raise Conflict(
            "workload.lora.rank",
            f"{asked.lora.rank} is more than the narrowest product's {min(edges)}",
            hint="a low rank is what it is for: 8 to 64",
        )
    alpha = 2.0 * asked.lora.rank if asked.lora.alpha is None else asked.lora.alpha
    return Lora(rank=asked.lora.rank, alpha=alpha, targets=asked.lora.targets)


FP8_FAMILIES = tuple(row.name for row in FAMILIES.values() if row.trains_in_fp8)

FP8_MULTIPLE = 16
"""What edges of an fp8 product must be multiples of. Source: PyTorch, `_scaled_mm`'s checks."""


def check_fp8_device(backend: str, accelerator: Accelerator | None) -> None:
    """Refuse a device that has no fp8 products, or none of torch's formats.

    A GPU that the catalog does not know is asked by the worker, once it has it.
    """
    lacks = lack_of_fp8(backend, accelerator)
    if lacks is not None:
        raise Conflict(
            "workload.precision",
            f"fp8 cannot be trained in: {lacks}",
            hint="use bf16",
            others=["device"],
        )


def lack_of_fp8(backend: str, accelerator: Accelerator | None) -> str | None:
    """Say why torch cannot multiply in fp8 on a device; None where nothing is known against it."""
    row = expected_backend(backend, accelerator)
    if accelerator is not None and row.fp8_lack is not None:
        return f"{accelerator.name} {row.fp8_lack}"
    if not row.has_fp8:
        name = row.name if row.name in BACKENDS or accelerator is None else accelerator.name
        return f"{name} has no fp8 products that torch knows, only NVIDIA's GPUs from Ada on"
    if accelerator is not None and accelerator.fp8_flops_per_second is None:
        return f"no fp8 peak of {accelerator.name} is published"
    return None


def check_fp8_model(config: Config, model: PlannedModel) -> None:
    """Refuse a model whose matmuls fp8 kernels cannot take, or whose training in it is untested."""
    if model.external is not None or model.own_shape.family not in FP8_FAMILIES:
        family = "a model of your own" if model.external is not None else model.own_shape.family
        raise Conflict(
            "workload.precision",
            f"fp8 trains {' and '.join(FP8_FAMILIES)} models, and {model.name} is {family}",
            hint="use bf16",
            others=["model"],
        )
    if config.workload.lora is not None:
        raise Conflict(
            "workload.lora",
            "adapters are too narrow to gain by fp8",
            hint="leave it out, or use precision: bf16",
            others=["workload.precision"],
        )
    shape = model.own_shape
    for section, key, value in (
        ("model", "hidden_size", shape.hidden_size),
        ("model", "head_dim", shape.head_dim),
        ("model", "intermediate_size", shape.intermediate_size),
        ("workload", "sequence_length", config.workload.sequence_length),
    ):
        if value % FP8_MULTIPLE:
            raise Conflict(
                f"{section}.{key}",
                f"{value} is not a multiple of {FP8_MULTIPLE}, as fp8 products need",
                hint="change it, or use precision: bf16",
                others=["workload.precision"],
            )
