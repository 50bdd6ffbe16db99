"""Points by day as text: where they lie, what the axes say, and what a narrow page does."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.reports.plot import HEIGHT, LEAST_WIDTH, WIDEST, Points, plot_by_day

FIRST = date(2026, 1, 1)


def points(mark: str, *at: tuple[int, float], name: str = "") -> Points:
    return Points(mark, name or f"way {mark}", [(FIRST + timedelta(d), v) for d, v in at])


def test_points_lie_where_their_day_and_value_say() -> None:
    shown = plot_by_day(
        [points("D", (0, 40.0), (100, 20.0)), points("B", (50, 10.0), (100, 20.0))], "$ an hour", 40
    )
    assert shown == (
        "$ an hour\n"
        "40 |D\n"
        "   |\n"
        "   |\n"
        "30 |\n"
        "   |\n"
        "   |\n"
        "   |\n"
        "20 |                                   *\n"
        "   |\n"
        "   |\n"
        "10 |                  B\n"
        "   |\n"
        "   |\n"
        " 0 |\n"
        "   +------------------------------------\n"
        "    2026-01-01                2026-04-11\n"
        "D way D   B way B   * several of these\n"
    )


def test_a_page_too_narrow_for_two_days_beside_each_other_has_them_below() -> None:
    shown = plot_by_day([points("D", (0, 1.0), (9, 0.5))], "$", 20).splitlines()
    assert [line.strip() for line in shown[-3:]] == ["2026-01-01", "to 2026-01-10", "D way D"]


def test_small_values_have_cents_beside_the_axis() -> None:
    assert "\n2.44 |" in plot_by_day([points("s", (0, 2.4402))], "$", 60)


def test_what_has_no_point_is_not_in_the_legend() -> None:
    shown = plot_by_day([points("D", (0, 1.0)), points("B")], "$", 60)
    assert "way D" in shown
    assert "way B" not in shown


@pytest.mark.parametrize("top", [0.0, 1e-9, 1e5])
def test_one_point_is_drawn_whatever_its_value(top: float) -> None:
    shown = plot_by_day([points("D", (0, top))], "$", 60)
    assert sum(line.endswith("|D") for line in shown.splitlines()) == 1


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1e5)), min_size=1),
    st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1e5))),
    st.integers(1, 400),
)
def test_no_line_is_wider_than_the_page_and_no_row_is_missing(
    first: list[tuple[int, float]], second: list[tuple[int, float]], width: int
) -> None:
    shown = plot_by_day([points("D", *first), points("B", *second)], "$ an hour", width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= max(LEAST_WIDTH, min(width, WIDEST))
    assert sum("|" in line for line in lines) == HEIGHT
    assert shown.isascii()
    axis = [line.split("|")[1] for line in lines if "|" in line]
    assert any(set(row) & set("DB*") for row in axis)
