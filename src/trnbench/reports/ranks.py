"""What a report says of a job of several devices, and of devices that are billed and idle."""

from collections.abc import Iterator, Sequence

from trnbench.analysis.idle import idle_note
from trnbench.analysis.scaling import find_scaling
from trnbench.reports import texts
from trnbench.schema.result import Result, ResultCommunication, ResultRanks
from trnbench.units import say_bytes, say_percent

SHARE = texts.Writer(
    say_percent,
    lambda value, low, high: f"{say_percent(value)} [{say_percent(low)}, {say_percent(high)}]",
)

MOST_OPERATIONS = 3
"""Collectives that are named, those with the most time."""


def notes_of_devices(result: Result, results: Sequence[Result]) -> Iterator[str]:
    """Say how a job used its devices; nothing of one device that is all that is billed."""
    idle = idle_note(result.device)
    ranks, layout = result.ranks, result.parallel
    if ranks is not None and layout is not None:
        why = f" ({layout.reason})" if layout.reason else ""
        yield f"{ranks.count} ranks: {layout.in_words}{why}"
    if idle is not None:
        yield idle
        yield from _mfu_of_used(result)
    if ranks is not None or idle is not None:
        yield from _rates(result)
    if ranks is not None:
        yield from _times(ranks)
        yield from _communication(ranks)
        yield from _memory(ranks, result)
        yield from _scaling(result, results)


def _mfu_of_used(result: Result) -> Iterator[str]:
    billed, used = result.metrics["mfu"].value, result.metrics.get("mfu_used_devices")
    if billed is not None and used is not None and used.value is not None:
        yield (
            f"MFU {say_percent(used.value)} of the devices that are used, "
            f"{say_percent(billed)} of all that are billed"
        )


def _rates(result: Result) -> Iterator[str]:
    """Say the throughput of each part of the machine that is known."""
    parts: dict[str, list[str]] = {}
    for part in ("device", "chip", "instance"):
        figure = result.metrics.get(f"tokens_per_second_per_{part}")
        if figure is not None and figure.value is not None:
            rate = texts.say_estimate(figure.value, figure.low, figure.high, texts.RATE)
            parts.setdefault(rate, []).append(part)
    if parts:
        said = (f"per {' and '.join(of)} {rate}" for rate, of in parts.items())
        yield f"tokens/s {', '.join(said)}"


def _times(ranks: ResultRanks) -> Iterator[str]:
    if ranks.slowest_rank is not None and ranks.time_spread is not None:
        yield (
            f"slowest rank {ranks.slowest_rank}: {say_percent(ranks.time_spread)} longer a step "
            "than the fastest (medians)"
        )


def _communication(ranks: ResultRanks) -> Iterator[str]:
    found = ranks.communication
    if found is None:
        yield f"time in communication not known: {ranks.communication_reason}"
        return
    most = f"{say_percent(found.most_share)} in rank {found.most_rank}"
    yield (
        f"communication: {say_percent(found.share)} of a step (mean over ranks; {most}): "
        f"{_exposed(found)}; {_operations(found)}"
    )


def _exposed(found: ResultCommunication) -> str:
    if found.exposed_share is None or found.overlapped_share is None:
        return "the profiler cannot tell how much of it is exposed"
    return (
        f"{say_percent(found.exposed_share)} exposed, {say_percent(found.overlapped_share)} beside "
        "other work"
    )


def _operations(found: ResultCommunication) -> str:
    longest = sorted(found.operations.items(), key=lambda each: -each[1])[:MOST_OPERATIONS]
    return ", ".join(f"{name} {say_percent(share)}" for name, share in longest)


def _memory(ranks: ResultRanks, result: Result) -> Iterator[str]:
    most = result.metrics["peak_memory_bytes"].value
    if ranks.fullest_rank is None or ranks.least_memory_bytes is None or most is None:
        return
    yield (
        f"peak memory is that of the fullest rank, {ranks.fullest_rank}; the least is "
        f"{say_bytes(ranks.least_memory_bytes)}"
    )


def _scaling(result: Result, results: Sequence[Result]) -> Iterator[str]:
    scaling = find_scaling(result, results)
    if scaling is None:
        return
    figure = scaling.efficiency
    share = texts.say_estimate(figure.value, figure.low, figure.high, SHARE)
    yield (
        f"scaling efficiency {share}: a device's tokens/s over those of one device alone "
        f"({scaling.base.case_id}, {scaling.kind} scaling)"
    )
