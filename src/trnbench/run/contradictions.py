"""What the ranks of one job must agree in, and the fault that each disagreement is."""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trnbench.protocol.orders import Precision
from trnbench.protocol.parallel import AXES, Layout, Replica, Seated
from trnbench.protocol.records import Block, Finished
from trnbench.run.hang import say_ranks
from trnbench.run.job import Rank
from trnbench.schema.measurement import RankFault

EQUAL_STEPS = 8
"""In so many steps in a row two ranks have the same losses, to the last bit, before they are said
to have the same tokens. Two fp32 losses that differ by a percent agree by chance once in 10⁵."""

TOLERANCES = {"fp32": 1e-5}
"""Relative, of a gradient's norm, or of a loss, on ranks that must have the same."""
TOLERANCE = 1e-3
"""Of the other precisions, whose sums depend on the order."""


def ranks_with_losses(layout: Layout) -> list[Rank]:
    """Return the ranks whose losses count: the last stage has them, its tensor ranks alike."""
    last = layout.pipeline_parallel_size - 1
    return [
        rank
        for rank in range(layout.world_size)
        if layout.index(rank, "pipeline") == last and layout.index(rank, "tensor") == 0
    ]


class Rules:
    """Finds contradictions in records, one a rank; of each kind the first time it appears."""

    def __init__(self, layout: Layout, process_group: str | None, precision: Precision) -> None:
        self._layout = layout
        self._process_group = process_group
        self._tolerance = TOLERANCES.get(precision, TOLERANCE)
        self._recent: dict[Rank, list[float | None]] = {
            rank: [] for rank in ranks_with_losses(layout) if layout.index(rank, "context") == 0
        }
        """Losses of ranks with sequences of their own, since they were last compared."""
        self._seen: set[str] = set()

    def faults(self, records: Sequence[Any]) -> Iterator[RankFault]:
        """Yield what is new of the contradictions in records of one kind, in order of ranks."""
        for fault in self._all_faults(records):
            if fault.what not in self._seen:
                self._seen.add(fault.what)
                yield fault

    def _all_faults(self, records: Sequence[Any]) -> Iterator[RankFault]:
        match records[0]:
            case Seated():
                yield from faults_of_seats(records, self._process_group)
            case Block():
                yield from faults_of_steps(records)
                yield from faults_of_norms(records, self._tolerance)
                yield from faults_of_tensor_ranks(records, self._layout, self._tolerance)
                yield from self._equal_losses(records)
            case Replica():
                yield from faults_of_replicas(records, self._layout)
            case Finished():
                yield from faults_of_ends(records)

    def _equal_losses(self, blocks: Sequence[Block]) -> Iterator[RankFault]:
        """Yield a fault if ranks with sequences of their own have the losses of one another."""
        if len(self._recent) < 2:
            return
        for rank, losses in self._recent.items():
            losses += blocks[rank].losses
        if min(map(len, self._recent.values())) < EQUAL_STEPS:
            return
        groups: dict[tuple[float | None, ...], list[Rank]] = {}
        for rank, losses in self._recent.items():
            groups.setdefault(tuple(losses), []).append(rank)
            losses.clear()
        last = blocks[0].first_step + blocks[0].steps - 1
        for losses_of_all, ranks in groups.items():
            if len(ranks) > 1 and None not in losses_of_all:
                yield RankFault(
                    at_seconds=_latest(blocks),
                    what="losses",
                    ranks=ranks,
                    evidence=f"{say_ranks(ranks)} had the same losses to the last bit in "
                    f"{len(losses_of_all)} steps up to step {last}: they were given the same "
                    "tokens",
                )


def faults_of_seats(seats: Sequence[Seated], process_group: str | None) -> Iterator[RankFault]:
    """Yield ranks that share a device, and those in another process group than the device's."""
    holders: dict[tuple[int, str], list[Rank]] = {}
    for seat in seats:
        if seat.device_id is not None:
            holders.setdefault((seat.node, seat.device_id), []).append(seat.rank)
    for (_, device), ranks in holders.items():
        if len(ranks) > 1:
            evidence = f"{say_ranks(ranks)} drive one device, {device}"
            yield RankFault(
                at_seconds=_latest(seats), what="device", ranks=ranks, evidence=evidence
            )
    others = [seat.rank for seat in seats if seat.process_group != process_group]
    if others and process_group is not None:
        found = seats[others[0]].process_group
        yield RankFault(
            at_seconds=_latest(seats),
            what="process_group",
            ranks=others,
            evidence=f"the process group of {say_ranks(others)} is {found!r} and not "
            f"{process_group!r}",
        )


def faults_of_steps(blocks: Sequence[Block]) -> Iterator[RankFault]:
    """Yield ranks that ran other steps than rank 0 in one block."""
    first = blocks[0]
    ran = [(block.first_step, block.steps) for block in blocks]
    others = [rank for rank, steps in enumerate(ran) if steps != ran[0]]
    if others:
        theirs = blocks[others[0]]
        yield RankFault(
            at_seconds=_latest(blocks),
            what="steps",
            ranks=others,
            evidence=f"{say_ranks(others)} ran {theirs.steps} steps from step {theirs.first_step} "
            f"on, and rank 0 {first.steps} from step {first.first_step} on",
        )


def faults_of_ends(ends: Sequence[Finished]) -> Iterator[RankFault]:
    """Yield ranks that finished after another number of steps than rank 0."""
    others = [rank for rank, end in enumerate(ends) if end.steps != ends[0].steps]
    if others:
        yield RankFault(
            at_seconds=_latest(ends),
            what="steps",
            ranks=others,
            evidence=f"{say_ranks(others)} finished after {ends[others[0]].steps} steps, and rank "
            f"0 after {ends[0].steps}",
        )


def faults_of_norms(blocks: Sequence[Block], tolerance: float) -> Iterator[RankFault]:
    """Yield the first step in which ranks saw another norm of the whole gradient."""
    first = blocks[0].gradient_norms
    if all(block.gradient_norms == first for block in blocks):
        return
    for at, norms in enumerate(zip(*(block.gradient_norms for block in blocks), strict=False)):
        others = _apart(norms, tolerance)
        if others:
            yield RankFault(
                at_seconds=_latest(blocks),
                what="gradient_norms",
                ranks=others,
                evidence=f"in step {blocks[0].first_step + at} the norm of the whole gradient is "
                f"{_said(min(norms, key=_size))} on one rank and {_said(max(norms, key=_size))} "
                "on another",
            )
            return


def faults_of_tensor_ranks(
    blocks: Sequence[Block], layout: Layout, tolerance: float
) -> Iterator[RankFault]:
    """Yield the first step in which ranks of one tensor group, with the same tokens, differ."""
    size = layout.tensor_parallel_size
    if size == 1:
        return
    for first in ranks_with_losses(layout):
        group = range(first, first + size)
        if all(blocks[rank].losses == blocks[first].losses for rank in group):
            continue
        for at, losses in enumerate(zip(*(blocks[rank].losses for rank in group), strict=False)):
            others = [first + index for index in _apart(losses, tolerance)]
            if others:
                yield RankFault(
                    at_seconds=_latest(blocks),
                    what="losses",
                    ranks=others,
                    evidence=f"in step {blocks[first].first_step + at} {say_ranks(group)}, of one "
                    f"tensor group, have losses from {_said(min(losses, key=_size))} to "
                    f"{_said(max(losses, key=_size))}",
                )
                return


def faults_of_replicas(replicas: Sequence[Replica], layout: Layout) -> Iterator[RankFault]:
    """Yield ranks whose weights differ from those of the same part of another replica."""
    parts: dict[tuple[int, ...], list[Replica]] = {}
    held = [axis for axis in AXES if axis != "replicate"]
    for replica in replicas:
        part = tuple(layout.index(replica.rank, axis) for axis in held)
        parts.setdefault(part, []).append(replica)
    others = [
        replica.rank
        for same in parts.values()
        for replica in same
        if replica.digest != statistics.mode(each.digest for each in same)
    ]
    if others:
        yield RankFault(
            at_seconds=_latest(replicas),
            what="weights",
            ranks=others,
            evidence=f"after step {replicas[0].steps} the weights of {say_ranks(others)} are not "
            "those of the other replicas",
        )


def _apart(values: Sequence[float | None], tolerance: float) -> list[int]:
    """Return where values are far from the median; everywhere, if no more than half are near."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return []
    middle = known[len(known) // 2]
    far = [
        index
        for index, value in enumerate(values)
        if value is None or not math.isclose(value, middle, rel_tol=tolerance, abs_tol=1e-12)
    ]
    return list(range(len(values))) if 2 * len(far) >= len(values) else far


def _size(value: float | None) -> float:
    return math.inf if value is None else value


def _said(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.8g}"


def _latest(records: Iterable[Any]) -> float:
    return max(float(record.at_seconds) for record in records)
