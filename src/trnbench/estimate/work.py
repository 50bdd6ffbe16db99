"""What one token costs in training, and what a rank keeps: sums over a model's blocks, made once.

Symbols follow docs/metrics.md; FLOPs are of forward and backward passes together.
"""

import functools
from dataclasses import dataclass, replace

from trnbench.model import flops
from trnbench.model.families import family_of
from trnbench.model.memory import LOGITS_BYTES_PER_ENTRY, predict_memory
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Precision, StepSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Of one token, over the whole model; FLOPs and bytes."""

    block_flops: float
    """Matmuls with weights in the blocks."""
    attention_flops: float
    """Scores and weighted values, of the keys that the mask leaves."""
    head_flops: float
    recomputed_flops: float
    """Forward passes made again."""
    model_flops: float
    """In our convention: the first three."""
    moved_bytes: float
    """Activations that are written and read: those that would be kept, and the logits."""
    layers: int
    hidden_size: int
    key_value_size: int
    """Keys and values of a token in one block."""
    parameters: float
    trained_parameters: float
    """Those that have a gradient."""
    expert_rows: float
    """Rows that a token becomes in a block of experts; 0 without experts."""
    width: int
    """Bytes of one number in matmuls."""


@functools.lru_cache(maxsize=512)
def work_of(
    shape: ModelShape, sequence_length: int, precision: Precision, step: StepSettings
) -> Work:
    """Return what a token costs under the settings of a step."""
    width = 4 if precision == "fp32" else 2
    total = flops.flops_per_token(shape, sequence_length, step=step)
    blocks = flops.fp8_flops_per_token(shape)
    family = family_of(shape)
    targets = family.targets(sequence_length) / sequence_length
    head = 6 * family.head_weights(shape) * targets
    trained = parameters = float(flops.parameter_count(shape))
    if step.lora is not None:
        trained = float(flops.lora_parameter_count(shape, step))
        blocks, head = blocks * 4 / 6 + 6 * trained, head * 4 / 6
    plain = replace(step, recompute="none", loss_chunk_rows=None)
    kept = predict_memory(
        shape,
        sequence_length=sequence_length,
        micro_batch_size=1,
        precision=precision,
        step=plain,
    ).activations_bytes
    logits = LOGITS_BYTES_PER_ENTRY * targets * shape.vocabulary_size
    rows = 0.0
    if shape.experts is not None:
        of_blocks = 1 - shape.experts.dense_layers / shape.layers
        rows = flops.expert_rows_per_token(shape.experts, step) * of_blocks
    return Work(
        block_flops=blocks,
        attention_flops=max(0.0, total - blocks - head),
        head_flops=head,
        recomputed_flops=flops.recomputed_flops_per_token(shape, sequence_length, step),
        model_flops=total,
        moved_bytes=kept / sequence_length + logits,
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        key_value_size=2 * shape.kv_heads * shape.head_dim,
        parameters=parameters,
        trained_parameters=trained,
        expert_rows=rows,
        width=width,
    )
