"""What the records of several ranks become as one record of their job; pure functions.

Source: docs/metrics.md, "Several ranks".
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from trnbench.protocol.parallel import Layout
from trnbench.protocol.records import (
    Activity,
    Block,
    Built,
    Ceiling,
    CeilingPoint,
    Memory,
    Parity,
    ParityPoint,
    WeightUpdate,
)
from trnbench.run.job import Rank

N = TypeVar("N", int, float)


def merge(records: Sequence[Any]) -> Any:
    """Return one record for those of several ranks; of a kind that all have alike, the first."""
    how = MERGES.get(type(records[0]))
    return records[0] if how is None else how(records)


def merge_blocks(blocks: Sequence[Block], with_losses: Sequence[Rank]) -> Block:
    """Return the job's block: the slowest rank's time, and the mean of the losses that count.

    A rank that ran another number of steps than rank 0 has its time here, and no losses.
    """
    first = blocks[0]
    counted = [blocks[rank] for rank in with_losses if blocks[rank].steps == first.steps]
    counted = counted or [first]
    imbalances = [
        block.expert_imbalances
        for block in blocks
        if block.expert_imbalances is not None and block.steps == first.steps
    ]
    return replace(
        first,
        at_seconds=max(block.at_seconds for block in blocks),
        seconds=max(block.seconds for block in blocks),
        prepare_seconds=max(block.prepare_seconds for block in blocks),
        event_seconds=_most([block.event_seconds for block in blocks], is_whole=True),
        rank_seconds=[block.seconds for block in blocks],
        losses=_means([block.losses for block in counted]),
        oracle_losses=[
            math.fsum(values) / len(counted)
            for values in zip(*(block.oracle_losses for block in counted), strict=True)
        ],
        expert_imbalances=_means(imbalances) if imbalances else None,
    )


def merge_built(records: Sequence[Built], layout: Layout) -> Built:
    """Return the whole model: each stage of a pipeline has its own blocks, all else counts once."""
    stages = [
        record
        for rank, record in enumerate(records)
        if all(
            layout.index(rank, axis) == 0 for axis in ("replicate", "shard", "context", "tensor")
        )
    ]
    trained = [stage.trained_count for stage in stages]
    placement = sorted({place for record in records for place in record.placement or ()})
    return replace(
        records[0],
        parameter_count=sum(stage.parameter_count for stage in stages),
        parameter_bytes=sum(stage.parameter_bytes for stage in stages),
        trained_count=None if None in trained else sum(count or 0 for count in trained),
        embeddings_are_tied=any(stage.embeddings_are_tied for stage in stages),
        placement=placement or None,
    )


def _merge_memory(records: Sequence[Memory]) -> Memory:
    peaks = [record.peak_bytes for record in records]
    fullest = max(records, key=lambda record: record.peak_bytes or -1)
    return replace(fullest, rank_peak_bytes=peaks)


def _merge_activities(records: Sequence[Activity]) -> Activity:
    fallbacks = [record.fallback_ops for record in records if record.fallback_ops is not None]
    return replace(
        records[0],
        at_seconds=max(record.at_seconds for record in records),
        steps=max(record.steps for record in records),
        graphs=_most([record.graphs for record in records]),
        compilations=_most([record.compilations for record in records]),
        cache_hits=_most([record.cache_hits for record in records]),
        compile_seconds=max((record.compile_seconds for record in records), key=math.fsum),
        fallback_ops=_most_of_each(fallbacks) if fallbacks else None,
    )


def _merge_ceilings(records: Sequence[Ceiling]) -> Ceiling:
    """Return the mean over the ranks, which measure at the same time: a rate of one of them."""
    series = [[point.size for point in record.points] for record in records]
    if any(sizes != series[0] for sizes in series):
        return records[0]
    points = [
        CeilingPoint(
            size=points[0].size,
            flops_per_second=[
                math.fsum(rates) / len(rates)
                for rates in zip(*(point.flops_per_second for point in points), strict=False)
            ],
        )
        for points in zip(*(record.points for record in records), strict=True)
    ]
    return replace(records[0], points=points)


def _worst_parity(records: Sequence[Parity]) -> Parity:
    farthest = max(records, key=_distance)
    return replace(
        farthest,
        at_seconds=max(record.at_seconds for record in records),
        seconds=max(record.seconds for record in records),
        reference_seconds=max(record.reference_seconds for record in records),
        was_cached=all(record.was_cached for record in records),
        points=[
            max(points, key=_point_distance)
            for points in zip(*(record.points for record in records), strict=False)
        ],
    )


def _distance(record: Parity) -> float:
    """Return how far a rank's losses are from the reference's at most; infinite if not finite."""
    pairs = zip(record.losses, record.reference_losses, strict=False)
    return max((math.inf if a is None else abs(a - b) for a, b in pairs), default=0.0)


def _point_distance(point: ParityPoint) -> tuple[float, float]:
    unlike = math.inf if point.least_cosine is None else -point.least_cosine
    return (math.inf if point.worst_distance is None else point.worst_distance, unlike)


def _worst_update(records: Sequence[WeightUpdate]) -> WeightUpdate:
    """Return the smallest and the largest update of any rank.

    A weight that is sharded stands still only if it does so on every rank; where one rank's all
    stand still, it did not train.
    """
    first = records[0]
    still = set(first.still).intersection(*(record.still for record in records))
    for record in records:
        if record.still and len(record.still) == record.tensors:
            still.update(record.still)
    least = min(records, key=lambda record: math.inf if record.least is None else record.least)
    most = max(records, key=lambda record: math.inf if record.most is None else record.most)
    return replace(
        first,
        still=sorted(still),
        least_tensor=least.least_tensor,
        least=least.least,
        most_tensor=most.most_tensor,
        most=most.most,
    )


MERGES: Mapping[type, Callable[[Sequence[Any]], Any]] = {
    Memory: _merge_memory,
    Activity: _merge_activities,
    Ceiling: _merge_ceilings,
    Parity: _worst_parity,
    WeightUpdate: _worst_update,
}


def _means(series: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return the mean at each step; None where one is not finite."""
    if len(series) == 1:
        return list(series[0])
    means: list[float | None] = []
    for values in zip(*series, strict=True):
        known = [value for value in values if value is not None]
        means.append(math.fsum(known) / len(known) if len(known) == len(values) else None)
    return means


def _most(values: Sequence[N | None], *, is_whole: bool = False) -> N | None:
    """Return the largest of what is known; None if nothing is, or, where asked, if not all is."""
    known = [value for value in values if value is not None]
    return None if not known or (is_whole and len(known) < len(values)) else max(known)


def _most_of_each(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    merged: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            merged[name] = max(count, merged.get(name, 0))
    return merged
