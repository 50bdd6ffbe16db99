"""Whether the training that was timed was right: its model, its losses, its gradients."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from trnbench.analysis.checks.base import said
from trnbench.analysis.evidence import Evidence
from trnbench.analysis.steps import FIRST_STEPS, WINDOW_STEPS, Loss
from trnbench.analysis.stream import fill_in_entropy, stream_entropy
from trnbench.model.flops import lora_parameter_count
from trnbench.schema.result import CheckOutcome

INITIAL_LOSS_TOLERANCE = 0.05
LEARNED_BY_STEP = FIRST_STEPS
LEARNED_PROGRESS = 0.5
CLEAR_FALL = 3.0
"""Standard errors by which the loss of a model with adapters must fall to be called learning."""
LEAK_NATS = 0.02


def check_parameters(evidence: Evidence) -> CheckOutcome:
    """The model that stood on the device has the weights that its shape comes to."""
    built = evidence.measurement.built
    if built is None:
        return said("parameters", "not_judged", "the model was not built")
    planned = evidence.plan.model
    shape = planned.shape
    step = evidence.plan.workload.step
    adapters = 0 if shape is None else lora_parameter_count(shape, step)
    expected = planned.parameter_count + adapters
    seen = f"{built.parameter_count:,} weights on the device, {expected:,} planned"
    is_tied = built.embeddings_are_tied
    if adapters and built.trained_count != adapters:
        trained = f"{seen}; {built.trained_count} of them are trained, not {adapters:,}"
        return said("parameters", "invalid", trained, "please report it: weights are not frozen")
    if built.parameter_count != expected:
        return said("parameters", "invalid", seen, "this is a bug in the model: please report it")
    if is_tied != planned.is_tied:
        tied = "tied" if is_tied else "not tied"
        return said("parameters", "invalid", f"{seen}; embedding and head are {tied} there")
    return said("parameters", "sound", seen)


def check_finite(evidence: Evidence) -> CheckOutcome:
    """Every loss is a number, and every gradient one above zero and below 10,000."""
    steps = evidence.steps
    if not steps.count:
        return said("finite", "not_judged", "no step was made")
    unfit = steps.unfit
    if unfit is None:
        return said("finite", "sound", f"losses and gradients of {steps.count} steps")
    if unfit.loss is not None and unfit.loss < 0:
        seen = f"step {unfit.step}: loss {_number(unfit.loss)}, and no cross-entropy is below zero"
        return said("finite", "invalid", seen, "this is a bug in the loss: please report it")
    seen = (
        f"step {unfit.step}: loss {_number(unfit.loss)}, gradient norm "
        f"{_number(unfit.gradient_norm)}"
    )
    return said("finite", "invalid", seen, "lower workload.learning_rate, or use fp32")


def check_initial_loss(evidence: Evidence) -> CheckOutcome:
    """The first loss is that of a model that knows nothing: ln V and what its logits' spread adds.

    Source: docs/metrics.md, "Checks", initial loss: logits of a unit hidden state and a head of
    standard deviation sigma have variance d x sigma^2, which adds half of it to the loss.
    """
    name = "initial_loss"
    first = evidence.steps.first[0][0] if evidence.steps.first else None
    if first is None:
        return said(name, "not_judged", "there is no first loss")
    shape = evidence.plan.model.shape
    if shape is None:
        seen = f"{first:.3f}; a guest of no known family draws its weights as it likes"
        return said(name, "not_judged", seen)
    variance = shape.hidden_size * shape.init_std**2
    expected = math.log(shape.vocabulary_size) + variance / 2
    symbols = evidence.plan.order.stream.alphabet_size
    allowed = INITIAL_LOSS_TOLERANCE + 3 * math.sqrt(variance / symbols)
    seen = f"{first:.3f}, expected {expected:.3f} within {allowed:.3f}"
    if abs(first - expected) <= allowed:
        return said(name, "sound", seen)
    return said(name, "invalid", seen, "the model, its weights or its targets are wrong")


def check_learning(evidence: Evidence) -> CheckOutcome:
    """By step 50 half of what can be learned has been learned; with adapters, anything at all."""
    losses = evidence.steps.first
    first = losses[0][0] if losses else None
    if len(losses) < LEARNED_BY_STEP or first is None:
        seen = f"{evidence.steps.count} steps are too few: {LEARNED_BY_STEP} are needed"
        return said("learning", "not_judged", seen)
    recent = [loss for loss, _ in losses[-5:] if loss is not None]
    if len(recent) < 5:
        return said("learning", "invalid", "the loss is no number", "see the check `finite`")
    goal, best = "the stream's entropy", sum(oracle for _, oracle in losses[-5:]) / 5
    if _fills_in(evidence):
        # Looking at neighbours is learned later: by then an encoder knows which tokens there are.
        goal, best = "the alphabet's", math.log(evidence.plan.order.stream.alphabet_size)
    progress = (first - sum(recent) / 5) / (first - best)
    seen = f"{progress:.0%} of the way to {goal} by step {LEARNED_BY_STEP}"
    if progress >= LEARNED_PROGRESS:
        return said("learning", "sound", seen)
    if evidence.plan.workload.step.lora is not None:
        return _learning_of_adapters(seen, losses)
    if evidence.plan.model.guest is not None and evidence.plan.model.shape is None:
        advice = "nobody knows how fast it should learn; try another workload.learning_rate"
        return said("learning", "doubtful", seen, advice)
    advice = "raise workload.learning_rate if you lowered it; else the training step is wrong"
    return said("learning", "invalid", seen, advice)


def _learning_of_adapters(seen: str, losses: Sequence[Loss]) -> CheckOutcome:
    """Judge by a fall beyond noise: nobody knows how far adapters get.

    The weights beside them are frozen as they were drawn, and so is the head. Whether gradients and
    updates are right is for the gate to say.
    """
    excess = [loss - oracle for loss, oracle in losses if loss is not None]
    fall = statistics.fmean(excess[:5]) - statistics.fmean(excess[-5:])
    # Neighbours differ by noise alone: a fall over fifty steps adds next to nothing to that.
    changes = [later - earlier for earlier, later in pairwise(excess)]
    error = math.sqrt(statistics.fmean(change**2 for change in changes) / 2 * (1 / 5 + 1 / 5))
    seen += f"; the loss of adapters fell by {fall:.3f} nat, noise is {error:.3f}"
    if fall > CLEAR_FALL * error:
        return said("learning", "sound", seen)
    advice = "adapters learned next to nothing: raise workload.learning_rate or workload.lora.rank"
    return said("learning", "doubtful", seen, advice)


def check_leakage(evidence: Evidence) -> CheckOutcome:
    """No model can do better than the one that knows the stream: that would be a look ahead."""
    known, lowest = evidence.steps.known_losses, evidence.steps.lowest_excess
    if known < WINDOW_STEPS:
        return said("leakage", "not_judged", f"{known} losses are too few")
    seen = f"loss stays {lowest:+.3f} nat or more from the best that is possible"
    if lowest >= -LEAK_NATS:
        return said("leakage", "sound", seen)
    advice = "the model sees its targets: the causal mask or the shift of the targets is wrong"
    return said("leakage", "invalid", seen, advice)


def entropy_of(evidence: Evidence) -> float:
    """Return the lowest loss that the case's stream allows, in nats."""
    stream = evidence.plan.order.stream
    if _fills_in(evidence):
        return fill_in_entropy(stream.alphabet_size, stream.noise)
    return stream_entropy(stream.alphabet_size, stream.noise)


def _fills_in(evidence: Evidence) -> bool:
    guest = evidence.plan.model.guest
    if guest is not None:
        return guest.task == "masked_token"
    return evidence.plan.model.family == "bert"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
