"""Spans shared out: each key's own time, which together is the time that any span covers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.train.spans import CollectiveTime, Level, Span, collective_time, share_out


def test_a_span_does_not_count_what_lies_in_it() -> None:
    spans = [Span(1, 0.0, 10.0, "outer"), Span(1, 2.0, 5.0, "inner"), Span(1, 3.0, 4.0, "inmost")]
    assert share_out(spans, 0.0, 20.0) == {"outer": 7.0, "inner": 2.0, "inmost": 1.0}


def test_spans_that_touch_or_begin_together_are_told_apart() -> None:
    spans = [Span(1, 0.0, 4.0, "outer"), Span(1, 0.0, 1.0, "a"), Span(1, 1.0, 4.0, "b")]
    assert share_out(spans, 0.0, 4.0) == {"a": 1.0, "b": 3.0}


def test_a_moment_of_two_lanes_is_divided_between_them() -> None:
    spans = [Span("one", 0.0, 4.0, "a"), Span("two", 2.0, 6.0, "b")]
    assert share_out(spans, 0.0, 6.0) == {"a": 3.0, "b": 3.0}


def test_what_lies_outside_the_window_does_not_count() -> None:
    spans = [Span(1, -5.0, 1.0, "a"), Span(1, 3.0, 9.0, "b"), Span(1, 9.0, 12.0, "c")]
    assert share_out(spans, 0.0, 5.0) == {"a": 1.0, "b": 2.0}


lengths = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(0, 2)))


@given(lengths)
def test_keys_together_have_the_moments_that_any_span_covers_and_no_more(
    drawn: list[tuple[int, int, int]],
) -> None:
    spans = [
        Span(lane, float(b), float(b + n), number) for number, (b, n, lane) in enumerate(drawn)
    ]
    shares = share_out(spans, 10.0, 40.0)
    covered = {t for b, n, _ in drawn for t in range(b, b + n) if 10 <= t < 40}
    assert sum(shares.values()) == pytest.approx(len(covered))
    assert all(share > 0 for share in shares.values())
    assert sum(shares.values()) <= 30.0 + 1e-9


# --- collectives among them -----------------------------------------------------------------------


def collective(begin: float, end: float, name: str = "gloo:all_reduce") -> Span[str]:
    return Span(("collective", begin), begin, end, name, Level.COLLECTIVE)


def mark(begin: float, end: float) -> Span[str]:
    return Span("host", begin, end, "FSDP::all_gather", Level.MARK)


def work(begin: float, end: float, lane: str = "host") -> Span[str]:
    return Span(lane, begin, end, "aten::mm")


def test_a_collective_is_exposed_where_nothing_works() -> None:
    spans = [work(0, 4), collective(2, 7), work(6, 9)]
    expected = CollectiveTime(5.0, 2.0, {"gloo:all_reduce": 5.0})
    assert collective_time(spans, 0, 10) == expected


def test_a_mark_around_the_wait_is_no_work_and_work_in_the_mark_is() -> None:
    spans = [mark(0, 10), work(1, 3), collective(0, 8)]
    expected = CollectiveTime(8.0, 6.0, {"gloo:all_reduce": 8.0})
    assert collective_time(spans, 0, 10) == expected


def test_collectives_at_once_count_once_and_each_has_its_own_time() -> None:
    spans = [collective(0, 4), collective(2, 6), collective(5, 7, "gloo:all_gather")]
    expected = CollectiveTime(7.0, 7.0, {"gloo:all_reduce": 6.0, "gloo:all_gather": 2.0})
    assert collective_time(spans, 0, 10) == expected


def test_collectives_count_within_the_window_alone() -> None:
    spans = [collective(-3, 2), work(-9, 1), collective(9, 20)]
    assert collective_time(spans, 0, 10) == CollectiveTime(3.0, 2.0, {"gloo:all_reduce": 3.0})


def test_without_collectives_there_is_no_time_of_them() -> None:
    assert collective_time([work(0, 4), mark(4, 5)], 0, 10) == CollectiveTime(0.0, 0.0, {})


def test_what_is_shared_out_to_collectives_is_what_is_exposed() -> None:
    spans = [mark(0, 10), work(1, 3), collective(0, 8)]
    assert share_out(spans, 0, 12) == {
        "gloo:all_reduce": 6.0, "aten::mm": 2.0, "FSDP::all_gather": 2.0,
    }  # fmt: skip


@given(lengths)
def test_the_exposed_time_is_a_part_of_the_time_and_that_of_the_window(
    drawn: list[tuple[int, int, int]],
) -> None:
    spans = [
        Span((level, number), float(b), float(b + n), f"{level} {b % 3}", Level(level))
        for number, (b, n, level) in enumerate(drawn)
    ]
    found = collective_time(spans, 10.0, 40.0)

    def seconds_of(level: int) -> set[int]:
        return {t for b, n, each in drawn if each == level for t in range(b, b + n) if 10 <= t < 40}

    busy, working = seconds_of(Level.COLLECTIVE), seconds_of(Level.WORK)
    assert found.seconds == pytest.approx(len(busy))
    assert found.exposed == pytest.approx(len(busy - working))
    assert max(found.operations.values(), default=0.0) <= found.seconds + 1e-9
