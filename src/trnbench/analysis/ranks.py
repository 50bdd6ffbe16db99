"""What the ranks of a job did beside each other: their times, memory and communication.

Source: docs/metrics.md, "Several ranks".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from trnbench.analysis.case import Case
from trnbench.protocol.parallel import Communication, Layout
from trnbench.protocol.records import Block
from trnbench.schema.measurement import Measurement
from trnbench.schema.result import ResultCommunication, ResultRanks


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTimes:
    """How long the ranks took for the measured blocks, and which of them is the slowest."""

    samples: int
    step_seconds: tuple[float, ...]
    """Median of each rank, in order."""
    slowest: int
    slow_share: float
    """Of the samples, those in which this rank took longest among its peers."""
    lag: float | None
    """Its median over that of its peers, less 1; None where it has none, as is the next one."""
    spread: float | None
    """Its median over that of its fastest peer, less 1."""


def peers_of(layout: Layout, count: int) -> list[list[int]]:
    """Return the ranks whose work is alike: those of one pipeline stage."""
    if layout.world_size != count:
        return [list(range(count))]
    stages = range(layout.pipeline_parallel_size)
    ranks = range(count)
    return [[rank for rank in ranks if layout.index(rank, "pipeline") == at] for at in stages]


def find_rank_times(blocks: Sequence[Block], layout: Layout) -> RankTimes | None:
    """Return the ranks' times over measured blocks; None of one rank, and without a block."""
    found = [(b.rank_seconds, b.steps) for b in blocks if b.rank_seconds is not None]
    if not found or len(found[0][0]) < 2:
        return None
    times = np.array([seconds for seconds, _ in found])
    times /= np.array([[steps] for _, steps in found])
    medians = np.median(times, axis=0)
    groups = peers_of(layout, len(medians))
    spreads = [medians[peers].max() / medians[peers].min() - 1 for peers in groups]
    peers = groups[int(np.argmax(spreads))]
    if is_lone := len(peers) == 1:  # each stage has one rank, and no other does its work
        peers = list(range(len(medians)))
    at = int(np.argmax(medians[peers]))
    others = np.delete(medians[peers], at)
    return RankTimes(
        samples=len(times),
        step_seconds=tuple(float(value) for value in medians),
        slowest=peers[at],
        slow_share=float(np.mean(np.argmax(times[:, peers], axis=1) == at)),
        lag=None if is_lone else float(medians[peers[at]] / np.median(others)) - 1,
        spread=None if is_lone else float(max(spreads)),
    )


def find_communication(
    records: Sequence[Communication],
) -> tuple[ResultCommunication | None, str | None]:
    """Return the parts of a step's time that collectives take, or None and why."""
    if not records:
        return None, "no step was profiled for its communication"
    seen = [each for each in records if each.window_seconds and each.seconds is not None]
    if not seen:
        return None, records[0].reason or "the profiler saw no collective"
    shares = {each.rank: _part(each, each.seconds) for each in seen}
    exposed = [_part(e, e.exposed_seconds) for e in seen if e.exposed_seconds is not None]
    knows_exposed = len(exposed) == len(seen)
    names = sorted({name for each in seen for name in each.operations})
    operations = {
        name: fmean(_part(each, each.operations.get(name, 0.0)) for each in seen) for name in names
    }
    most = max(shares, key=shares.__getitem__)
    return ResultCommunication(
        ranks=len(seen),
        steps=min(each.steps for each in seen),
        share=fmean(shares.values()),
        most_share=shares[most],
        most_rank=most,
        exposed_share=fmean(exposed) if knows_exposed else None,
        most_exposed_share=max(exposed) if knows_exposed else None,
        operations=operations,
    ), None


def _part(of: Communication, seconds: float | None) -> float:
    return (seconds or 0.0) / (of.window_seconds or 1.0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The rank that its peers wait for in collectives."""

    rank: int
    share: float
    """Of a step, the time that the median of its peers is longer in communication."""


def find_waiting(records: Sequence[Communication], layout: Layout) -> Waiting | None:
    """Return the rank with the least communication; None where less than two can be compared.

    Collectives make all ranks' steps equally long, so a slow rank shows as one that waits less.
    """
    seen = [each for each in records if each.window_seconds and each.seconds is not None]
    knows_exposed = all(each.exposed_seconds is not None for each in seen)
    shares = {e.rank: _part(e, e.exposed_seconds if knows_exposed else e.seconds) for e in seen}
    found = []
    for peers in peers_of(layout, layout.world_size):
        known = {rank: shares[rank] for rank in peers if rank in shares}
        if len(known) > 1:
            least = min(known, key=known.__getitem__)
            others = [share for rank, share in known.items() if rank != least]
            found.append(Waiting(least, median(others) - known[least]))
    return max(found, key=lambda each: each.share, default=None)


def summarize_ranks(case: Case) -> ResultRanks | None:
    """Return what is said of a job's ranks; None for one rank."""
    layout, measurement = case.plan.parallel.layout, case.measurement
    if layout.world_size < 2:
        return None
    times = find_rank_times(case.measured_blocks, layout)
    communication, reason = find_communication(measurement.communications)
    fullest, least = _memory(measurement)
    groups = {seat.process_group for seat in measurement.seats}
    return ResultRanks(
        count=layout.world_size,
        process_group=", ".join(sorted(groups)) or None,
        step_seconds=times.step_seconds if times else None,
        slowest_rank=times.slowest if times else None,
        slow_share=times.slow_share if times else None,
        time_spread=times.spread if times else None,
        fullest_rank=fullest,
        least_memory_bytes=least,
        communication=communication,
        communication_reason=reason,
    )


def _memory(measurement: Measurement) -> tuple[int | None, int | None]:
    """Return the rank with the most peak memory, and the least of all peaks."""
    memory = measurement.memory
    peaks = memory.rank_peak_bytes if memory is not None else None
    if not peaks:
        return None, None
    known = {rank: peak for rank, peak in enumerate(peaks) if peak is not None}
    if not known:
        return None, None
    return max(known, key=known.__getitem__), min(known.values())
