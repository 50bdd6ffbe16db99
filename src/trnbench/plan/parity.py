"""The parity model of a case: small enough for the CPU, and built of the same parts.

It has the case's family, head width, grouping of heads, kind and proportions of the MLP, precision,
execution, kernels and layout of ranks; two layers, short sequences and a small vocabulary, or as
many as the layout shares out. A step has two passes, or as many as a pipeline has ranks, so that
accumulation is compared with one pass of all sequences.

Source of the sizes: docs/metrics.md, "The parity gate".
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trnbench.plan.external import small_external
from trnbench.protocol.model import Experts, ModelShape
from trnbench.protocol.orders import GateOrder, WorkOrder
from trnbench.protocol.parallel import Layout
from trnbench.schema.plan import PlannedModel

LAYERS = 2
LEAST_WIDTH = 128
VOCABULARY_SIZE = 2048
SEQUENCE_LENGTH = 64
SEQUENCES_A_PASS = 2
PASSES = 2
STEPS = 20
MANY_RANKS, STEPS_OF_MANY = 8, 10
"""Of more data-parallel ranks the reference, which sees the tokens of all, takes fewer steps."""
LEARNING_RATE = 3e-3
"""Of a model of `LEAST_WIDTH`; wider ones take less, or rounding would outgrow faults."""
WARMUP_STEPS = 5
MLP_MULTIPLE = 16

WINDOW, DOCUMENT_LENGTH = 24, 28
"""Where the case has such masks; they do not divide the parity model's sequences."""
CHUNK_ROWS = 48
IMAGES_A_PASS = 16
"""An image has one target: a mean over fewer would show each rounding."""
PATCHES = 4
"""Along an edge of an image."""
EXPERTS = 8
LOW_PRECISION_EXPERTS = 4
"""Each token goes to all of them, so that rounding does not decide where it goes."""
ADAPTER_RANK = 8
EXTERNAL_STEPS = 10
EXTERNAL_LEARNING_RATE = 1e-3
"""For an external model of unknown width: rounding does not outgrow faults at this rate."""


def plan_gate(work: WorkOrder) -> GateOrder:
    """Return the parity gate of an order of one of our models."""
    layout = work.layout
    tokens = min(SEQUENCE_LENGTH, work.sequence_length)
    # Of the tokens each context rank has two chunks, and of its part each tensor rank has one.
    chunks = 2 * layout.context_parallel_size if layout.context_parallel_size > 1 else 1
    among_tensor = layout.tensor_parallel_size if layout.sequence_parallel else 1
    length = _multiple(tokens, chunks * among_tensor)
    shape, step = parity_shape(work, work.own_shape, length), work.step
    rate = LEARNING_RATE * min(1.0, LEAST_WIDTH / shape.hidden_size)
    document = step.document_length
    has_documents = document is not None and document < work.sequence_length
    lora = step.lora
    return GateOrder(
        shape=shape,
        sequence_length=length if shape.image is None else shape.max_positions,
        sequences_a_pass=_sequences_a_pass(layout, is_images=shape.image is not None),
        passes=_multiple(PASSES, layout.pipeline_parallel_size),
        steps=STEPS if layout.data_parallel_size <= MANY_RANKS else STEPS_OF_MANY,
        optimizer=replace(work.optimizer, learning_rate=rate, lr_warmup_steps=WARMUP_STEPS),
        step=replace(
            step,
            loss_chunk_rows=None if step.loss_chunk_rows is None else CHUNK_ROWS,
            document_length=min(DOCUMENT_LENGTH, length) if has_documents else None,
            lora=lora if lora is None else replace(lora, rank=min(lora.rank, ADAPTER_RANK)),
        ),
    )


def _sequences_a_pass(layout: Layout, *, is_images: bool) -> int:
    """Return the sequences of each data-parallel rank: of many ranks fewer, but one at least."""
    usual = IMAGES_A_PASS if is_images else SEQUENCES_A_PASS
    ranks = layout.data_parallel_size
    return usual if ranks <= SEQUENCES_A_PASS else max(1, usual // ranks)


def plan_external_gate(
    work: WorkOrder, model: PlannedModel, small: Mapping[str, Any] | None
) -> GateOrder | None:
    """Return the parity gate of an external model; None where no small model of it is known.

    `small` has the config's own values of the small model.
    """
    length = work.sequence_length
    shape = None if model.shape is None else parity_shape(work, model.shape, length)
    external = small_external(model, small, shape)
    if external is None:
        return None
    return GateOrder(
        shape=None,
        external=external,
        sequence_length=min(SEQUENCE_LENGTH, length),
        sequences_a_pass=_sequences_a_pass(work.layout, is_images=False),
        passes=PASSES,
        steps=EXTERNAL_STEPS,
        optimizer=replace(
            work.optimizer, learning_rate=EXTERNAL_LEARNING_RATE, lr_warmup_steps=WARMUP_STEPS
        ),
        step=work.step,
    )


def parity_shape(work: WorkOrder, shape: ModelShape, sequence_length: int) -> ModelShape:
    """Return a small model of the same make.

    Heads are removed in whole groups, so that each key head serves as many query heads as in the
    case, as long as the width stays at `LEAST_WIDTH` or more.
    """
    queries_a_key = shape.heads // shape.kv_heads
    group_width = queries_a_key * shape.head_dim
    layout, tensor = work.layout, work.layout.tensor_parallel_size
    kv_heads = _multiple(min(shape.kv_heads, -(-LEAST_WIDTH // group_width)), tensor)
    heads = kv_heads * queries_a_key
    hidden = min(shape.hidden_size, max(LEAST_WIDTH, heads * shape.head_dim))
    part = hidden / shape.hidden_size
    window = shape.sliding_window
    stages = layout.pipeline_parallel_size * layout.pipeline_stages_per_rank
    is_windowed = window is not None and window < work.sequence_length
    small = replace(
        shape,
        layers=min(max(LAYERS, stages), shape.layers),
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        intermediate_size=_scaled(shape.intermediate_size, part, tensor),
        vocabulary_size=_multiple(min(VOCABULARY_SIZE, shape.vocabulary_size), tensor),
        max_positions=max(sequence_length, min(shape.max_positions, SEQUENCE_LENGTH)),
        sliding_window=min(WINDOW, sequence_length) if is_windowed else None,
        experts=None if shape.experts is None else _few(shape.experts, shape, part, work),
    )
    if shape.image is None:
        return small
    edge = min(PATCHES, shape.image.size // shape.image.patch_size)
    image = replace(shape.image, size=edge * shape.image.patch_size)
    return replace(small, image=image, max_positions=edge**2 + 1)


def _few(experts: Experts, shape: ModelShape, part: float, work: WorkOrder) -> Experts:
    count, taken = min(experts.count, EXPERTS), min(experts.per_token, EXPERTS)
    tensor = work.layout.tensor_parallel_size
    if work.precision != "fp32":
        count = taken = _multiple(min(experts.count, LOW_PRECISION_EXPERTS), tensor)
    return replace(
        experts,
        count=_multiple(count, tensor),
        per_token=taken,
        size=_scaled(experts.size, part),
        shared_size=_scaled(experts.shared_size, part, tensor) if experts.shared_size else 0,
        dense_layers=min(experts.dense_layers, LAYERS - 1, shape.layers - 1),
    )


def _scaled(width: int, part: float, ranks: int = 1) -> int:
    edge = math.lcm(MLP_MULTIPLE, ranks)
    return max(edge, round(width * part / edge) * edge)


def _multiple(least: int, of: int) -> int:
    """Return the least multiple that is not below `least`.

    The layout divides the case's size, so where that is not below, neither is it exceeded.
    """
    return -(-least // of) * of
