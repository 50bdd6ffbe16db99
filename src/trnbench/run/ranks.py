"""The records of a job's ranks as those of one job.

A block is written once all ranks have sent theirs. Nothing here grows with the number of blocks.
`merging.py` says what several records become, `contradictions.py` what ranks must agree in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from trnbench.protocol.orders import Precision
from trnbench.protocol.parallel import AllReduce, Communication, Layout, Replica, Seated
from trnbench.protocol.records import (
    Activity,
    Block,
    Built,
    Ceiling,
    ChildRecord,
    Environment,
    Finished,
    Memory,
    Parity,
    Phase,
    WeightUpdate,
)
from trnbench.run import contradictions, merging, outcomes
from trnbench.run.hang import say_ranks
from trnbench.run.job import Rank
from trnbench.run.outcomes import End
from trnbench.schema.measurement import RankFault

OF_EVERY_RANK = (Seated, Communication, Replica)
"""Written one a rank; of all other kinds the job has one."""

MAY_BE_FEWER = (Ceiling, Parity, WeightUpdate, Memory)
"""Merged over the ranks that sent one, if not all did so by the next phase that all enter."""

PROGRAM_HINT = "ranks must not decide by themselves: report it with the case's measurement.jsonl"

Merged = ChildRecord | RankFault


class RankRecords:
    """Takes what each rank sends, and gives back what is to be written of the job."""

    def __init__(self, layout: Layout, process_group: str | None, precision: Precision) -> None:
        """Prepare for a job of one layout.

        Args:
            layout: of its ranks.
            process_group: torch.distributed's backend that its device has.
            precision: of the arithmetic, which decides how far ranks may differ.
        """
        self._layout = layout
        self._ranks = range(layout.world_size)
        self._waiting: dict[tuple[type, int], dict[Rank, Any]] = {}
        self._sent: dict[tuple[type, Rank], int] = {}
        self._rules = contradictions.Rules(layout, process_group, precision)
        self._activities: dict[Rank, Activity] = {}
        self._is_activity_new = False
        self._ended_seconds = 0.0
        self._with_losses = contradictions.ranks_with_losses(layout)

    def take(self, rank: Rank, record: ChildRecord) -> list[Merged]:
        """Take in one rank's record; return those of the job that are complete now, in order.

        Raises:
            End: the ranks do not run one program, or one left out what it must say first.
        """
        if len(self._ranks) == 1:
            return [record]
        match record:
            case Activity():
                self._activities[rank] = record
                self._is_activity_new = True
                return []
            case Environment():
                return [replace(record, device_count=len(self._ranks))] if rank == 0 else []
            case AllReduce():  # its seconds are those of the slowest rank already
                return [record] if rank == 0 else []
            case Phase() if record.name != "train":
                return [record] if rank == 0 else []
        key = type(record), self._sent.get((type(record), rank), 0)
        self._sent[type(record), rank] = key[1] + 1
        waiting = self._waiting.setdefault(key, {})
        waiting[rank] = record
        if len(waiting) < len(self._ranks):
            return []
        del self._waiting[key]
        return list(self._merge([waiting[each] for each in self._ranks]))

    def _merge(self, records: Sequence[Any]) -> Iterator[Merged]:
        """Yield what the records of one kind, one a rank in order, become."""
        first = records[0]
        if isinstance(first, Phase | Finished):
            yield from self._merge_rest()
        if isinstance(first, Phase):
            self._require_seats()
        if isinstance(first, Seated):
            _require_one_program(records)
        yield from self._rules.faults(records)
        if isinstance(first, Block):
            yield from self._merge_blocks(records)
        elif isinstance(first, OF_EVERY_RANK):
            yield from records
        elif isinstance(first, Built):
            yield merging.merge_built(records, self._layout)
        else:
            yield merging.merge(records)

    def _merge_rest(self) -> Iterator[Merged]:
        """Yield what not every rank sent, though all are done with what it tells of."""
        for key in [key for key in self._waiting if key[0] in MAY_BE_FEWER]:
            waiting = self._waiting.pop(key)
            yield merging.merge([waiting[rank] for rank in sorted(waiting)])

    def _merge_blocks(self, blocks: Sequence[Block]) -> Iterator[Merged]:
        if self._is_activity_new:
            self._is_activity_new = False
            yield merging.merge(list(self._activities.values()))
        block = merging.merge_blocks(blocks, self._with_losses)
        # Ranks' clocks began at different moments: no block is over before it can have been.
        over = self._ended_seconds + block.prepare_seconds + block.seconds
        self._ended_seconds = max(block.at_seconds, over)
        yield replace(block, at_seconds=self._ended_seconds)

    def _require_seats(self) -> None:
        """Refuse to train ranks of which one has not said what it runs."""
        silent = [rank for rank in self._ranks if not self._sent.get((Seated, rank))]
        if silent:
            end = outcomes.of_garbage("phase 'train' without a seat before it", "")
            raise replace(end, reason=f"{say_ranks(silent)} of {len(self._ranks)}: {end.reason}")


def _require_one_program(seats: Sequence[Seated]) -> None:
    """Refuse to train ranks of which one has another program: they would wait for each other."""
    others = _minority([seat.program for seat in seats])
    if not others:
        return
    usual = next(rank for rank in range(len(seats)) if rank not in others)
    raise End(
        "bug",
        f"{say_ranks(others)} of {len(seats)} built another program than rank {usual}: digest "
        f"{seats[others[0]].program[:16]} and not {seats[usual].program[:16]}",
        PROGRAM_HINT,
        "\n".join(f"rank {seat.rank} on {seat.device}: {seat.program}" for seat in seats),
    )


def _minority(values: Sequence[str]) -> list[Rank]:
    """Return the ranks whose value is not the most frequent one; of two as frequent, rank 0's."""
    most = max(values, key=lambda value: (values.count(value), value == values[0]))
    return [rank for rank, value in enumerate(values) if value != most]
