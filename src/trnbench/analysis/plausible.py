"""What no worker tells: records that were edited or damaged, or of a clock that jumped.

They are refused before anything is computed of them, so that no figure rests on them and nothing
divides by zero.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import fields

from trnbench.schema.errors import DataError
from trnbench.schema.measurement import Measurement
from trnbench.wire import Block

SHORTEST_STEP_SECONDS = 1e-9
LONGEST_SECONDS = 1e8
"""No step takes less than a clock's tick, and nothing more than three years."""

LARGEST_LOSS = 1e30
"""Of a loss that diverged and is a number still; sums of such are finite."""

EDITED = "the file was edited or is damaged; measure again"
JUMPED = "the clock jumped or the file was edited; measure again"


def require_plausible(measurement: Measurement) -> None:
    """Refuse records that cannot have been measured.

    Raises:
        DataError: naming the file, the place and the value.
    """
    for message, hint in _faults(measurement):
        raise DataError(f"{measurement.source}: {message}", hint=hint)


def is_plausible(block: Block) -> bool:
    """Tell whether one block, as it comes from a worker, can have been measured."""
    return not any(_faults_of_block(block))


def _faults(measurement: Measurement) -> Iterator[tuple[str, str]]:
    for block in measurement.blocks:
        yield from _faults_of_block(block)
    yield from _faults_of_order(measurement.blocks)
    for ceiling in measurement.ceilings:
        rates = [rate for point in ceiling.points for rate in point.flops_per_second]
        if not all(point.flops_per_second for point in ceiling.points) or not rates:
            yield "holds a ceiling without a rate", EDITED
        if not all(0 < rate < 1e24 for rate in rates):
            yield f"holds a ceiling of {min(rates):g} FLOP/s", EDITED
    yield from _faults_of_seconds(measurement)


def _faults_of_block(block: Block) -> Iterator[tuple[str, str]]:
    counts = {len(block.losses), len(block.gradient_norms), len(block.oracle_losses)}
    if counts != {block.steps}:
        yield (
            (
                f"has not one loss and one gradient for each of the {block.steps} steps from step "
                f"{block.first_step}"
            ),
            EDITED,
        )
    seconds = block.seconds
    is_possible = SHORTEST_STEP_SECONDS * block.steps <= seconds <= LONGEST_SECONDS
    if block.steps < 1 or not is_possible:
        said = f"{block.steps} steps from step {block.first_step} took {seconds:g} s"
        yield f"says that {said}", JUMPED
    for losses in (block.losses, block.oracle_losses):
        for loss in losses:
            if loss is not None and not -LARGEST_LOSS <= loss <= LARGEST_LOSS:
                yield f"holds a loss of {loss:g} from step {block.first_step}", EDITED
    if block.event_seconds is not None and not 0 <= block.event_seconds <= LONGEST_SECONDS:
        yield (
            f"says that step {block.first_step} took {block.event_seconds:g} s on the device",
            (EDITED),
        )


def _faults_of_order(blocks: list[Block]) -> Iterator[tuple[str, str]]:
    for before, after in itertools.pairwise(blocks):
        if after.at_seconds < before.at_seconds:
            yield (
                (
                    f"step {after.first_step} is recorded at {after.at_seconds:g} s, before step "
                    f"{before.first_step} at {before.at_seconds:g} s"
                ),
                JUMPED,
            )
        if after.first_step != before.first_step + before.steps:
            yield (
                (f"step {after.first_step} follows step {before.first_step + before.steps - 1}"),
                EDITED,
            )
    if blocks and blocks[0].first_step != 0:
        yield f"its first step is number {blocks[0].first_step}", EDITED


def _faults_of_seconds(measurement: Measurement) -> Iterator[tuple[str, str]]:
    """Every moment and every duration is one that a run can have."""
    for name, record in measurement.records():
        for field in fields(record):
            value = getattr(record, field.name)
            if not field.name.endswith("seconds") or not isinstance(value, (int, float)):
                continue
            if not (math.isfinite(value) and 0 <= value <= LONGEST_SECONDS):
                yield f"holds a record {name!r} whose {field.name} is {value:g}", JUMPED
