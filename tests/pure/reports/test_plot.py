"""Rates by day as text: where they lie, what the axes say, and what a narrow page does."""

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.reports.prices import (
    LEAST_PLOT_WIDTH,
    MOST_PLOT_WIDTH,
    PLOT_HEIGHT,
    SEVERAL,
    plot_by_day,
)

FIRST = date(2026, 1, 1)


def at(points: Sequence[tuple[int, float]]) -> list[tuple[date, float]]:
    return [(FIRST + timedelta(day), usd) for day, usd in points]


def test_points_lie_where_their_day_and_value_say() -> None:
    shown = plot_by_day(
        {"on_demand": at([(0, 40.0), (100, 20.0)]), "spot": at([(50, 10.0), (100, 20.0)])}, 40
    )
    assert shown == (
        "$ an hour\n"
        "40 |D\n"
        "   |\n"
        "   |\n"
        "30 |\n"
        "   |\n"
        "   |\n"
        "20 |                                   *\n"
        "   |\n"
        "   |\n"
        "10 |                  s\n"
        "   |\n"
        "   |\n"
        " 0 |\n"
        "   +------------------------------------\n"
        "2026-01-01 to 2026-04-11\n"
        "D on_demand\n"
        "s spot\n"
        "* several of these\n"
    )


def test_small_values_have_cents_beside_the_axis() -> None:
    assert "\n2.44 |" in plot_by_day({"spot": at([(0, 2.4402)])}, 60)


def test_what_has_no_point_is_not_in_the_legend() -> None:
    shown = plot_by_day({"on_demand": at([(0, 1.0)]), "spot": []}, 60)
    assert "on_demand" in shown
    assert "spot" not in shown


@pytest.mark.parametrize("top", [0.0, 1e-9, 1e5])
def test_one_point_is_drawn_whatever_its_value(top: float) -> None:
    shown = plot_by_day({"on_demand": at([(0, top)])}, 60)
    assert sum(line.endswith("|D") for line in shown.splitlines()) == 1


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1e5)), min_size=1),
    st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1e5))),
    st.integers(1, 400),
)
def test_no_line_is_wider_than_the_page_and_no_row_is_missing(
    first: list[tuple[int, float]], second: list[tuple[int, float]], width: int
) -> None:
    shown = plot_by_day({"on_demand": at(first), "spot": at(second)}, width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= max(LEAST_PLOT_WIDTH, min(width, MOST_PLOT_WIDTH))
    assert sum("|" in line for line in lines) == PLOT_HEIGHT
    assert shown.isascii()
    axis = [line.split("|")[1] for line in lines if "|" in line]
    assert any(set(row) & {"D", "s", SEVERAL} for row in axis)
