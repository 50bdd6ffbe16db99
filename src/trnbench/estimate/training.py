"""A whole training on machines that are not here: the layout, the days, and the dollars.

Of every layout, micro batch and recomputation that the sizes allow, the fastest that fits is taken
(`layouts.py`); the days around the steps follow from the job (`cost/training.py`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from trnbench.analysis.billing import billed_seconds
from trnbench.cost.training import (
    PRICE_STEPS,
    CostRange,
    TrainingJob,
    cost_to_train,
    range_to_train,
)
from trnbench.estimate.calibration import Calibration
from trnbench.estimate.layouts import Found, possible_setups, search
from trnbench.estimate.machine import Machine, machine_of
from trnbench.estimate.step import StepEstimate, estimate_step
from trnbench.estimate.terms import Setup
from trnbench.model.flops import parameter_count
from trnbench.model.memory import STATE_BYTES_PER_PARAMETER
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Precision, StepSettings
from trnbench.schema.price import Price
from trnbench.units import SECONDS_PER_HOUR

OPTIMAL_TOKENS_PER_WEIGHT = 20
"""Tokens for each weight at which a budget of FLOPs gives the least loss. Source: Hoffmann et al.,
arXiv 2203.15556, table 3: 20.2 for 10B weights, 20.1 to 21.2 for 1B to 70B."""

TOKENS_PER_STEP = 4 * 2**20
"""Of a step, where no batch is named. Source: Llama 3, arXiv 2407.21783, section 3.4.1."""
SMALL_TOKENS_PER_STEP = 2**19
"""Of models below a billion weights. Source: GPT-3's table 2.1, arXiv 2005.14165."""
SMALL_WEIGHTS = 1e9

MOST_CHIPS = 100_000

CHUNK_ROWS = 2048
"""Rows whose logits exist at once: the plan's own choice for large vocabularies."""


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The fastest way on another mesh than the chosen one."""

    setup: Setup
    step: StepEstimate
    slower: float
    """Its seconds over the chosen one's, less 1."""
    because: str
    """Of its parts, the one that takes most more time, in words."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the training costs under one way of renting."""

    price: Price
    cost: CostRange
    billed_usd: float
    """Of the expected training, as the contract bills it: capacity blocks by the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEstimate:
    """One training on one number of instances of one type."""

    setup: Setup
    """With the layout that was chosen."""
    instances: int
    step: StepEstimate
    candidates: int
    """Ways that were compared."""
    runner_up: RunnerUp | None
    job: TrainingJob
    seconds: tuple[float, float | None, float | None]
    """Calendar time: at best, expected and at worst; without data of the chip only the first."""
    offers: tuple[Offer, ...]
    """That which is taken first; empty without a price."""
    price_reason: str | None
    """Why there is no price."""
    within_seconds: float | None
    """The deadline."""

    @property
    def fits(self) -> bool:
        """Whether it is not known to need more memory than there is."""
        return self.step.memory_verdict != "does_not_fit"

    @property
    def is_in_time(self) -> bool:
        """Whether the expected time keeps the deadline; without data, whether it may at all."""
        if self.within_seconds is None:
            return True
        best, expected, _ = self.seconds
        return (expected if expected is not None else best) <= self.within_seconds

    @property
    def usd(self) -> float | None:
        """Expected dollars under the first offer; without data the least."""
        if not self.offers:
            return None
        cost = self.offers[0].cost
        return (cost.expected if self.step.has_data else cost.best).usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be trained, and what is asked of any machine."""

    shape: ModelShape
    sequence_length: int
    global_batch_size: int | None
    """None: `usual_batch`."""
    precision: Precision
    job: TrainingJob
    within_seconds: float | None = None


def optimal_tokens(shape: ModelShape) -> float:
    """Return the compute-optimal number of tokens."""
    return float(OPTIMAL_TOKENS_PER_WEIGHT * parameter_count(shape))


def usual_batch(shape: ModelShape, sequence_length: int, devices: int) -> int:
    """Return the sequences of a step where none are named: as many data ranks can share them."""
    small = parameter_count(shape) < SMALL_WEIGHTS
    tokens = SMALL_TOKENS_PER_STEP if small else TOKENS_PER_STEP
    wanted = max(1, tokens // sequence_length)
    ranks = max(each for each in _divisors(devices) if each <= wanted)
    return round(wanted / ranks) * ranks


def _divisors(number: int) -> Iterator[int]:
    for each in range(1, math.isqrt(number) + 1):
        if number % each == 0:
            yield each
            yield number // each


def fewest_that_fit(wish: Wish, instance: str) -> int | None:
    """Return the fewest instances, by powers of two, that a training fits; None: not even many."""
    machine = machine_of(instance=instance)
    for count in _counts_with_room(wish, machine):
        found = _at(wish, machine, count, (), None, None)
        if found is not None and found.fits:
            return count
    return None


KEPT_SPEED = 0.8
"""Of a chip's speed on the fewest instances: where less is kept, more instances stop to pay."""


def bend(points: Sequence[TrainingEstimate]) -> TrainingEstimate | None:
    """Return the first of ever more instances on which a chip keeps less than `KEPT_SPEED`."""
    speeds = [each.step.tokens_per_second_per_chip for each in points]
    known = [speed for speed in speeds if speed is not None]
    for each, speed in zip(points, speeds, strict=True):
        if speed is not None and speed < KEPT_SPEED * max(known):
            return each
    return None


def merit(each: TrainingEstimate) -> tuple[bool, bool, bool, float]:
    """Return what estimates are sorted by: fitting, in time and with data first, then dollars."""
    usd = each.usd
    return (
        not each.fits or not each.is_in_time, not each.step.has_data, usd is None,
        each.seconds[0] if usd is None else usd,
    )  # fmt: skip


def estimate_training(
    wish: Wish,
    instance: str,
    count: int | None,
    prices: Sequence[Price],
    price_reason: str | None,
    known: Calibration | None = None,
) -> TrainingEstimate | None:
    """Estimate a training on an instance type; None where no layout divides its devices.

    Args:
        wish: what is trained.
        instance: a type of the catalog.
        count: of instances; None: the fewest powers of two that fit and keep the deadline.
        prices: of one instance, one for each way of renting.
        price_reason: why there is none.
        known: the calibration; None: the catalog's.

    Raises:
        ConfigError: the instance or its chip is not known, or has no peak in the precision.
    """
    machine = machine_of(instance=instance)
    if count is not None:
        return _at(wish, machine, count, prices, price_reason, known)
    found = None
    for more in _counts_with_room(wish, machine):
        this = _at(wish, machine, more, prices, price_reason, known)
        if this is None:
            continue
        if found is not None and found.fits and not this.fits:
            break
        found = this
        if found.fits and found.is_in_time:
            break
    return found


def counts_of(machine: Machine) -> Iterator[int]:
    """Yield powers of two, as long as the chips of so many instances are not too many."""
    count = 1
    while count * machine.chips_per_node <= MOST_CHIPS:
        yield count
        count *= 2


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One thing changed: what the training then takes."""

    change: str
    seconds: float
    usd: float


SLOWER, FASTER = 1.2, 0.8
"""Times a step's seconds."""


def what_ifs(wish: Wish, each: TrainingEstimate, known: Calibration | None = None) -> list[WhatIf]:
    """Return what changes with price, speed, failures, instances and precision, one at a time.

    Empty without a price, or without data of the chip.
    """
    if not each.offers or each.step.seconds is None:
        return []
    price, tokens = each.offers[0].price, each.setup.tokens
    usd_per_hour = float(price.usd_per_hour)

    def changed(
        change: str, seconds: float, job: TrainingJob = each.job, rate: float = usd_per_hour
    ) -> WhatIf:
        cost = cost_to_train(
            job,
            tokens_per_second=tokens / seconds,
            usd_per_hour=rate,
            instances=each.instances,
        )
        return WhatIf(change, cost.total_seconds, cost.usd)

    step = each.step.seconds
    twice = replace(each.job, reliability=each.job.reliability.with_failures(2.0))
    found = [
        *(
            changed(f"price {part:+.0%}", step, rate=usd_per_hour * (1 + part))
            for part in PRICE_STEPS
        ),
        changed(f"a step {FASTER - 1:+.0%}", step * FASTER),
        changed(f"a step {SLOWER - 1:+.0%}", step * SLOWER),
        changed("twice the failures", step, job=twice),
    ]
    return found + list(_other_machines(wish, each, price, known))


def _other_machines(
    wish: Wish, each: TrainingEstimate, price: Price, known: Calibration | None
) -> Iterator[WhatIf]:
    """Yield half and twice the instances, and the other precision, where they fit and have data."""
    machine = each.setup.machine
    others: list[tuple[str, Wish, int]] = []
    if each.instances > 1:
        others.append(("half the instances", wish, each.instances // 2))
    others.append(("twice the instances", wish, each.instances * 2))
    other: Precision = "fp8" if wish.precision == "bf16" else "bf16"
    if machine.peak_flops_per_second(other) is not None:
        others.append((f"in {other}", replace(wish, precision=other), each.instances))
    for change, asked, count in others:
        found = _at(asked, machine, count, (price,), None, known)
        if found is None or not found.fits or found.usd is None or found.seconds[1] is None:
            continue
        yield WhatIf(change, found.seconds[1], found.usd)


def _counts_with_room(wish: Wish, machine: Machine) -> Iterator[int]:
    """Yield the counts whose chips together hold at least the state; no layout fits fewer."""
    state = sum(STATE_BYTES_PER_PARAMETER[wish.precision]) * parameter_count(wish.shape)
    per_chip = machine.chip.memory_bytes
    for count in counts_of(machine):
        if per_chip is None or count * machine.chips_per_node * per_chip >= state:
            yield count


def curve(
    wish: Wish,
    instance: str,
    prices: Sequence[Price],
    price_reason: str | None,
    known: Calibration | None = None,
) -> list[TrainingEstimate]:
    """Estimate a training on ever more instances of a type, for as long as a layout fits."""
    machine = machine_of(instance=instance)
    counts = counts_of(machine)
    found = (_at(wish, machine, count, prices, price_reason, known) for count in counts)
    return [each for each in found if each is not None and each.fits]


def _at(
    wish: Wish,
    machine: Machine,
    count: int,
    prices: Sequence[Price],
    price_reason: str | None,
    known: Calibration | None,
) -> TrainingEstimate | None:
    chips = count * machine.chips_per_node
    devices = chips * machine.chip.devices_per_chip
    asked = Setup(
        shape=wish.shape,
        sequence_length=wish.sequence_length,
        global_batch_size=wish.global_batch_size
        or usual_batch(wish.shape, wish.sequence_length, devices),
        precision=wish.precision,
        step=StepSettings(loss_chunk_rows=CHUNK_ROWS),
        machine=machine,
        chips=chips,
    )
    found = search(possible_setups(asked), known)
    if found is None:
        return None
    best = found.best
    step = estimate_step(best.setup, known)
    rates = _rates(step, best.setup.tokens)
    offers = [_offer(wish.job, rates, price, count) for price in prices]
    times = _range(wish.job, rates, count, 0.0)
    seconds = times.best.total_seconds, times.expected.total_seconds, times.worst.total_seconds
    return TrainingEstimate(
        setup=best.setup,
        instances=count,
        step=step,
        candidates=found.candidates,
        runner_up=_runner_up(found, step, known),
        job=wish.job,
        seconds=seconds if step.has_data else (seconds[0], None, None),
        offers=tuple(offers),
        price_reason=price_reason,
        within_seconds=wish.within_seconds,
    )


def _rates(step: StepEstimate, tokens: int) -> tuple[float, float, float]:
    """Return tokens/s at worst, expected and at best; without data all are the bound's."""
    best = tokens / step.seconds_low
    if step.seconds is None or step.seconds_high is None:
        return best, best, best
    return tokens / step.seconds_high, tokens / step.seconds, best


def _range(
    job: TrainingJob, rates: tuple[float, float, float], count: int, usd_per_hour: float
) -> CostRange:
    return range_to_train(job, tokens_per_second=rates, usd_per_hour=usd_per_hour, instances=count)


def _offer(job: TrainingJob, rates: tuple[float, float, float], price: Price, count: int) -> Offer:
    usd_per_hour = float(price.usd_per_hour)
    cost = _range(job, rates, count, usd_per_hour)
    seconds = cost.expected.total_seconds
    billed = billed_seconds(price.option, seconds) if math.isfinite(seconds) else math.inf
    return Offer(price, cost, usd_per_hour * count * billed / SECONDS_PER_HOUR)


def _runner_up(found: Found, step: StepEstimate, known: Calibration | None) -> RunnerUp | None:
    if found.other is None:
        return None
    theirs = estimate_step(found.other.setup, known)
    names = {*step.parts, *theirs.parts}
    more = {name: theirs.parts.get(name, 0.0) - step.parts.get(name, 0.0) for name in names}
    return RunnerUp(
        found.other.setup,
        theirs,
        found.other.seconds / found.best.seconds - 1,
        max(sorted(more), key=lambda name: more[name]),
    )
