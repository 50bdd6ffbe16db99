"""A comparison for a terminal: a table a case, what must be read beside it, and the gates."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from trnbench.reports.clean import one_line
from trnbench.reports.comparison.view import (
    HEADINGS,
    STATES,
    gate_lines,
    general_notes,
    notes_of,
    rows_of,
    sides_of,
    summary_of,
)
from trnbench.reports.document import Page
from trnbench.reports.lines import styled, wrapped
from trnbench.schema.comparison import CaseComparison, Comparison, ComparisonVerdict, GateState

LEAST_WIDE_WIDTH = 100
"""Narrower than this, what could have been seen is left to the notes and other formats."""

LEAST_WIDTH = 60
LEAST_SEEN = 4
GAP = "  "
INDENT = "  "

COLOURS: dict[ComparisonVerdict, int | None] = {
    "better": 32, "worse": 31, "cannot_tell": 33, "same": None,
}  # fmt: skip
GATE_COLOURS: dict[GateState, int] = {
    "passed": 32, "failed": 31, "undecided": 33, "not_judged": 31,
}  # fmt: skip
_BOLD, _DIM = 1, 2


def render(comparison: Comparison, page: Page) -> str:
    """Return the comparison as text of the page's width."""
    lines: list[str] = []
    for case in comparison.cases:
        lines += [*_case(case, page), ""]
    for note in general_notes(comparison):
        lines += _hanging("· ", note, page, _DIM)
    if comparison.gates:
        lines += ["", *_gates(comparison, page)]
    lines += ["", styled(summary_of(comparison), _BOLD, page)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _case(case: CaseComparison, page: Page) -> Iterator[str]:
    yield styled(one_line(case.name), _BOLD, page)
    for label, text in sides_of(case):
        yield from _hanging(f"{INDENT}{label}  ", text, page, None)
    yield ""
    yield from _table(case, page)
    notes = notes_of(case)
    if notes:
        yield ""
    for note in notes:
        yield from _hanging(f"{INDENT}· ", note, page, _DIM)


def _table(case: CaseComparison, page: Page) -> Iterator[str]:
    """Lay out the rows; the last column is the verdict, left-aligned and coloured."""
    is_wide = page.width >= LEAST_WIDE_WIDTH
    shown = [n for n in range(len(HEADINGS)) if is_wide or n != LEAST_SEEN]
    rows = rows_of(case)
    cells = [[row.cells[n] for n in shown] for row in rows]
    heading = [HEADINGS[n] for n in shown]
    widths = [max(map(cell_len, column)) for column in zip(heading, *cells, strict=True)]
    yield INDENT + _row(heading, widths)
    yield INDENT + "─" * min(sum(widths) + len(GAP) * (len(widths) - 1), page.width - len(INDENT))
    for row, texts in zip(rows, cells, strict=True):
        front = _row(texts[:-1], widths[:-1])
        yield f"{INDENT}{front}{GAP}{styled(texts[-1], COLOURS[row.verdict], page)}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Align figures to the right, and the first column and the verdict to the left."""
    last = len(HEADINGS) - 1
    return GAP.join(
        cell + " " * (width - cell_len(cell))
        if number in (0, last) or cell == HEADINGS[last]
        else " " * (width - cell_len(cell)) + cell
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def _gates(comparison: Comparison, page: Page) -> Iterator[str]:
    width = max(map(len, STATES.values()))
    for state, gate, seen in gate_lines(comparison.gates):
        word = styled(f"{STATES[state]:<{width}}", GATE_COLOURS[state], page)
        yield f"{word}{GAP}{one_line(gate)}"
        yield from _hanging(" " * (width + len(GAP)), seen, page, None)


def _hanging(start: str, text: str, page: Page, code: int | None) -> Iterator[str]:
    """Wrap a text behind its start, its later lines as far in."""
    room = max(LEAST_WIDTH, page.width) - cell_len(start)
    for number, line in enumerate(wrapped(one_line(text), room)):
        before = " " * cell_len(start) if number else start
        yield before + styled(line, code, page)
