"""Results for a terminal: a table where it fits, else a card for each.

Laid out by hand, since a thousand rows take a table library longer than all the rest of a report.
"""

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len

from trnbench.reports.base import Page
from trnbench.reports.clean import one_line
from trnbench.reports.lines import styled, wrapped
from trnbench.reports.view import HEADINGS, lines_of, notes_of
from trnbench.schema.result import Result, Standing

LEAST_TABLE_WIDTH = 150
"""Narrower than this, nine columns break their figures; cards do not."""

FIGURES = {2, 3, 4, 5, 7}
"""Columns that are right-aligned and never broken; the others may wrap."""

GAP = "  "
LEAST_TEXT_WIDTH = 12

COLOURS: dict[Standing, int] = {"sound": 32, "doubtful": 33, "invalid": 31, "failed": 31}
"""ANSI foreground colours."""

_BOLD, _DIM = 1, 2


def render(results: Sequence[Result], page: Page) -> str:
    """Return the results as text of the page's width."""
    lines = lines_of(results)
    cells = [tuple(one_line(cell) for cell in line.cells) for line in lines]
    standings = [line.standing for line in lines]
    layout = _table if page.width >= LEAST_TABLE_WIDTH else _cards
    body = layout(cells, standings, page)
    return "\n".join(line.rstrip() for line in (*body, *_notes(results, page))) + "\n"


def _table(
    cells: Sequence[Sequence[str]], standings: Sequence[Standing], page: Page
) -> Iterator[str]:
    widths = _fitted_widths([HEADINGS, *cells], page.width)
    yield _row(HEADINGS, widths)
    yield "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
    last = len(HEADINGS) - 1
    for row, standing in zip(cells, standings, strict=True):
        parts = [wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        for number in range(max(map(len, parts))):
            broken = [part[number] if number < len(part) else "" for part in parts]
            text = _row(broken[:last], widths[:last]) + GAP
            yield text + styled(broken[last], COLOURS[standing], page)


def _fitted_widths(rows: Sequence[Sequence[str]], page_width: int) -> list[int]:
    """Return column widths; where the page is too narrow, the widest text column gives way."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    texts = [n for n in range(len(widths)) if n not in FIGURES]
    room = page_width - len(GAP) * (len(widths) - 1)
    while sum(widths) > room:
        widest = max(texts, key=lambda n: widths[n])
        if widths[widest] <= LEAST_TEXT_WIDTH:
            break
        widths[widest] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(
        " " * (width - cell_len(cell)) + cell
        if number in FIGURES
        else cell + " " * (width - cell_len(cell))
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def _cards(
    cells: Sequence[Sequence[str]], standings: Sequence[Standing], page: Page
) -> Iterator[str]:
    """Put each result's cells under its model, each after its heading."""
    indent = max(map(len, HEADINGS)) + 4
    for place, (row, standing) in enumerate(zip(cells, standings, strict=True)):
        if place:
            yield ""
        yield styled(row[0], _BOLD, page)
        for number in range(1, len(HEADINGS)):
            first, *more = wrapped(row[number], max(LEAST_TEXT_WIDTH, page.width - indent))
            colour = COLOURS[standing] if number == len(HEADINGS) - 1 else None
            yield f"  {HEADINGS[number]:<{indent - 2}}{styled(first, colour, page)}"
            yield from (" " * indent + styled(part, colour, page) for part in more)


def _notes(results: Sequence[Result], page: Page) -> Iterable[str]:
    yield ""
    for note in notes_of(results, page.today):
        for number, line in enumerate(wrapped(one_line(note), page.width - 2)):
            yield styled(f"{'  ' if number else '· '}{line}", _DIM, page)
