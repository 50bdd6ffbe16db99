"""Verdicts: four words, and the rules by which they follow from an interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.compare.ratio import LogDifference, judge

SWAPPED = {"better": "worse", "worse": "better", "same": "same", "cannot_tell": "cannot_tell"}

middles = st.floats(-0.5, 0.5)
widths = st.floats(0, 0.5)
margins = st.floats(0, 0.5)


def of_interval(value: float, half_width: float) -> LogDifference:
    return LogDifference(
        value=value,
        standard_error=half_width / 1.959963984540054,
        degrees_of_freedom=None,
        launch_deviation=0.005,
        method="welch",
    )


def word(value: float, half_width: float, margin: float, *, p: float = 0.0) -> str:
    return judge(of_interval(value, half_width), margin, "higher", p)[0]


@pytest.mark.parametrize(
    ("value", "half_width", "verdict"),
    [
        (0.00, 0.01, "same"),
        (0.01, 0.005, "same"),
        (0.02, 0.01, "better"),
        (-0.02, 0.01, "worse"),
        (0.00, 0.03, "cannot_tell"),
        (0.03, 0.04, "cannot_tell"),
        (0.015, 0.010, "better"),
    ],
)
def test_the_interval_decides(value: float, half_width: float, verdict: str) -> None:
    assert word(value, half_width, 0.02) == verdict


def test_less_is_better_where_it_is() -> None:
    slower = of_interval(0.1, 0.01)
    assert judge(slower, 0.02, "lower", 0.0)[0] == "worse"
    assert judge(slower, 0.02, "higher", 0.0)[0] == "better"


def test_what_happens_by_chance_among_many_is_no_verdict() -> None:
    verdict, reason = judge(of_interval(0.03, 0.02), 0.02, "higher", 0.2)
    assert verdict == "cannot_tell"
    assert "by chance" in reason


def test_the_reason_names_the_interval() -> None:
    assert judge(of_interval(0.1, 0.01), 0.02, "higher", 0.0)[1].startswith(
        "the interval +9.42 % to +11.6 %"
    )


@given(middles, widths, margins)
def test_swapping_the_sides_swaps_the_verdict(
    value: float, half_width: float, margin: float
) -> None:
    assert word(-value, half_width, margin) == SWAPPED[word(value, half_width, margin)]


@given(middles, widths, margins, st.floats(0, 0.5))
def test_a_wider_margin_only_turns_verdicts_into_the_same(
    value: float, half_width: float, margin: float, more: float
) -> None:
    narrow, wide = word(value, half_width, margin), word(value, half_width, margin + more)
    assert wide in (narrow, "same")


@given(middles, widths, widths, margins)
def test_a_wider_interval_never_turns_to_the_other_side(
    value: float, half_width: float, more: float, margin: float
) -> None:
    verdicts = {word(value, half_width, margin), word(value, half_width + more, margin)}
    assert verdicts != {"better", "worse"}


@given(widths, margins)
def test_no_difference_is_never_better_or_worse(half_width: float, margin: float) -> None:
    assert word(0.0, half_width, margin, p=1.0) in ("same", "cannot_tell")
