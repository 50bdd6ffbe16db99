"""The parity model of a case: small enough to be held against the CPU, and built of the same parts.

Same family, head width, grouping of heads, kind and proportions of the MLP, precision, execution
and kernels as the case; two layers, short sequences and a small vocabulary. Two passes a step, so
that accumulation is held against one pass of all sequences.

Source of the sizes: docs/metrics.md, "The gate".
"""

from dataclasses import replace

from trnbench.wire import GateOrder, ModelShape, OptimizerSettings

LAYERS = 2
LEAST_WIDTH = 128
VOCABULARY_SIZE = 2048
SEQUENCE_LENGTH = 64
SEQUENCES_A_PASS = 2
PASSES = 2
STEPS = 20
LEARNING_RATE = 3e-3
"""Of a model of `LEAST_WIDTH`; wider ones take less, or rounding would outgrow faults."""
WARMUP_STEPS = 5
MLP_MULTIPLE = 16


def plan_gate(shape: ModelShape, sequence_length: int, optimizer: OptimizerSettings) -> GateOrder:
    """Return what the worker checks before it trains the case's own model."""
    length = min(SEQUENCE_LENGTH, sequence_length)
    small = parity_shape(shape, length)
    rate = LEARNING_RATE * min(1.0, LEAST_WIDTH / small.hidden_size)
    return GateOrder(
        shape=small,
        sequence_length=length,
        sequences_a_pass=SEQUENCES_A_PASS,
        passes=PASSES,
        steps=STEPS,
        optimizer=replace(optimizer, learning_rate=rate, lr_warmup_steps=WARMUP_STEPS),
    )


def parity_shape(shape: ModelShape, sequence_length: int) -> ModelShape:
    """Return a small model of the same make.

    Heads are taken away in whole groups, so that each key head serves as many query heads as in
    the case, until the width would fall below `LEAST_WIDTH`.
    """
    queries_a_key = shape.heads // shape.kv_heads
    group_width = queries_a_key * shape.head_dim
    kv_heads = min(shape.kv_heads, -(-LEAST_WIDTH // group_width))
    heads = kv_heads * queries_a_key
    hidden = min(shape.hidden_size, max(LEAST_WIDTH, heads * shape.head_dim))
    wide = shape.intermediate_size * hidden / shape.hidden_size
    return replace(
        shape,
        layers=min(LAYERS, shape.layers),
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        intermediate_size=max(MLP_MULTIPLE, round(wide / MLP_MULTIPLE) * MLP_MULTIPLE),
        vocabulary_size=min(VOCABULARY_SIZE, shape.vocabulary_size),
        max_positions=max(sequence_length, min(shape.max_positions, SEQUENCE_LENGTH)),
    )
