"""The memory that one rank needs, term by term, predicted from a model's shape.

Source: docs/metrics.md, "Memory". The terms are compared with torch's own count of what is alive
(`benchmarks/memory.py`), for layouts of up to 64 ranks.
"""

import dataclasses
import functools
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
FP32_CHUNK_BYTES_PER_ENTRY = 8
"""Of a chunk in fp32: logits and their gradient."""

COMFORTABLE_SHARE = 0.85
"""Of the device's memory; a job that needs more is called tight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPrediction:
    """Bytes on the rank that needs the most."""

    states_bytes: float
    """Weights, gradients and the optimizer's state."""
    gathered_bytes: float
    """Weights that FSDP2 has gathered at one time, or bf16 copies of fp32 weights."""
    activations_bytes: float
    """What the blocks keep for the backward pass."""
    working_bytes: float
    """The most that the head's loss or one block needs beside them."""
    total_bytes: float
    """The sum."""


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
    """Predict the peak memory of the rank that needs the most; a step has `passes` on each rank.

    Of a pipeline that is the first, which has begun the most passes, or the last, with the head.
    """
    if layout.pipeline_parallel_size > 1 and layout.pipeline_schedule == "zero_bubble":
        # What was recomputed for the gradients of states is kept for those of weights.
        step = dataclasses.replace(step, recompute="none")
    tensor = layout.tensor_parallel_size
    tokens = micro_batch_size * sequence_length / layout.context_parallel_size
    width = 4 if precision == "fp32" else 2
    states = state_bytes(shape, precision, layout, step)
    kept = _all_kept_bytes_per_token(shape, width, step) / tensor
    kept += shape.layers * _unsplit_bytes_per_token(shape, width, layout, step)
    kept /= layout.pipeline_parallel_size
    # The most that is there beside them: at the head, or in one block's backward pass.
    head = _logits_bytes(shape, tokens, sequence_length, width, step) / tensor
    # A chunked loss keeps the head's gradient of every pass until its backward pass.
    of_head = 0.0 if step.loss_chunk_rows is None else 4 * embedding_parameters(shape) / tensor
    block = _block_gradient_bytes(shape, layout)
    if step.recompute != "none":
        one = _block_bytes_per_token(shape, shape.layers - 1, width, step) / tensor
        block += (one + _unsplit_bytes_per_token(shape, width, layout, flops.PLAIN)) * tokens
    # A pass makes a gradient of the embedding before it is added to that of earlier ones.
    embedding = STATE_BYTES_PER_PARAMETER[precision][1] * embedding_parameters(shape) / tensor

    def of_rank(in_flight: float, *, has_head: bool) -> MemoryPrediction:
        gathered = _gathered_bytes(shape, width, layout)
        gathered += _cast_bytes(shape, precision, layout, step, in_flight, has_head=has_head)
        # A pipeline's rank has a place for what each pass is sent, from the first to the last.
        sent = passes if layout.pipeline_parallel_size > 1 else 1
        activations = (kept * in_flight + width * shape.hidden_size / tensor * sent) * tokens
        working = max(block, embedding - kept * tokens)  # those of its pass are gone by then
        if has_head:
            # A backward pass in two parts scales that gradient in a copy.
            kept_heads = in_flight if layout.pipeline_schedule == "zero_bubble" else in_flight - 1
            working = max(head, block) + kept_heads * of_head
        return MemoryPrediction(
            states_bytes=states,
            gathered_bytes=gathered,
            activations_bytes=activations,
            working_bytes=working,
            total_bytes=states + gathered + activations + working,
        )

    first, last = _passes_in_flight(layout, passes)
    of_last = of_rank(last, has_head=True)
    if layout.pipeline_parallel_size == 1:
        return of_last
    return max(of_rank(first, has_head=False), of_last, key=lambda each: each.total_bytes)


def _passes_in_flight(layout: Layout, passes: int) -> tuple[float, float]:
    """Return how many passes a pipeline's first and last rank have begun and not ended.

    Source: Narayanan et al., arXiv 2104.04473, sections 2.2 and 2.3.
    """
    ranks, stages = layout.pipeline_parallel_size, layout.pipeline_stages_per_rank
    if ranks == 1:
        return 1.0, 1.0
    if layout.pipeline_schedule == "gpipe":
        return passes, passes
    if layout.pipeline_schedule == "zero_bubble" and stages == 1:
        return min(ranks, passes), min(ranks, passes)
    if stages == 1:
        return min(ranks, passes), 1.0
    chunks = (stages - 1) * ranks
    first, last = (chunks + 2 * (ranks - 1) + 1) / stages, (chunks + 1) / stages
    return min(first, passes), min(last, passes)


def state_bytes(
    shape: ModelShape, precision: Precision, layout: Layout, step: StepSettings
) -> float:
    """Return the bytes of a rank's weights, gradients and optimizer state.

    Of a frozen weight only the copy that matmuls read is there.
    """
    weights: float = flops.parameter_count(shape)
    if layout.pipeline_parallel_size > 1:
        blocks = flops.all_block_parameters(shape)
        weights = blocks / layout.pipeline_parallel_size + embedding_parameters(shape)
    split = layout.tensor_parallel_size * layout.state_shards
    of_each: float = sum(STATE_BYTES_PER_PARAMETER[precision])
    if layout.pipeline_parallel_size > 1:
        # FSDP2 sums gradients over the passes of a pipeline before it shards them.
        of_each += STATE_BYTES_PER_PARAMETER[precision][1] * (layout.state_shards - 1)
    if step.lora is None:
        return of_each * weights / split
    frozen = 4 if precision == "fp32" else 2
    return (frozen * weights + of_each * flops.lora_parameter_count(shape, step)) / split


def _logits_bytes(
    shape: ModelShape, tokens: float, sequence_length: int, width: int, step: StepSettings
) -> float:
    """Logits of all targets, or of one chunk of them, with their gradients."""
    rows = tokens * family_of(shape).targets(sequence_length) / sequence_length
    if step.loss_chunk_rows is None:
        return LOGITS_BYTES_PER_ENTRY * rows * shape.vocabulary_size
    chunk = min(step.loss_chunk_rows, rows)
    each = CHUNK_BYTES_PER_ENTRY if width == 2 else FP32_CHUNK_BYTES_PER_ENTRY
    # The head's gradient of one chunk is there before it is added to the sum.
    return shape.vocabulary_size * (each * chunk + 4 * shape.hidden_size)


def _cast_bytes(
    shape: ModelShape,
    precision: Precision,
    layout: Layout,
    step: StepSettings,
    in_flight: float,
    *,
    has_head: bool,
) -> float:
    """Copies in bf16 of fp32 weights, which autograd keeps: FSDP2 gathers them so and frees them.

    Every pass in flight has its own. Recomputation of whole blocks makes those of one block at a
    time.
    """
    if precision not in ("bf16", "fp8") or layout.state_shards > 1 or step.lora is not None:
        return 0.0
    split = layout.tensor_parallel_size
    of_blocks = 0.0
    if step.recompute == "none":
        blocks = flops.all_block_parameters(shape)
        of_blocks = in_flight * blocks / layout.pipeline_parallel_size
    of_head = embedding_parameters(shape) if has_head else 0
    return 2 * (of_blocks + of_head) / split


def _gathered_bytes(shape: ModelShape, width: int, layout: Layout) -> float:
    """FSDP2: copies of embedding and head and of two blocks, or of all that stay gathered.

    They stay so in a pipeline, until the last pass.
    """
    if layout.state_shards == 1:
        return 0.0
    both = not shape.tied_embeddings and layout.pipeline_parallel_size == 1
    embeddings = embedding_parameters(shape) * (2 if both else 1)
    blocks = shape.layers / layout.pipeline_parallel_size
    block = flops.block_parameters(shape, shape.layers - 1)
    is_resharded = layout.reshard_after_forward and layout.pipeline_parallel_size == 1
    gathered = min(2, blocks) if is_resharded else blocks
    return width * (embeddings + gathered * block) / layout.tensor_parallel_size


def _block_gradient_bytes(shape: ModelShape, layout: Layout) -> float:
    """FSDP2: a block's gradients as they were made, and in fp32 as they are sent."""
    if layout.state_shards == 1:
        return 0.0
    return 6 * flops.block_parameters(shape, shape.layers - 1) / layout.tensor_parallel_size


def _unsplit_bytes_per_token(
    shape: ModelShape, width: int, layout: Layout, step: StepSettings
) -> float:
    """Bytes of a block that tensor ranks keep beyond their part of it.

    The inputs of attention and of the MLP are gathered; without sequence parallelism norms and
    residuals are kept whole on every rank.
    """
    tensor, d = layout.tensor_parallel_size, shape.hidden_size
    if tensor == 1:
        return 0.0
    others = 1 - 1 / tensor
    if step.recompute == "full":
        return 0.0 if layout.sequence_parallel else width * d * others
    if layout.sequence_parallel:
        return 2 * width * d * others
    norms = 0 if step.recompute == "selective" else 2 * _norm_bytes(shape, width) * d
    return (norms + 2 * width * d) * others


def _norm_bytes(shape: ModelShape, width: int) -> float:
    """Of a norm, per unit of its width: fp32 copies are as wide in every precision."""
    norm = family_of(shape).norm_bytes
    return norm if norm == 8 or width == 2 else 2 * norm


@functools.lru_cache(maxsize=256)
def _all_kept_bytes_per_token(shape: ModelShape, width: int, step: StepSettings) -> float:
    """Bytes that all blocks keep; a search asks for them of thousands of layouts."""
    return sum(_kept_bytes_per_token(shape, layer, width, step) for layer in range(shape.layers))


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
    norm, mlp = _norm_bytes(shape, width), family.mlp_bytes
    inner: float = mlp * f
    experts = flops.experts_of(shape, layer)
    if experts is not None:
        rows = flops.expert_rows_per_token(experts, step)
        routed = rows * (mlp * experts.size + 2 * d) + experts.per_token * 2 * d
        inner = routed + mlp * experts.shared_size + 8 * experts.count
    return 2 * norm * d + (4 * d + 4 * q + 4 * q + inner + 4 * shape.heads) * width / 2
