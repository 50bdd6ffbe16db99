"""The memory that one rank needs, term by term, predicted from a model's shape.

Source: docs/metrics.md, "Memory". The terms were compared with published peaks of torchtitan, most
of them with recomputation; with split tensors they fell short by 13 %, hence the factor. The error
without recomputation is not known yet.
"""

from dataclasses import dataclass

from trnbench.model import flops
from trnbench.model.families import embedding_parameters, family_of
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Precision, StepSettings
from trnbench.protocol.parallel import SINGLE, Layout

STATE_BYTES_PER_PARAMETER: dict[Precision, tuple[int, int, int]] = {
    "fp32": (4, 4, 8),
    "bf16": (4, 4, 8),
    "fp8": (4, 4, 8),
    "pure_bf16": (2, 2, 4),
    "bf16_master": (2, 2, 12),
}
"""Of the weight, its gradient, and AdamW's moments with the master weight where there is one. bf16
and fp8 keep fp32 weights and cast them in each pass."""

LOGITS_BYTES_PER_ENTRY = 14
"""Of eager cross-entropy in fp32: bf16 logits, fp32 copy, log-softmax, fp32 gradient."""

CHUNK_BYTES_PER_ENTRY = 10
"""Of a chunk: bf16 logits, fp32 copy that becomes the gradient, bf16 gradient, one temporary."""

TENSOR_PARALLEL_FACTOR = 1.2
"""By how much published peaks exceed the terms where tensors or layers are split."""

COMFORTABLE_SHARE = 0.85
"""Of the device's memory; a job that needs more is called tight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPrediction:
    """Bytes on the rank that needs the most."""

    states_bytes: float
    """Weights, gradients and the optimizer's state."""
    gathered_bytes: float
    """Weights and gradients that FSDP has gathered at one time."""
    activations_bytes: float
    """What the blocks keep for the backward pass."""
    working_bytes: float
    """The most that the head's loss or one block needs beside them."""
    total_bytes: float
    """The sum, raised by the factor for split tensors."""


def predict_memory(
    shape: ModelShape,
    *,
    sequence_length: int,
    micro_batch_size: int,
    precision: Precision,
    layout: Layout = SINGLE,
    passes: int = 1,
    step: StepSettings = flops.PLAIN,
) -> MemoryPrediction:
    """Predict the peak memory of the rank that needs the most; a step has `passes` on each rank."""
    tensor = layout.tensor_parallel_size
    tokens = micro_batch_size * sequence_length / layout.context_parallel_size
    width = 4 if precision == "fp32" else 2
    states = _state_bytes(shape, precision, layout, step)
    gathered = _gathered_bytes(shape, layout)
    blocks = range(shape.layers)
    kept = sum(_kept_bytes_per_token(shape, layer, width, step) for layer in blocks)
    kept *= _passes_in_flight(layout, passes) / layout.pipeline_parallel_size
    activations = (kept + width * shape.hidden_size) * tokens / tensor
    sequence_copies = 8 * shape.hidden_size * tokens if tensor > 1 else 0.0
    recomputed = 0.0
    if step.recompute != "none":
        one_block = _block_bytes_per_token(shape, shape.layers - 1, width, step)
        recomputed = one_block * tokens / tensor
    logits = _logits_bytes(shape, tokens, sequence_length, step) / tensor
    # The head needs one of the two copies of the sequence.
    working = max(sequence_copies + recomputed, logits + sequence_copies / 2)
    factor = TENSOR_PARALLEL_FACTOR if tensor * layout.pipeline_parallel_size > 1 else 1.0
    return MemoryPrediction(
        states_bytes=states,
        gathered_bytes=gathered,
        activations_bytes=activations,
        working_bytes=working,
        total_bytes=factor * (states + gathered + activations + working),
    )


def _passes_in_flight(layout: Layout, passes: int) -> float:
    """Return how many passes a pipeline's first rank has begun and not ended.

    Source: Narayanan et al., arXiv 2104.04473, sections 2.2 and 2.3.
    """
    ranks, stages = layout.pipeline_parallel_size, layout.pipeline_stages_per_rank
    if ranks == 1:
        return 1.0
    if layout.pipeline_schedule == "gpipe":
        return passes
    more = (ranks - 1) / (ranks * stages) if stages > 1 else 0.0
    return min(ranks, passes) * (1 + more)


def _shards(layout: Layout) -> int:
    """Return the ranks that the state of one stage and tensor part is sharded over."""
    shards = layout.data_parallel_shard_size
    return shards * layout.context_parallel_size if shards > 1 else 1


def _state_bytes(
    shape: ModelShape, precision: Precision, layout: Layout, step: StepSettings
) -> float:
    """Of a frozen weight only the copy that matmuls read is there."""
    weights: float = flops.parameter_count(shape)
    if layout.pipeline_parallel_size > 1:
        blocks = sum(flops.block_parameters(shape, layer) for layer in range(shape.layers))
        weights = blocks / layout.pipeline_parallel_size + embedding_parameters(shape)
    split = layout.tensor_parallel_size * _shards(layout)
    of_each = sum(STATE_BYTES_PER_PARAMETER[precision])
    if step.lora is None:
        return of_each * weights / split
    frozen = 4 if precision == "fp32" else 2
    return (frozen * weights + of_each * flops.lora_parameter_count(shape, step)) / split


def _logits_bytes(
    shape: ModelShape, tokens: float, sequence_length: int, step: StepSettings
) -> float:
    """Logits of all targets, or of one chunk of them, with their gradients."""
    rows = tokens * family_of(shape).targets(sequence_length) / sequence_length
    if step.loss_chunk_rows is None:
        return LOGITS_BYTES_PER_ENTRY * rows * shape.vocabulary_size
    chunk = min(step.loss_chunk_rows, rows)
    # The head's gradient of one chunk is there before it is added to the sum.
    return shape.vocabulary_size * (CHUNK_BYTES_PER_ENTRY * chunk + 4 * shape.hidden_size)


def _gathered_bytes(shape: ModelShape, layout: Layout) -> float:
    """FSDP2: bf16 copies of the embeddings and two blocks, gradients of them and of one block."""
    if _shards(layout) == 1:
        return 0.0
    block = flops.block_parameters(shape, shape.layers - 1)
    embeddings = embedding_parameters(shape) * (1 if shape.tied_embeddings else 2)
    copies = 2 * embeddings + 2 * 2 * block
    gradients = 6 * block + 2 * embeddings
    return (copies + gradients) / layout.tensor_parallel_size


def _kept_bytes_per_token(shape: ModelShape, layer: int, width: int, step: StepSettings) -> float:
    """Bytes that a block keeps for the backward pass, under the step's recomputation."""
    if step.recompute == "none":
        return _block_bytes_per_token(shape, layer, width, step)
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if step.recompute == "full":
        return width * d
    inner = family_of(shape).mlp_matrices - 1
    experts = flops.experts_of(shape, layer)
    if experts is None:
        mlp: float = inner * shape.intermediate_size
    else:
        rows = flops.expert_rows_per_token(experts, step)
        mlp = inner * (rows * experts.size + experts.shared_size) + experts.count
    # Its input; queries, keys and values; the outputs of attention, its projection and the MLP.
    matmuls = d + (q + 2 * kv) + q + d + mlp + d
    return width * matmuls + 4 * shape.heads


def _block_bytes_per_token(shape: ModelShape, layer: int, width: int, step: StepSettings) -> float:
    """Bytes that one block keeps for the backward pass without recomputation.

    Eager kernels keep keys and values expanded to the query heads; llama's RMSNorm two fp32 copies,
    its SwiGLU gate, up, silu and their product. Experts keep that and their input for each row,
    empty places included, and their outputs for a token.
    """
    d, q, f = shape.hidden_size, shape.heads * shape.head_dim, shape.intermediate_size
    family = family_of(shape)
    norm, mlp = family.norm_bytes, family.mlp_bytes
    inner: float = mlp * f
    experts = flops.experts_of(shape, layer)
    if experts is not None:
        rows = flops.expert_rows_per_token(experts, step)
        routed = rows * (mlp * experts.size + 2 * d) + experts.per_token * 2 * d
        inner = routed + mlp * experts.shared_size + 8 * experts.count
    return (2 * norm * d + 4 * d + 4 * q + 4 * q + inner + 4 * shape.heads) * width / 2
