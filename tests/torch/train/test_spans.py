"""Spans shared out: each key's own time, which together is the time that any span covers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.train.profiler import Span, share_out


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
