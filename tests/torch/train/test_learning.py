"""Real training of the catalog's tiny models: they learn the stream, and never more than it."""

from dataclasses import replace
from statistics import mean

import pytest

from tests.pure.train.orders import SETTINGS, STREAM, catalog_shape, make_order
from trnbench.analysis.checks.training import stream_entropy
from trnbench.protocol.orders import WorkOrder
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens

ENTROPY = stream_entropy(STREAM.alphabet_size, STREAM.noise)


def train(order: WorkOrder, steps: int) -> tuple[list[float], list[float]]:
    """Return each step's loss, and the loss of a model that knows the stream on the same tokens."""
    backend = CpuBackend(Claim(precision=order.precision))
    step = TrainingStep(build_objective(order, backend), order, backend)
    stream = make_stream(order)
    outcomes, oracle = StepOutcomes(), []
    for number in range(steps):
        (tokens,) = prepare_tokens(stream, order, number, 1, backend)
        step.run(tokens, outcomes)
        oracle.append(tokens.oracle_loss)
    return [loss.item() for loss in outcomes.losses], oracle


@pytest.mark.parametrize(
    ("name", "precision"), [("tiny-llama", "fp32"), ("tiny-llama", "bf16"), ("tiny-gpt2", "fp32")]
)
def test_a_tiny_model_learns_the_stream_to_within_five_percent_of_its_entropy(
    name: str, precision: str
) -> None:
    order = make_order(
        catalog_shape(name),
        sequence_length=128,
        micro_batch_size=8,
        precision=precision,
        optimizer=replace(SETTINGS, learning_rate=1.5e-3),
    )
    losses, oracle = train(order, 80)
    excess = [loss - known for loss, known in zip(losses, oracle, strict=True)]
    # Source: docs/metrics.md, "Initial loss": ln V + d sigma^2 / 2 for logits of that variance.
    assert losses[0] == pytest.approx(7.6246 + 128 * 0.02**2 / 2, abs=0.05)
    assert mean(excess[-5:]) < 0.05 * ENTROPY
    # Below the entropy there is nothing to learn: a mask or a target would be leaking.
    assert mean(excess[-10:]) > -0.02


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gpt2"])
def test_a_tiny_model_has_learned_the_alphabet_within_twenty_steps(name: str) -> None:
    order = make_order(catalog_shape(name), sequence_length=64, micro_batch_size=8)
    losses, oracle = train(order, 20)
    progress = (losses[0] - losses[-1]) / (losses[0] - oracle[-1])
    assert progress > 0.4
    assert losses[-1] > oracle[-1]
