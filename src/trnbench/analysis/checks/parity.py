"""The parity gate's checks: training agrees with fp32 on the CPU, and weights are updated.

Tolerances are two to ten times the largest distance seen over seeds and families, and below a tenth
of the smallest effect of a fault, both measured by `benchmarks/parity.py`.
Source: docs/metrics.md, "The parity gate".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from trnbench.analysis.case import Case, Finding, doubtful, invalid, not_judged, sound
from trnbench.model.families import FAMILIES
from trnbench.protocol.orders import Precision
from trnbench.protocol.records import Parity, ParityPoint, WeightUpdate
from trnbench.units import say_seconds

EARLY_STEPS = 5
"""Steps whose losses must agree closely; later roundings have grown."""

SMALLEST_UPDATE, LARGEST_UPDATE = 1e-7, 0.5
"""Of a weight's norm, in the first step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a precision may be from fp32; relative, but for the cosine."""

    distance: float
    """Of any weight's gradient."""
    cosine: float
    first_loss: float
    gradient_norm: float
    early_loss: float
    """Of the losses of steps 2 to `EARLY_STEPS`."""
    late_loss: float
    rounding: float = 0.0
    """Of the worst gradient, at least: nearer to fp32 than its roundings allow, something more
    precise was computed."""


TOLERANCES: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(
        distance=1e-4, cosine=0.99999, first_loss=1e-5, gradient_norm=1e-4,
        early_loss=1e-4, late_loss=1e-3,
    ),
    "bf16": Tolerance(
        distance=5e-2, cosine=0.998, first_loss=1e-3, gradient_norm=1e-2,
        early_loss=3e-3, late_loss=5e-2, rounding=1e-3,
    ),
    "pure_bf16": Tolerance(
        distance=5e-2, cosine=0.998, first_loss=1e-3, gradient_norm=1e-2,
        early_loss=6e-3, late_loss=0.2, rounding=1e-3,
    ),
    "bf16_master": Tolerance(
        distance=5e-2, cosine=0.998, first_loss=1e-3, gradient_norm=1e-2,
        early_loss=6e-3, late_loss=5e-2, rounding=1e-3,
    ),
    "fp8": Tolerance(
        distance=0.5, cosine=0.9, first_loss=6e-3, gradient_norm=4e-2,
        early_loss=1.5e-2, late_loss=0.15, rounding=4e-2,
    ),
}  # fmt: skip

KNOWN_TOLERANCE = 2e-5
"""Relative, in fp32: rounding comes to 4e-7, and the smallest fault that was planted to 1.6e-4."""

NO_SMALL_MODEL = "no small model of this kind is known that a CPU could train"

SAY_SMALL = "say under `model.small` what of `model.config` makes it small"
"""Of an external model without a parity gate: why, and what gives it one."""


def tolerance_of(precision: Precision, family: str) -> Tolerance:
    """Return how far a model of this family may be from fp32 in this precision."""
    base, known = TOLERANCES[precision], FAMILIES.get(family)
    if precision == "fp32" or known is None:
        return base
    slack = known.parity_slack
    return replace(
        base,
        distance=slack * base.distance,
        cosine=1 - slack * (1 - base.cosine),
        first_loss=slack * base.first_loss,
    )


def check_parity(case: Case) -> Finding:
    """A small model of the same kind trains on the device as it does in fp32 on the CPU."""
    parity, external = case.measurement.parity, case.plan.model.external
    if parity is None:
        if not case.plan.measure.gate:
            seen = "whether the training was right is not known: measure.gate is false"
            return doubtful(seen, "leave measure.gate at true")
        if external is not None and case.plan.order.gate is None:
            seen = f"whether the training was right is not known: {NO_SMALL_MODEL}"
            return doubtful(seen, SAY_SMALL)
        return not_judged("the case ended before the parity gate did, or its version had none")
    tolerance = tolerance_of(case.plan.order.precision, case.plan.model.family)
    faults = list(find_faults(parity, tolerance))
    if faults:
        seen = f"the training is not that of fp32 on the CPU: {'; '.join(faults[:3])}"
        advice = (
            "the device, its compiler or the precision computes something else; try "
            "`workload.execution: eager`, and fp32, to see which"
        )
        return invalid(seen, advice)
    worst = max(point.worst_distance or 0.0 for point in parity.points)
    share = parity.seconds / case.total_seconds if case.total_seconds else 1.0
    seen = (
        f"gradients within {worst:.1e} of fp32 on the CPU, and the losses of {len(parity.losses)} "
        f"steps; the gate took {say_seconds(parity.seconds)}, {share:.1%} of the case"
    )
    if external is not None:
        seen += f"; compared with {external.target} itself: a fault in its code is not seen"
    return sound(seen)


def find_faults(parity: Parity, tolerance: Tolerance) -> Iterator[str]:
    """Yield what differs by more than its tolerance, gradients first."""
    if not parity.points:
        yield "no gradient was compared"
    for point in parity.points:
        yield from _faults_of_point(point, tolerance)
    seen = [point.worst_distance for point in parity.points if point.worst_distance is not None]
    if seen and len(seen) == len(parity.points) and max(seen) < tolerance.rounding:
        yield (
            f"no gradient is farther than {max(seen):.1e} from fp32's, which roundings of the "
            "precision do not allow: something more precise was computed"
        )
    for name, answers in parity.known_answers.items():
        for what, found, known in zip(("loss", "gradient"), answers[:2], answers[2:], strict=True):
            if not _is_near(found, known or 0.0, KNOWN_TOLERANCE):
                yield f"the {what} of {name} is {_number(found)} on the CPU, and {known} elsewhere"
    if len(parity.losses) != len(parity.reference_losses):
        yield f"{len(parity.losses)} losses of {len(parity.reference_losses)} steps"
    for step, (loss, expected) in enumerate(
        zip(parity.losses, parity.reference_losses, strict=False)
    ):
        allowed = tolerance.early_loss if step < EARLY_STEPS else tolerance.late_loss
        if not _is_near(loss, expected, allowed):
            yield f"the loss of step {step + 1} is {_number(loss)} for {expected:.6g}"


def _faults_of_point(point: ParityPoint, tolerance: Tolerance) -> Iterator[str]:
    begin, off = f"from {point.start} weights", point.worst_distance
    if off is None or off > tolerance.distance:
        yield f"{begin} the gradient of {point.worst_tensor} is off by {_number(off)}"
    if point.least_cosine is None or point.least_cosine < tolerance.cosine:
        yield (
            f"{begin} the gradient of {point.least_cosine_tensor} points elsewhere (cosine "
            f"{_number(point.least_cosine)})"
        )
    if not _is_near(point.gradient_norm, point.reference_gradient_norm, tolerance.gradient_norm):
        yield (
            f"{begin} the norm of all gradients is {_number(point.gradient_norm)} for "
            f"{point.reference_gradient_norm:.6g}"
        )
    if not _is_near(point.loss, point.reference_loss, tolerance.first_loss):
        yield f"{begin} the loss is {_number(point.loss)} for {point.reference_loss:.6g}"


def check_weight_update(case: Case) -> Finding:
    """The first steps moved every weight of the case's own model, and none of them far."""
    movement = case.measurement.movement
    if movement is None:
        return not_judged("the weights were not compared before and after the first steps")
    fault = _fault_of_update(movement)
    if fault is not None:
        advice = "a weight is frozen, the learning rate is far off, or no optimizer step was done"
        return invalid(fault, advice)
    seen = f"{movement.tensors - len(movement.rounded)} weights moved"
    if movement.least is not None and movement.most is not None:
        seen += f" by {movement.least:.1e} to {movement.most:.1e} of their norm"
    if movement.rounded:
        more = f" and {len(movement.rounded) - 1} more" if len(movement.rounded) > 1 else ""
        seen += (
            f"; {movement.rounded[0]}{more} cannot at this learning rate: their format rounds such "
            "an update away"
        )
    return sound(seen)


def _fault_of_update(movement: WeightUpdate) -> str | None:
    if movement.still:
        more = f" and {len(movement.still) - 1} more" if len(movement.still) > 1 else ""
        return f"{movement.still[0]}{more} did not move in the first {movement.steps} steps"
    if movement.least is not None and movement.least < SMALLEST_UPDATE:
        return f"{movement.least_tensor} moved by {movement.least:.1e} of its norm alone"
    if movement.most_tensor is None:
        return None
    if movement.most is None or movement.most > LARGEST_UPDATE * movement.steps:
        return f"{movement.most_tensor} moved by {_number(movement.most)} of its norm"
    return None


def _is_near(value: float | None, expected: float, tolerance: float) -> bool:
    return value is not None and abs(value - expected) <= tolerance * abs(expected)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.6g}"
