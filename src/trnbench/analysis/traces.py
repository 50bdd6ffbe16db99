"""What a page draws of a case's records: step after step, and what was predicted before."""

from collections.abc import Sequence
from dataclasses import dataclass

from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One case's first launch, in order, and its plan's prediction."""

    step_seconds: tuple[float, ...]
    """Of each timed sample, the mean of its steps."""
    losses: tuple[float | None, ...]
    """Of each step, nats a token; None where not finite."""
    possible_losses: tuple[float, ...]
    """The same of a model that knows the stream."""
    parity_losses: tuple[float | None, ...]
    """Of the parity gate's small model on the device."""
    reference_losses: tuple[float, ...]
    """Of the same model in fp32 on the CPU."""
    predicted_memory_bytes: float | None
    predicted_step_seconds: float | None


def trace_of(plan: Plan, measurement: Measurement) -> Trace:
    """Return what is drawn of records that were read with all of their steps."""
    blocks, parity = measurement.blocks, measurement.parity
    measured = [block for block in blocks if block.purpose == "measure"]
    return Trace(
        step_seconds=tuple(block.seconds / block.steps for block in measured),
        losses=tuple(loss for block in blocks for loss in block.losses),
        possible_losses=tuple(loss for block in blocks for loss in block.oracle_losses),
        parity_losses=tuple(parity.losses) if parity else (),
        reference_losses=tuple(parity.reference_losses) if parity else (),
        predicted_memory_bytes=plan.prediction.memory_bytes,
        predicted_step_seconds=plan.prediction.step_seconds,
    )


def thinned(count: int, most: int) -> Sequence[int]:
    """Return up to so many indices of a series, evenly apart, the first and the last among them."""
    if count <= most:
        return range(count)
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]
