"""Ours: the step that `trnbench run` times, made by the same objects."""

from benchmarks.peers.bursts import (
    HEADS,
    LAYERS,
    MLP_WIDTH,
    SEQUENCES,
    TOKENS,
    VOCABULARY,
    WIDTH,
    options,
    serve,
)
from trnbench.train.assemble import build_objective
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens
from trnbench.train.streams import stream_of
from trnbench.wire import (
    WIRE_VERSION,
    ModelShape,
    OptimizerSettings,
    StepSettings,
    StreamSettings,
    WorkOrder,
)

CHUNK_ROWS = 256
"""What `loss: auto` plans for this vocabulary on a CPU."""


def main() -> None:
    """Serve bursts of our own training step, gradient clipping included."""
    asked = options()
    claim = Claim(
        precision=asked.precision, execution=asked.execution, threads=asked.threads or None
    )
    backend = CpuBackend.open(claim)
    shape = ModelShape(
        family="llama", layers=LAYERS, hidden_size=WIDTH, heads=HEADS, kv_heads=HEADS,
        head_dim=WIDTH // HEADS, intermediate_size=MLP_WIDTH, vocabulary_size=VOCABULARY,
        max_positions=TOKENS, tied_embeddings=False, qk_norm=False, norm_epsilon=1e-5,
        rope_theta=1e4, rope_scaling=None, init_std=0.02,
    )  # fmt: skip
    order = WorkOrder(
        wire_version=WIRE_VERSION,
        shape=shape,
        sequence_length=TOKENS,
        micro_batch_size=SEQUENCES,
        gradient_accumulation_steps=1,
        precision=asked.precision,
        optimizer=OptimizerSettings(
            name="adamw",
            learning_rate=1e-3,
            lr_warmup_steps=10,
            beta1=0.9,
            beta2=0.95,
            epsilon=1e-8,
            weight_decay=0.1,
            gradient_clip_norm=1.0,
        ),
        stream=StreamSettings(alphabet_size=64, noise=0.1, seed=42),
        backend="cpu",
        threads=asked.threads or None,
        measure_ceiling=False,
        seed=42,
        execution=asked.execution,
        step=StepSettings(loss_chunk_rows=CHUNK_ROWS),
    )
    objective = build_objective(order, backend)
    training = TrainingStep(objective, order, backend)
    stream = stream_of(shape, TOKENS, order.stream)
    ready = prepare_tokens(stream, order, 0, 64, backend)
    outcomes = StepOutcomes()

    def step() -> None:
        training.run(ready[training.steps_done % len(ready)], outcomes)

    serve(step, sum(p.numel() for p in objective.parameters()), asked)


if __name__ == "__main__":
    main()
