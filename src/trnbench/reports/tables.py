"""Plain tables: for a terminal, where no cell is ever cut short, and as Markdown."""

import textwrap
from collections.abc import Collection, Sequence

from rich.cells import cell_len

from trnbench.reports.clean import escaped_markdown, one_line

GAP = "  "
LEAST_LAST_WIDTH = 24
"""Where the last column would have less than this, it goes under its row."""

Rows = Sequence[Sequence[str]]


def table_as_text(
    headings: Sequence[str], rows: Rows, page_width: int, figures: Collection[int] = ()
) -> str:
    """Return rows under headings; the last column takes what width is left, and wraps in it.

    Args:
        headings: of the columns.
        rows: of cells, as many as headings.
        page_width: in columns of a terminal.
        figures: columns that are right-aligned.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    indent = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    is_beside = indent + min(widths[-1], LEAST_LAST_WIDTH) <= page_width
    if not is_beside:
        indent = len(GAP) * 2
    rule = "─" * min(page_width, indent + widths[-1])
    lines = [*_lines(headings, widths, figures, indent, page_width, is_beside), rule]
    for row in rows:
        lines += _lines(row, widths, figures, indent, page_width, is_beside)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def table_as_markdown(headings: Sequence[str], rows: Rows, figures: Collection[int] = ()) -> str:
    """Return a GitHub-flavoured table."""
    marks = ["--:" if number in figures else "---" for number in range(len(headings))]
    lines = [f"| {' | '.join(map(escaped_markdown, headings))} |", f"|{'|'.join(marks)}|"]
    lines += [f"| {' | '.join(map(escaped_markdown, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _lines(
    row: Sequence[str],
    widths: Sequence[int],
    figures: Collection[int],
    indent: int,
    page_width: int,
    is_beside: bool,
) -> list[str]:
    """Return a row's lines: its cells, and what of the last one did not fit beside them."""
    padded = [
        " " * (width - cell_len(cell)) + cell
        if number in figures
        else cell + " " * (width - cell_len(cell))
        for number, (cell, width) in enumerate(zip(row[:-1], widths[:-1], strict=True))
    ]
    room = max(LEAST_LAST_WIDTH, page_width - indent)
    last = textwrap.wrap(row[-1], room, break_on_hyphens=False) or [""]
    first = GAP.join(padded)
    if is_beside:
        first += GAP + last.pop(0)
    return [first, *(" " * indent + part for part in last)]
