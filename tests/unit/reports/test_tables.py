"""Tables in a terminal: what does not fit beside goes under, and what is too wide even so wraps."""

import pytest

from trnbench.reports.tables import table_as_text

HEADINGS = ("what", "rate", "lowest to highest", "of datasheet", "size")
ROWS = [
    ("queries", "393 TFLOP/s", "305 to 458", "39.7 %", "8192 x 4096 x 4096, 32 times"),
    ("head", "none", "", "", "128256 x 4096 x 8192: not enough memory"),
]
FIGURES = (1, 2, 3)


@pytest.mark.parametrize("width", [*range(40, 62), 80, 120])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    text = table_as_text(HEADINGS, ROWS, width, FIGURES)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(" ".join(row) for row in (HEADINGS, *ROWS)).split()
    assert sorted(text.replace("─", "").split()) == sorted(words)


@pytest.mark.parametrize("width", [45, 60, 80, 120])
def test_the_rule_is_as_wide_as_what_it_parts(width: int) -> None:
    lines = table_as_text(HEADINGS, ROWS, width, FIGURES).splitlines()
    (rule,) = [line for line in lines if line.startswith("─")]
    assert len(rule) == max(len(line) for line in lines if line != rule)


def test_headings_wrap_before_figures_do() -> None:
    text = table_as_text(HEADINGS, ROWS, 45, FIGURES)
    assert "lowest to highest" not in text
    assert "queries  393 TFLOP/s  305 to 458" in text


def test_a_table_of_one_column_has_no_others_to_be_beside() -> None:
    assert table_as_text(("what",), [("a thing",)], 80) == "what\n───────\na thing\n"
