"""Estimates for a field: of each chip without a bf16 figure, what a step of the model would take.

The job is the fewest instances on which the model fits, 128 sequences a step or a whole multiple of
its chips, in the fastest layout that `estimate/` finds. A chip without data has no figure: only the
bound of its datasheet, which is never ranked.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date

from trnbench.catalog.instances import instances
from trnbench.catalog.published import PublishedChip
from trnbench.cost.field import metrics_per_chip
from trnbench.cost.ranked_runs import RankedRun
from trnbench.errors import ConfigError
from trnbench.estimate.calibration import calibration
from trnbench.estimate.layouts import possible_setups, search
from trnbench.estimate.machine import Machine, machine_of
from trnbench.estimate.step import StepEstimate, data_of, estimate_step
from trnbench.estimate.terms import Setup, bound_seconds
from trnbench.model.flops import parameter_count
from trnbench.prices.base import NoPrice
from trnbench.protocol.model import ModelShape
from trnbench.schema.plan import PlannedParallel
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue

SEQUENCES = 128
"""Of a step, as most published runs of one node have."""
LEAST_CHIPS = 8
"""Of a usual node; instances with fewer are taken together."""
USED_SHARE = 0.75
"""Of a chip's memory, for that state; activations take the rest."""
MOST_PASS_TOKENS = 32_768
"""Of one pass of a rank: more hardly makes matmuls faster, and seldom fits."""
TRIES = 2
"""Numbers of chips, each twice the one before, until the model fits."""
NO_DATA = "no data for this chip"
STATE_BYTES = 16
"""Of each weight under AdamW in bf16 with fp32 masters: docs/metrics.md, "Memory"."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A chip of which nothing is known but its datasheet, or on which nothing fits."""

    chip: str
    reason: str
    tokens_per_second_per_chip: float | None
    """At the datasheet's peak; no step is faster."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """Of the chips that were asked for: figures, and what has none."""

    runs: tuple[RankedRun, ...]
    bounds: tuple[Bound, ...]


def estimated_field(
    shape: ModelShape,
    sequence_length: int,
    chips: Sequence[PublishedChip],
    price_of: Callable[[str], Price | NoPrice],
    day: date,
    measured: Collection[str],
) -> Estimates:
    """Return estimates of chips; those in `measured` have a figure already.

    Args:
        shape: the model.
        sequence_length: in tokens.
        chips: each with its instance, if a price of one is known.
        price_of: the rate of an instance type, or why there is none.
        day: on which the estimate is made.
        measured: names of chips as sources call them.
    """
    runs, bounds = [], []
    for chip in chips:
        if chip.published_as in measured or chip.accelerator is None or chip.memory:
            continue
        made = _estimate(shape, sequence_length, chip)
        if isinstance(made, Bound):
            bounds.append(made)
        else:
            runs.append(_as_run(made, chip, price_of, day))
    return Estimates(tuple(runs), tuple(bounds))


@dataclass(frozen=True, slots=True)
class _Made:
    setup: Setup
    estimate: StepEstimate


def _estimate(shape: ModelShape, sequence_length: int, chip: PublishedChip) -> _Made | Bound:
    """Return the fastest way that fits on the fewest chips, or why there is none."""
    try:
        machine = machine_of(chip.accelerator_name, chip.instance or None)
        count = _least_chips(shape, machine)
        for _ in range(TRIES):
            setup = Setup(
                shape=shape,
                sequence_length=sequence_length,
                global_batch_size=count * math.ceil(SEQUENCES / count),
                machine=machine,
                chips=count,
            )
            if data_of(setup, calibration())[0] is None:
                rate = setup.tokens / bound_seconds(setup) / count
                return Bound(chip.published_as, NO_DATA, rate)
            found = search(filter(_is_usual, possible_setups(setup)))
            if found is not None and found.best.verdict != "does_not_fit":
                return _Made(found.best.setup, estimate_step(found.best.setup))
            count *= 2
    except ConfigError as error:
        return Bound(chip.published_as, str(error), None)
    return Bound(chip.published_as, f"the model does not fit on {count // 2} of them", None)


def _is_usual(setup: Setup) -> bool:
    """Leave out what is seldom the fastest, so that all chips take well under a second."""
    is_small = setup.micro_batch_size == 1 or (
        setup.micro_batch_size * setup.sequence_length <= MOST_PASS_TOKENS
    )
    layout = setup.layout
    return is_small and layout.context_parallel_size == 1 and layout.pipeline_stages_per_rank < 4


def _least_chips(shape: ModelShape, machine: Machine) -> int:
    """Return the chips of whole instances, doubled until the weights' state has room."""
    per_instance = machine.chips_per_node if machine.instance else LEAST_CHIPS
    count = math.ceil(LEAST_CHIPS / per_instance) * per_instance
    room = USED_SHARE * (machine.chip.memory_bytes or math.inf)
    while count * room < STATE_BYTES * parameter_count(shape):
        count *= 2
    return count


def _as_run(
    made: _Made, chip: PublishedChip, price_of: Callable[[str], Price | NoPrice], day: date
) -> RankedRun:
    setup, estimate = made.setup, made.estimate
    tokens = setup.tokens / setup.chips
    high = estimate.seconds_high
    speed = MetricValue(
        value=estimate.tokens_per_second_per_chip,
        low=tokens / high if high else None,
        high=tokens / estimate.seconds_low,
    )
    known = instances().get(chip.instance)
    answer = price_of(chip.instance) if chip.instance else NoPrice(_no_price(chip), "")
    gaps = "; ".join(estimate.gaps.values()) or None
    return RankedRun(
        origin="estimated",
        name=f"{chip.published_as} estimate",
        source=f"estimate from {estimate.basis}",
        day=day,
        model="",
        sequence_length=setup.sequence_length,
        is_adapter_training=False,
        precision=setup.precision,
        machine=f"{setup.chips} x {chip.published_as}",
        instances=setup.chips // known.chips if known else 1,
        metrics=metrics_per_chip(speed, setup.chips, known.chips if known else None, answer),
        price=answer if isinstance(answer, Price) else None,
        price_reason=answer.reason if isinstance(answer, NoPrice) else None,
        objection=None,
        doubt=None,
        layout=PlannedParallel.of(setup.layout).in_words,
        chip=chip.published_as,
        assumption=f"left out: {gaps}" if gaps else None,
    )


def _no_price(chip: PublishedChip) -> str:
    return f"no price of an instance with {chip.published_as} is known"
