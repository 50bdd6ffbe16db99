"""Spans of time, as a profiler records them, and what the innermost of them come to. Pure."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Level(IntEnum):
    """What a span is; in a moment of several lanes, those of the highest level alone count."""

    MARK = 0
    """It has a name and a length, and may be no more than a wait."""
    COLLECTIVE = 1
    WORK = 2


class Span(NamedTuple, Generic[Key]):
    """An interval on one lane: a thread, a stream, or a collective of its own."""

    lane: Hashable
    begin: float
    end: float
    key: Key
    level: Level = Level.WORK


class Moment(NamedTuple, Generic[Key]):
    """A length of time in which no span begins or ends."""

    length: float
    innermost: list[Span[Key]]
    """Of each lane, the span that began last."""


class CollectiveTime(NamedTuple):
    """The time of collectives in a window."""

    seconds: float
    """In which any was under way."""
    exposed: float
    """Of those, in which nothing worked."""
    operations: dict[str, float]
    """In which any of this name was under way."""


def moments(spans: Iterable[Span[Key]], begin: float, end: float) -> Iterator[Moment[Key]]:
    """Yield the moments of a window in which there is a span; a lane's are nested or apart."""
    clipped = [
        span._replace(begin=max(span.begin, begin), end=min(span.end, end))
        for span in spans
        if min(span.end, end) > max(span.begin, begin)
    ]
    # What ends goes before what begins; of spans that begin together the outer one goes first.
    marks = sorted(
        [(span.begin, 1, -span.end, number) for number, span in enumerate(clipped)]
        + [(span.end, 0, 0.0, number) for number, span in enumerate(clipped)]
    )
    open_spans: dict[Hashable, list[int]] = {}
    before = begin
    for moment, is_begin, _, number in marks:
        if moment > before and open_spans:
            innermost = [clipped[numbers[-1]] for numbers in open_spans.values()]
            yield Moment(moment - before, innermost)
        before = moment
        lane = clipped[number].lane
        if is_begin:
            open_spans.setdefault(lane, []).append(number)
            continue
        open_spans[lane].remove(number)
        if not open_spans[lane]:
            del open_spans[lane]


def share_out(spans: Iterable[Span[Key]], begin: float, end: float) -> dict[Key, float]:
    """Return each key's time in a window.

    A moment is divided evenly between the lanes of the highest level, so that the sum is never more
    than the window.
    """
    shares: dict[Key, float] = defaultdict(float)
    for length, innermost in moments(spans, begin, end):
        highest = max(span.level for span in innermost)
        counted = [span.key for span in innermost if span.level == highest]
        for key in counted:
            shares[key] += length / len(counted)
    return dict(shares)


def collective_time(spans: Iterable[Span[str]], begin: float, end: float) -> CollectiveTime:
    """Return the time of collectives in a window, whose spans have a lane each."""
    seconds = exposed = 0.0
    operations: dict[str, float] = defaultdict(float)
    for length, innermost in moments(spans, begin, end):
        levels = {span.level for span in innermost}
        if Level.COLLECTIVE not in levels:
            continue
        seconds += length
        if Level.WORK not in levels:
            exposed += length
        for name in {span.key for span in innermost if span.level == Level.COLLECTIVE}:
            operations[name] += length
    return CollectiveTime(seconds, exposed, dict(operations))
