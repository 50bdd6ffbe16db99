"""Checks of the training that was timed: its model, its losses, its gradients."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from trnbench.analysis.case import Case, Finding, doubtful, invalid, not_judged, sound
from trnbench.analysis.records import FIRST_STEPS, WINDOW_STEPS, Loss
from trnbench.model.families import family_of
from trnbench.model.flops import lora_parameter_count
from trnbench.schema.plan import Plan, PlannedModel

INITIAL_LOSS_TOLERANCE = 0.05

LEARNED_PROGRESS = 0.5

CLEAR_FALL = 3.0
"""Standard errors by which the loss of a model with adapters must fall."""

LEAK_NATS = 0.02


def check_parameters(case: Case) -> Finding:
    """The model on the device has as many weights as its shape has."""
    built = case.measurement.built
    if built is None:
        return not_judged("the model was not built")
    planned, step = case.plan.model, case.plan.workload.step
    adapters = 0 if planned.shape is None else lora_parameter_count(planned.shape, step)
    expected = planned.parameter_count + adapters
    seen = f"{built.parameter_count:,} weights on the device, {expected:,} planned"
    if adapters and built.trained_count != adapters:
        trained = f"{seen}; {built.trained_count} of them are trained, not {adapters:,}"
        return invalid(trained, "please report it: weights are not frozen")
    if built.parameter_count != expected:
        return invalid(seen, "this is a bug in the model: please report it")
    if built.embeddings_are_tied != planned.is_tied:
        tied = "tied" if built.embeddings_are_tied else "not tied"
        return invalid(f"{seen}; embedding and head are {tied} there")
    return sound(seen)


def check_finite(case: Case) -> Finding:
    """Every loss is finite, and every gradient norm above zero and below 10,000."""
    steps = case.steps
    if not steps.count:
        return not_judged("no step was made")
    unfit = steps.unfit
    if unfit is None:
        return sound(f"losses and gradients of {steps.count} steps")
    if unfit.loss is not None and unfit.loss < 0:
        seen = f"step {unfit.step}: loss {_number(unfit.loss)}, and no cross-entropy is below zero"
        return invalid(seen, "this is a bug in the loss: please report it")
    seen = (
        f"step {unfit.step}: loss {_number(unfit.loss)}, gradient norm "
        f"{_number(unfit.gradient_norm)}"
    )
    return invalid(seen, "lower workload.learning_rate, or use fp32")


def check_initial_loss(case: Case) -> Finding:
    """The first loss is that of random weights: ln V and half of the logits' variance.

    Source: docs/metrics.md, "Checks", initial loss: logits of a unit hidden state and a head of
    standard deviation sigma have variance d x sigma^2.
    """
    first = case.steps.first[0][0] if case.steps.first else None
    if first is None:
        return not_judged("there is no first loss")
    shape = case.plan.model.shape
    if shape is None:
        seen = f"{first:.3f}; an external model of no known family draws its weights as it likes"
        return not_judged(seen)
    variance = shape.hidden_size * shape.init_std**2
    expected = math.log(shape.vocabulary_size) + variance / 2
    symbols = case.plan.order.stream.alphabet_size
    allowed = INITIAL_LOSS_TOLERANCE + 3 * math.sqrt(variance / symbols)
    seen = f"{first:.3f}, expected {expected:.3f} within {allowed:.3f}"
    if abs(first - expected) <= allowed:
        return sound(seen)
    return invalid(seen, "the model, its weights or its targets are wrong")


def check_learning(case: Case) -> Finding:
    """By step 50 the loss has come half of the way; with adapters, it has fallen beyond noise."""
    losses = case.steps.first
    first = losses[0][0] if losses else None
    if len(losses) < FIRST_STEPS or first is None:
        return not_judged(f"{case.steps.count} steps are too few: {FIRST_STEPS} are needed")
    recent = [loss for loss, _ in losses[-5:] if loss is not None]
    if len(recent) < 5:
        return invalid("the loss is no number", "see the check `finite`")
    goal, best = "the stream's entropy", sum(oracle for _, oracle in losses[-5:]) / 5
    if _fills_in(case.plan.model):
        # An encoder learns to look at neighbours later; first it learns which tokens there are.
        goal, best = "the alphabet's", math.log(case.plan.order.stream.alphabet_size)
    progress = (first - sum(recent) / 5) / (first - best)
    seen = f"{progress:.0%} of the way to {goal} by step {FIRST_STEPS}"
    if progress >= LEARNED_PROGRESS:
        return sound(seen)
    if case.plan.workload.step.lora is not None:
        return _learning_of_adapters(seen, losses)
    if case.plan.model.external is not None and case.plan.model.shape is None:
        advice = "how fast it should learn is not known; try another workload.learning_rate"
        return doubtful(seen, advice)
    advice = "raise workload.learning_rate if you lowered it; else the training step is wrong"
    return invalid(seen, advice)


def _learning_of_adapters(seen: str, losses: Sequence[Loss]) -> Finding:
    """Judge by a fall beyond noise: how far adapters on random frozen weights get is not known."""
    excess = [loss - oracle for loss, oracle in losses if loss is not None]
    fall = statistics.fmean(excess[:5]) - statistics.fmean(excess[-5:])
    # Neighbours differ by noise: a fall over fifty steps adds next to nothing to that.
    changes = [later - earlier for earlier, later in pairwise(excess)]
    error = math.sqrt(statistics.fmean(change**2 for change in changes) / 2 * (1 / 5 + 1 / 5))
    seen += f"; the loss of adapters fell by {fall:.3f} nat, noise is {error:.3f}"
    if fall > CLEAR_FALL * error:
        return sound(seen)
    advice = "adapters learned next to nothing: raise workload.learning_rate or workload.lora.rank"
    return doubtful(seen, advice)


def check_leakage(case: Case) -> Finding:
    """No loss is below that of a model that knows the stream: that would be a look ahead."""
    known, lowest = case.steps.known_losses, case.steps.lowest_excess
    if known < WINDOW_STEPS:
        return not_judged(f"{known} losses are too few")
    seen = f"loss stays {lowest:+.3f} nat or more from the best that is possible"
    if lowest >= -LEAK_NATS:
        return sound(seen)
    advice = "the model sees its targets: the causal mask or the shift of the targets is wrong"
    return invalid(seen, advice)


def entropy_of(plan: Plan) -> float:
    """Return the lowest loss that a case's stream allows, in nats."""
    stream = plan.order.stream
    if _fills_in(plan.model):
        return fill_in_entropy(stream.alphabet_size, stream.noise)
    return stream_entropy(stream.alphabet_size, stream.noise)


def _fills_in(model: PlannedModel) -> bool:
    if model.external is not None:
        return model.external.task == "masked_token"
    return model.shape is not None and family_of(model.shape).task == "masked_token"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def stream_entropy(alphabet_size: int, noise: float) -> float:
    """Return the entropy of the next symbol given the last, in nats.

    With probability `noise` the symbol is drawn from the whole alphabet, the predicted one
    included; else it is the predicted one.
    """
    each = noise / alphabet_size
    hit = 1 - noise + each
    missed = -(alphabet_size - 1) * each * math.log(each) if noise else 0.0
    return -hit * math.log(hit) + missed


def fill_in_entropy(alphabet_size: int, noise: float) -> float:
    """Return the entropy of a symbol given both its neighbours, in nats.

    With K symbols, h the chance of the predicted one and e = noise / K of each other: the
    neighbours agree on one with chance h^2 + (K - 1) e^2, and else each points to its own.
    """
    if not noise:
        return 0.0
    e = noise / alphabet_size
    h = 1 - noise + e
    agreeing = h**2 + (alphabet_size - 1) * e**2
    apart = 2 * h * e + (alphabet_size - 2) * e**2
    if_agreeing = _entropy_of([(h**2, 1), (e**2, alphabet_size - 1)], agreeing)
    if_apart = _entropy_of([(h * e, 2), (e**2, alphabet_size - 2)], apart)
    return agreeing * if_agreeing + (1 - agreeing) * if_apart


def _entropy_of(weights: list[tuple[float, int]], total: float) -> float:
    """Return the entropy, in nats, of pairs of a weight and how many times it occurs."""
    return -sum(count * w / total * math.log(w / total) for w, count in weights)
