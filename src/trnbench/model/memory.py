"""How much memory one rank needs, term by term, before anything is run.

Source: docs/metrics.md, "Memory". The form of the terms was checked by published peaks of
torchtitan, most of them with recomputation; with split tensors they fell short by 13 %, hence the
factor. How far this predictor errs without recomputation is not known yet.
"""

from dataclasses import dataclass

from trnbench.model.families import embedding_parameters, family_of
from trnbench.model.flops import (
    PLAIN,
    block_parameters,
    expert_rows_per_token,
    has_experts,
    layer_parameters,
    lora_parameter_count,
    parameter_count,
)
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Precision, StepSettings

STATE_BYTES_PER_PARAMETER: dict[Precision, tuple[int, int, int]] = {
    "fp32": (4, 4, 8),
    "bf16": (4, 4, 8),
    "fp8": (4, 4, 8),
    "pure_bf16": (2, 2, 4),
    "bf16_master": (2, 2, 12),
}
"""Weight, gradient, and AdamW's moments with the master where there is one, in bytes. bf16 and fp8
keep fp32 weights and cast on the way."""

LOGITS_BYTES_PER_ENTRY = 14
"""Eager cross-entropy in fp32: bf16 logits, fp32 copy, log-softmax, fp32 gradient."""

CHUNK_BYTES_PER_ENTRY = 10
"""A chunk's: bf16 logits, fp32 copy that becomes the gradient, bf16 gradient, one on the way."""

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
    step: StepSettings = PLAIN,
) -> MemoryPrediction:
    """Predict the peak memory of the rank that holds the most."""
    layers = shape.layers / ranks.pipeline
    tokens = micro_batch_size * sequence_length / ranks.context
    width = 4 if precision == "fp32" else 2
    gathered = 0.0
    if ranks.is_sharded and ranks.data * ranks.context > 1:
        embeddings = embedding_parameters(shape) * (1 if shape.tied_embeddings else 2)
        gathered = _gathered_bytes(layer_parameters(shape), embeddings, ranks.tensor)
    blocks = range(shape.layers)
    kept = sum(_kept_bytes_per_token(shape, layer, width, step) for layer in blocks)
    activations = (kept + width * shape.hidden_size) * tokens / ranks.tensor
    # Each of the pipeline's stages has its part of the layers, for as many passes in flight.
    sequence_copies = 8 * shape.hidden_size * tokens if ranks.tensor > 1 else 0.0
    made_again = 0.0
    if step.recompute != "none":
        one_block = _block_bytes_per_token(shape, shape.layers - 1, width, step)
        made_again = one_block * tokens / ranks.tensor
    logits = _logits_bytes(shape, tokens, sequence_length, step) / ranks.tensor
    # The head needs one copy of two.
    working = max(sequence_copies + made_again, logits + sequence_copies / 2)
    states = _state_bytes(shape, layers, precision, ranks, step)
    factor = TENSOR_PARALLEL_FACTOR if ranks.tensor * ranks.pipeline > 1 else 1.0
    return MemoryPrediction(
        states_bytes=states,
        gathered_bytes=gathered,
        activations_bytes=activations,
        working_bytes=working,
        total_bytes=factor * (states + gathered + activations + working),
    )


def _state_bytes(
    shape: ModelShape, layers: float, precision: Precision, ranks: Ranks, step: StepSettings
) -> float:
    """Weights, gradients and the optimizer's; of frozen weights what matmuls read, and no more."""
    if ranks.pipeline == 1:
        weights: float = parameter_count(shape)
    else:
        blocks = sum(block_parameters(shape, layer) for layer in range(shape.layers))
        weights = layers / shape.layers * blocks + embedding_parameters(shape)
    split = ranks.tensor * (ranks.data * ranks.context if ranks.is_sharded else 1)
    of_each = sum(STATE_BYTES_PER_PARAMETER[precision])
    if step.lora is None:
        return of_each * weights / split
    frozen = 4 if precision == "fp32" else 2
    return (frozen * weights + of_each * lora_parameter_count(shape, step)) / split


def _logits_bytes(
    shape: ModelShape, tokens: float, sequence_length: int, step: StepSettings
) -> float:
    """What the head and its loss take: the logits of all targets, or of one chunk of them."""
    rows = tokens * family_of(shape).targets(sequence_length) / sequence_length
    if step.loss_chunk_rows is None:
        return LOGITS_BYTES_PER_ENTRY * rows * shape.vocabulary_size
    chunk = min(step.loss_chunk_rows, rows)
    # Beside a chunk's logits stands one matmul of the head's gradient, before it is added.
    return shape.vocabulary_size * (CHUNK_BYTES_PER_ENTRY * chunk + 4 * shape.hidden_size)


def _gathered_bytes(layer: int, root: int, tensor: int) -> float:
    """FSDP2 in flight: bf16 copies of root and two blocks, one block's and root's gradients."""
    copies = 2 * root + 2 * 2 * layer
    gradients = 6 * layer + 2 * root
    return (copies + gradients) / tensor


def _kept_bytes_per_token(shape: ModelShape, layer: int, width: int, step: StepSettings) -> float:
    """Bytes that a block keeps for the backward pass, per token, under this recomputation."""
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if step.recompute == "full":
        return width * d
    if step.recompute == "selective":
        # Its input, queries, keys and values, what attention and its projection make, the MLP's.
        matmuls = d + (q + 2 * kv) + q + d + _mlp_matmuls(shape, layer, step) + d
        return width * matmuls + 4 * shape.heads
    return _block_bytes_per_token(shape, layer, width, step)


def _mlp_matmuls(shape: ModelShape, layer: int, step: StepSettings) -> float:
    """Return the width of what the MLP's matmuls make, but for the last one's."""
    matrices = family_of(shape).mlp_matrices - 1
    experts = shape.experts
    if experts is None or not has_experts(shape, layer):
        return matrices * shape.intermediate_size
    rows = expert_rows_per_token(experts, step)
    return matrices * (rows * experts.size + experts.shared_size) + experts.count


def _block_bytes_per_token(shape: ModelShape, layer: int, width: int, step: StepSettings) -> float:
    """Bytes that one block keeps for the backward pass, per token.

    Eager kernels: keys and values expanded to the query heads, and for llama an RMSNorm that keeps
    two fp32 copies and a SwiGLU that keeps gate, up, silu and their product. Experts keep that and
    their input for each row that they work on, empty places included, and the rows that they made
    for a token.
    """
    d, q, f = shape.hidden_size, shape.heads * shape.head_dim, shape.intermediate_size
    family = family_of(shape)
    norm, mlp = family.norm_bytes, family.mlp_bytes
    inner: float = mlp * f
    experts = shape.experts
    if experts is not None and has_experts(shape, layer):
        rows = expert_rows_per_token(experts, step)
        routed = rows * (mlp * experts.size + 2 * d) + experts.per_token * 2 * d
        inner = routed + mlp * experts.shared_size + 8 * experts.count
    return (2 * norm * d + 4 * d + 4 * q + 4 * q + inner + 4 * shape.heads) * width / 2
