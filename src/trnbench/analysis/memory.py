"""How much memory one rank needs, term by term, before anything is run.

Source: docs/metrics.md, "Memory". The form of the terms was held against published peaks of
torchtitan, most of them with recomputation; with split tensors they fell short by 13 %, hence the
factor. How far this predictor errs without recomputation is not known yet.
"""

from dataclasses import dataclass

from trnbench.analysis.flops import embedding_parameters, layer_parameters, parameter_count
from trnbench.wire import ModelShape, Precision

STATE_BYTES_PER_PARAMETER: dict[Precision, tuple[int, int, int]] = {
    "fp32": (4, 4, 8),
    "bf16": (4, 4, 8),
    "pure_bf16": (2, 2, 4),
}
"""Weight, gradient and AdamW moments, in bytes. bf16 keeps fp32 weights and casts on the way."""

LOGITS_BYTES_PER_ENTRY = 14
"""Eager cross-entropy in fp32: bf16 logits, fp32 copy, log-softmax, fp32 gradient."""

TENSOR_PARALLEL_FACTOR = 1.2
"""How much the terms fall short of published peaks as soon as tensors or layers are split."""

COMFORTABLE_SHARE = 0.85
"""Above this share of the device's memory a job is called tight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """How the job is shared out."""

    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    data: int = 1
    is_sharded: bool = False
    """Whether data-parallel ranks share the state out (FSDP) or each hold it (DDP)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPrediction:
    """Bytes on the fullest rank, and what they are for."""

    states_bytes: float
    gathered_bytes: float
    activations_bytes: float
    working_bytes: float
    total_bytes: float
    """The sum, raised by the factor for split tensors."""


def predict_memory(
    shape: ModelShape,
    *,
    sequence_length: int,
    micro_batch_size: int,
    precision: Precision,
    ranks: Ranks,
) -> MemoryPrediction:
    """Predict the peak memory of the rank that holds the most, without recomputation."""
    layers = shape.layers / ranks.pipeline
    tokens = micro_batch_size * sequence_length / ranks.context
    width = 4 if precision == "fp32" else 2
    embeddings = embedding_parameters(shape) * (1 if shape.tied_embeddings else 2)
    outside = parameter_count(shape) - shape.layers * layer_parameters(shape)
    stage = layers * layer_parameters(shape) + (
        outside if ranks.pipeline == 1 else embedding_parameters(shape)
    )
    split = ranks.tensor * (ranks.data * ranks.context if ranks.is_sharded else 1)
    states = sum(STATE_BYTES_PER_PARAMETER[precision]) * stage / split
    gathered = 0.0
    if ranks.is_sharded and ranks.data * ranks.context > 1:
        gathered = _gathered_bytes(layer_parameters(shape), embeddings, ranks.tensor)
    in_flight = ranks.pipeline
    stored = _block_bytes_per_token(shape, width) * tokens / ranks.tensor
    activations = layers * stored * in_flight + width * shape.hidden_size * tokens / ranks.tensor
    sequence_copies = 8 * shape.hidden_size * tokens if ranks.tensor > 1 else 0.0
    logits = LOGITS_BYTES_PER_ENTRY * tokens * shape.vocabulary_size / ranks.tensor
    working = max(sequence_copies, logits + sequence_copies / 2)  # the head needs one copy of two
    factor = TENSOR_PARALLEL_FACTOR if ranks.tensor * ranks.pipeline > 1 else 1.0
    return MemoryPrediction(
        states_bytes=states,
        gathered_bytes=gathered,
        activations_bytes=activations,
        working_bytes=working,
        total_bytes=factor * (states + gathered + activations + working),
    )


def _gathered_bytes(layer: int, root: int, tensor: int) -> float:
    """FSDP2 in flight: bf16 copies of root and two blocks, one block's and root's gradients."""
    copies = 2 * root + 2 * 2 * layer
    gradients = 6 * layer + 2 * root
    return (copies + gradients) / tensor


def _block_bytes_per_token(shape: ModelShape, width: int) -> float:
    """Bytes that one block keeps for the backward pass, per token.

    Eager kernels: keys and values expanded to the query heads, and for llama an RMSNorm that keeps
    two fp32 copies and a SwiGLU that keeps gate, up, silu and product.
    """
    d, q, f = shape.hidden_size, shape.heads * shape.head_dim, shape.intermediate_size
    norm, mlp = (8, 8) if shape.family == "llama" else (2, 4)
    return (2 * norm * d + 4 * d + 4 * q + 4 * q + mlp * f + 4 * shape.heads) * width / 2
