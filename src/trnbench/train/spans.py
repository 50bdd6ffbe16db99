"""Spans of time on several lanes, shared out: what each had of a window for itself."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Span(NamedTuple, Generic[Key]):
    """Something that lasted from one moment to another on one lane: a thread, or a stream."""

    lane: Hashable
    begin: float
    end: float
    key: Key
    """What its time is counted for."""


def share_out(spans: Iterable[Span[Key]], begin: float, end: float) -> dict[Key, float]:
    """Return how much of a window each key had, the moments without any span left out.

    A span's time without that of the spans that lie in it is its own: of a lane the one that began
    last counts. Where several lanes have spans at one moment, it is divided evenly between them, so
    that all keys together never have more than the window.

    Args:
        spans: in any order; those of one lane lie in each other or apart.
        begin: of the window, in the unit of the spans.
        end: of the window.
    """
    clipped = [
        Span(span.lane, max(span.begin, begin), min(span.end, end), span.key)
        for span in spans
        if min(span.end, end) > max(span.begin, begin)
    ]
    # What ends goes before what begins; of spans that begin together the outer one goes first.
    marks = sorted(
        [(span.begin, 1, -span.end, number) for number, span in enumerate(clipped)]
        + [(span.end, 0, 0.0, number) for number, span in enumerate(clipped)]
    )
    shares: dict[Key, float] = defaultdict(float)
    open_spans: dict[Hashable, list[int]] = {}
    before = begin
    for moment, is_begin, _, number in marks:
        if moment > before and open_spans:
            share = (moment - before) / len(open_spans)
            for numbers in open_spans.values():
                shares[clipped[numbers[-1]].key] += share
        before = moment
        lane = clipped[number].lane
        if is_begin:
            open_spans.setdefault(lane, []).append(number)
            continue
        open_spans[lane].remove(number)
        if not open_spans[lane]:
            del open_spans[lane]
    return dict(shares)
