"""Records as they are read: refuse what cannot have been measured, and digest single steps.

A run may have a million steps: of each one's loss and gradient only what some check or figure needs
is kept. Records that were edited or damaged, or of a clock that jumped, are refused first.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace

import numpy as np

from trnbench.errors import DataError
from trnbench.protocol.records import Block
from trnbench.schema.measurement import Measurement

SHORTEST_STEP_SECONDS = 1e-9

LONGEST_SECONDS = 1e8
"""Three years."""

MOST_COUNTED = 2**63 - 1

LARGEST_LOSS = 1e30
"""Of a loss that diverged and is still finite; sums of such are finite."""

ROUNDING = 1e-6
"""Of times that are computed from one another: absolute in seconds, and relative."""

LARGEST_COSINE = 1.001
"""One, plus rounding."""

EDITED = "the file was edited or is damaged; measure again"

JUMPED = "the clock jumped or the file was edited; measure again"

Fault = tuple[str, str]
"""What is wrong, and what to do."""

FIRST_STEPS = 50
"""Of which the losses are kept: those by which something must have been learned."""

LAST_STEPS = 5
"""Of which the losses are kept: the final loss is their mean."""

WINDOW_STEPS = 10
"""Over which the excess loss is averaged, to find its lowest."""

MAX_GRADIENT_NORM = 1e4

Loss = tuple[float | None, float]
"""A step's loss, None if not finite, and that of a model that knows the stream; nats."""


def validate_records(measurement: Measurement, of_steps: Fault | None) -> None:
    """Raise DataError for records that cannot have been measured, or whose steps have a fault."""
    fault = of_steps or next(_faults(measurement), None)
    if fault is not None:
        message, hint = fault
        raise DataError(f"{measurement.source}: {message}", hint=hint)


def is_valid_block(block: Block) -> bool:
    """Tell whether one block, as a worker sends it, can have been measured."""
    return not any(faults_of_block(block))


def _faults(measurement: Measurement) -> Iterator[Fault]:
    yield from _faults_of_order(measurement.blocks)
    yield from _faults_of_fields(measurement)
    samples = sum(block.purpose == "measure" for block in measurement.blocks)
    for decision in measurement.decisions:
        if decision.what == "stop" and decision.value != samples:
            yield f"ended after {decision.value:g} samples and holds {samples}", EDITED
    for ceiling in measurement.ceilings:
        rates = [rate for point in ceiling.points for rate in point.flops_per_second]
        if not all(point.flops_per_second for point in ceiling.points) or not rates:
            yield "holds a ceiling without a rate", EDITED
        if not all(0 < rate < 1e24 for rate in rates):
            yield f"holds a ceiling of {min(rates):g} FLOP/s", EDITED
    for watch in measurement.watches:
        if not 0 <= watch.foreign_cpu_share <= 1:
            yield f"says that others used {watch.foreign_cpu_share:.0%} of the processors", EDITED
    yield from _faults_of_gate(measurement)
    yield from _faults_of_ranks(measurement)


def faults_of_block(block: Block) -> Iterator[Fault]:
    """Yield what is wrong with one block and its steps."""
    first, seconds, events = block.first_step, block.seconds, block.event_seconds
    counts = {len(block.losses), len(block.gradient_norms), len(block.oracle_losses)}
    if counts != {block.steps}:
        every = f"each of the {block.steps} steps from step {first}"
        yield f"has not one loss and one gradient for {every}", EDITED
    is_possible = SHORTEST_STEP_SECONDS * block.steps <= seconds <= LONGEST_SECONDS
    if block.steps < 1 or not is_possible:
        yield f"says that {block.steps} steps from step {first} took {seconds:g} s", JUMPED
    for loss in itertools.chain(block.losses, block.oracle_losses):
        if loss is not None and not -LARGEST_LOSS <= loss <= LARGEST_LOSS:
            yield f"holds a loss of {loss:g} from step {first}", EDITED
    if min(block.oracle_losses, default=0.0) < 0:
        yield f"says that a loss below 0 was possible from step {first}", EDITED
    if events is not None and not 0 <= events <= LONGEST_SECONDS:
        yield f"says that step {first} took {events:g} s on the device", EDITED
    for rank, spent in enumerate(block.rank_seconds or ()):
        if not 0 < spent <= LONGEST_SECONDS:
            yield f"says that rank {rank} took {spent:g} s from step {first}", JUMPED


def _faults_of_order(blocks: list[Block]) -> Iterator[Fault]:
    ranks = {len(block.rank_seconds) for block in blocks if block.rank_seconds is not None}
    if len(ranks) > 1:
        yield f"has blocks of {min(ranks)} ranks and of {max(ranks)}", EDITED
    for before, after in itertools.pairwise(blocks):
        if after.at_seconds < before.at_seconds:
            yield (
                f"step {after.first_step} is recorded at {after.at_seconds:g} s, before step "
                f"{before.first_step} at {before.at_seconds:g} s",
                JUMPED,
            )
        last = before.first_step + before.steps - 1
        if after.first_step != last + 1:
            yield f"step {after.first_step} follows step {last}", EDITED
    ended = 0.0
    for block in blocks:
        took = block.prepare_seconds + block.seconds
        if block.at_seconds - ended < took * (1 - ROUNDING) - ROUNDING:
            yield (
                f"step {block.first_step} took {took:g} s and was over at "
                f"{block.at_seconds:g} s, where the one before it was over at {ended:g} s",
                JUMPED,
            )
        ended = block.at_seconds
    if blocks and blocks[0].first_step != 0:
        yield f"its first step is number {blocks[0].first_step}", EDITED


def _faults_of_gate(measurement: Measurement) -> Iterator[Fault]:
    """No distance is negative, and no cosine is above one."""
    movement = measurement.movement
    far = [] if movement is None else [movement.least, movement.most]
    for point in measurement.parity.points if measurement.parity is not None else ():
        far.append(point.worst_distance)
        if point.least_cosine is not None and abs(point.least_cosine) > LARGEST_COSINE:
            yield f"holds a cosine of {point.least_cosine:g}", EDITED
    for distance in far:
        if distance is not None and distance < 0:
            yield f"holds a distance of {distance:g}", EDITED
    if movement is not None and (movement.least or 0.0) > (movement.most or math.inf):
        yield f"holds a least movement of {movement.least:g}, above the most", EDITED


def _faults_of_ranks(measurement: Measurement) -> Iterator[Fault]:
    """No part of a time is longer than the whole, and no peak of memory is below zero."""
    memory = measurement.memory
    for rank, peak in enumerate((memory and memory.rank_peak_bytes) or ()):
        if peak is not None and not 0 <= peak <= MOST_COUNTED:
            yield f"says that rank {rank} held {peak} bytes at most", EDITED
    for each in measurement.communications:
        window, seconds = each.window_seconds or 0.0, each.seconds or 0.0
        if seconds > window * (1 + ROUNDING):
            of = f"{seconds:g} s of {window:g} s"
            yield f"says that rank {each.rank} was in collectives for {of}", EDITED
        parts = [*each.operations.values(), each.exposed_seconds or 0.0]
        if not all(0 <= part <= seconds * (1 + ROUNDING) for part in parts):
            of = f"{max(parts, key=abs):g} s of {seconds:g} s"
            yield f"says that a part of rank {each.rank}'s collectives took {of}", EDITED


def _faults_of_fields(measurement: Measurement) -> Iterator[Fault]:
    """No count is negative, and every time is one that a run can have."""
    for name, record in measurement.records():
        for each in fields(record):
            value = getattr(record, each.name)
            if type(value) is int and not 0 <= value <= MOST_COUNTED:
                yield f"holds a record {name!r} whose {each.name} cannot be", EDITED
            if not each.name.endswith("seconds") or not isinstance(value, (int, float)):
                continue
            if not (math.isfinite(value) and 0 <= value <= LONGEST_SECONDS):
                yield f"holds a record {name!r} whose {each.name} is {value:g}", JUMPED


@dataclass(frozen=True, slots=True)
class UnfitStep:
    """A step that cannot have trained anything."""

    step: int
    loss: float | None
    gradient_norm: float | None


@dataclass(slots=True)
class StepDigest:
    """What is kept of single steps; `Measurement.steps` is one of these where a file was read."""

    count: int = 0
    first: list[Loss] = field(default_factory=list)
    last: deque[Loss] = field(default_factory=lambda: deque(maxlen=LAST_STEPS))
    unfit: UnfitStep | None = None
    """The first step whose loss is not finite or negative, or whose gradient norm is not in
    (0, `MAX_GRADIENT_NORM`)."""
    known_losses: int = 0
    """Steps whose loss is finite."""
    lowest_excess: float = math.inf
    """The lowest mean, over a window of steps, of the loss above the oracle's; nats."""
    fault: Fault | None = None
    """The first that was found; no step after it is taken in."""
    imbalances: int = 0
    imbalance_sum: float = 0.0
    """Over measured steps, of rows of the fullest expert over the mean."""
    _recent: list[float] = field(default_factory=list)
    """The last excess losses, one less than a window has."""

    def take(self, block: Block) -> Block:
        """Take in a block's steps; return the block without them."""
        if self.fault is None:
            self.fault = next(faults_of_block(block), None)
        if self.fault is None:
            self._take(block)
        return replace(
            block, losses=[], gradient_norms=[], oracle_losses=[], expert_imbalances=None
        )

    def _take(self, block: Block) -> None:
        pairs = list(zip(block.losses, block.oracle_losses, strict=True))
        self.first.extend(pairs[: FIRST_STEPS - len(self.first)])
        self.last.extend(pairs[-LAST_STEPS:])
        self.count += block.steps
        if self.unfit is None:
            self.unfit = _first_unfit(block)
        self._follow_excess([loss - oracle for loss, oracle in pairs if loss is not None])
        if block.purpose == "measure":
            imbalances = [value for value in block.expert_imbalances or () if value is not None]
            self.imbalances += len(imbalances)
            self.imbalance_sum += sum(imbalances)

    def _follow_excess(self, excess: list[float]) -> None:
        self.known_losses += len(excess)
        joined = [*self._recent, *excess]
        if len(joined) >= WINDOW_STEPS:
            window = np.full(WINDOW_STEPS, 1 / WINDOW_STEPS)
            lowest = float(np.min(np.convolve(joined, window, mode="valid")))
            self.lowest_excess = min(self.lowest_excess, lowest)
        self._recent = joined[-(WINDOW_STEPS - 1) :]


def _first_unfit(block: Block) -> UnfitStep | None:
    for at, (loss, norm) in enumerate(zip(block.losses, block.gradient_norms, strict=True)):
        if loss is None or loss < 0 or norm is None or not 0 < norm < MAX_GRADIENT_NORM:
            return UnfitStep(block.first_step + at, loss, norm)
    return None


def digest_of(blocks: Iterable[Block]) -> StepDigest:
    """Return the digest of blocks that still have their steps."""
    digest = StepDigest()
    for block in blocks:
        digest.take(block)
    return digest
