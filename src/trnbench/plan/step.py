"""One optimizer step, resolved: its tokens and passes, its precision, and how it is carried out.

What is `auto` in a config is decided here, from the model's sizes and for the device.
"""

import math
from dataclasses import replace

from trnbench.catalog.backends import Backend
from trnbench.config.load import Conflict
from trnbench.config.model import Config, WorkloadConfig
from trnbench.model.families import family_of
from trnbench.plan.device import Target
from trnbench.plan.predict import memory_of, memory_verdict
from trnbench.plan.splits import ZERO_BUBBLE
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Execution, Lora, Precision, Recompute, StepSettings
from trnbench.protocol.parallel import Layout
from trnbench.schema.plan import PlannedDevice, PlannedModel, PlannedParallel, PlannedWorkload

LEAST_CHUNK_ROWS = 128

COMPILING_MINUTES = 5.0
"""Of a launch on a GPU from which on `auto` compiles: the first compilation may take two."""

STATIC_CAPACITY = 2.0

GROUPED_ROW_BYTES = 16
"""Rows of a grouped matmul are a multiple of it. Source: PyTorch, `_grouped_mm`'s check of strides
("strides should be multiple of 16 bytes", 2.13)."""

RECOMPUTES: tuple[Recompute, ...] = ("none", "selective", "full")
"""From the most memory to the most time."""


def plan_workload(
    config: Config,
    model: PlannedModel,
    parallel: PlannedParallel,
    device: PlannedDevice,
    target: Target,
) -> PlannedWorkload:
    """Resolve what one step trains on, and how."""
    asked = config.workload
    micro, passes = split_batch(asked, parallel.layout)
    usual: Precision = "fp32" if target.likely_row.is_host else "bf16"
    workload = PlannedWorkload(
        sequence_length=asked.sequence_length,
        global_batch_size=asked.global_batch_size,
        micro_batch_size=micro,
        gradient_accumulation_steps=passes,
        precision=usual if asked.precision == "auto" else asked.precision,
        optimizer=asked.optimizer,
        tokens_per_step=asked.global_batch_size * asked.sequence_length,
        step=StepSettings(adamw=None if asked.adamw == "auto" else asked.adamw),
    )
    if model.external is not None:
        if asked.activation_checkpointing != "full":
            return workload
        return _with(workload, replace(workload.step, recompute="full"))
    step = _own_step(asked, model.own_shape, workload, target.row)
    if step.expert_capacity is not None and parallel.context_parallel_size > 1:
        raise Conflict(
            "parallel.context_parallel_size",
            f"{parallel.context_parallel_size} ranks that each have a part of a sequence cannot "
            "say which of its tokens find room in an expert (workload.expert_capacity, or a device "
            "whose shapes are static)",
            hint="share out experts instead: tensor_parallel_size",
            others=["workload.expert_capacity", "device"],
        )
    is_compiled = plan_execution(config, model, target) == "compile"
    is_whole = parallel.tensor_parallel_size > 1 and is_compiled
    if asked.activation_checkpointing == "selective" and is_whole:
        raise Conflict(
            "workload.activation_checkpointing",
            "selective chooses operators, and tensor ranks recompute compiled blocks as a whole",
            hint="use full, none or auto, or execution: eager",
            others=["parallel.tensor_parallel_size", "workload.execution"],
        )
    if asked.activation_checkpointing != "auto":
        return _with(workload, replace(step, recompute=asked.activation_checkpointing))
    for recompute in RECOMPUTES:
        if recompute == "selective" and is_whole:
            continue
        if recompute != "none" and parallel.pipeline_schedule == ZERO_BUBBLE:
            break  # what is recomputed for the gradients of states is kept for those of weights
        tried = _with(workload, replace(step, recompute=recompute))
        memory = memory_of(model.own_shape, tried, parallel)
        if memory_verdict(memory, device, target) in ("fits", "unknown"):
            break
    return tried


def split_batch(asked: WorkloadConfig, layout: Layout) -> tuple[int, int]:
    """Return the sequences of a pass of one data rank, and the passes of a step.

    By default there is one pass, or as many as a pipeline has ranks: they are its microbatches.
    """
    data, usual = layout.data_parallel_size, layout.pipeline_parallel_size
    micro = asked.micro_batch_size or max(1, asked.global_batch_size // (data * usual))
    per_pass = micro * data
    if asked.global_batch_size % per_pass:
        raise Conflict(
            "workload.global_batch_size",
            f"{asked.global_batch_size} is not a multiple of micro_batch_size {micro} x "
            f"{data} data-parallel ranks = {per_pass}",
            hint=f"use {_multiples(asked.global_batch_size, per_pass)}, or change micro_batch_size",
            others=[
                "workload.micro_batch_size",
                "parallel.data_parallel_replicate_size",
                "parallel.data_parallel_shard_size",
            ],
        )
    return micro, asked.global_batch_size // per_pass


def _with(workload: PlannedWorkload, step: StepSettings) -> PlannedWorkload:
    return workload.model_copy(update={"step": step})


def _multiples(wanted: int, step: int) -> str:
    below, above = wanted // step * step, math.ceil(wanted / step) * step
    return f"{below} or {above}" if below else str(above)


def _own_step(
    asked: WorkloadConfig, shape: ModelShape, workload: PlannedWorkload, backend: Backend
) -> StepSettings:
    """Resolve the step of a model of ours, without its recomputation."""
    capacity = asked.expert_capacity
    if shape.experts is None:
        if capacity is not None:
            raise Conflict(
                "workload.expert_capacity",
                f"{capacity:g} is for models with experts",
                hint="leave it out",
                others=["model"],
            )
    elif capacity is None and backend.has_static_shapes:
        capacity = STATIC_CAPACITY
    elif capacity is None:
        _check_grouped_matmuls(shape.hidden_size, shape.experts.size, workload.precision)
    return replace(
        workload.step,
        loss_chunk_rows=_chunk_rows(asked, shape, workload, backend),
        document_length=asked.document_length,
        lora=_lora(asked, shape),
        expert_capacity=capacity,
    )


def _chunk_rows(
    asked: WorkloadConfig, shape: ModelShape, workload: PlannedWorkload, backend: Backend
) -> int | None:
    """Return the rows of one chunk of logits; None where all of a pass exist at once."""
    if asked.loss == "plain":
        if asked.loss_chunk_tokens is not None:
            raise Conflict(
                "workload.loss_chunk_tokens",
                f"{asked.loss_chunk_tokens} has no effect with loss: plain",
                hint="use loss: chunked, or leave it out",
                others=["workload.loss"],
            )
        return None
    rows = workload.micro_batch_size * family_of(shape).targets(workload.sequence_length)
    fitting = max(LEAST_CHUNK_ROWS, int(backend.loss_chunk_bytes / 4 / shape.vocabulary_size))
    # A power of two is a size that kernels are tuned for.
    chunk = asked.loss_chunk_tokens or 2 ** int(math.log2(fitting))
    if asked.loss == "auto" and asked.loss_chunk_tokens is None and rows <= chunk:
        return None
    return min(chunk, rows)


def _check_grouped_matmuls(hidden_size: int, size: int, precision: Precision) -> None:
    """Refuse experts whose rows torch's grouped kernel does not take."""
    multiple = GROUPED_ROW_BYTES // (4 if precision == "fp32" else 2)
    for key, value in (("model.experts.size", size), ("model.hidden_size", hidden_size)):
        if value % multiple:
            raise Conflict(
                key,
                f"{value} is not a multiple of {multiple}, as grouped matmuls in {precision} need",
                hint="change it, or give workload.expert_capacity, which needs no grouped matmuls",
                others=["workload.precision"],
            )


def _lora(asked: WorkloadConfig, shape: ModelShape) -> Lora | None:
    lora = asked.lora
    if lora is None:
        return None
    edges = [shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim]
    if lora.targets == "all":
        edges.append(shape.intermediate_size)
        if shape.experts is not None:
            raise Conflict(
                "workload.lora.targets",
                "all: experts have no adapters",
                hint="use `targets: attention`",
                others=["model"],
            )
    if lora.rank > min(edges):
        raise Conflict(
            "workload.lora.rank",
            f"{lora.rank} is more than the narrowest matmul's {min(edges)}",
            hint="use a low rank, 8 to 64",
        )
    alpha = 2.0 * lora.rank if lora.alpha is None else lora.alpha
    return Lora(rank=lora.rank, alpha=alpha, targets=lora.targets)


def plan_execution(config: Config, model: PlannedModel, target: Target) -> Execution:
    """Resolve whether the step is compiled."""
    asked, compiling = config.workload.execution, target.row.compiling
    lacks = target.found.compiler_lacks if target.found else None
    if asked == "compile" and lacks:
        raise Conflict(
            "workload.execution",
            f"compile needs {lacks} on {target.backend}, which is not here",
            hint="install it for the interpreter that trains, or use eager, or auto",
            others=["device"],
        )
    if asked == "compile" and compiling == "by_itself":
        raise Conflict(
            "workload.execution",
            f"compile is not supported on {target.backend}, whose graphs are compiled anyway",
            hint="use eager, or auto",
            others=["device"],
        )
    parallel = config.parallel
    if parallel.pipeline_schedule == ZERO_BUBBLE and parallel.pipeline_parallel_size != 1:
        if asked == "compile" or compiling == "always":
            raise Conflict(
                "parallel.pipeline_schedule",
                "zero_bubble runs each backward pass in two parts, and torch compiles it as one",
                hint="use pipeline_schedule: 1f1b or interleaved_1f1b",
                others=["workload.execution", "device"],
            )
        return "eager"
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
