"""Plain tables: for a terminal, where no cell is ever cut short, and as Markdown."""

import textwrap
from collections.abc import Collection, Sequence
from itertools import zip_longest

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

    Where there is none left, it goes under its row; where the other columns are too wide even so,
    their headings wrap, then their cells, but never within a word.

    Args:
        headings: of the columns.
        rows: of cells, as many as headings.
        page_width: in columns of a terminal.
        figures: columns that are right-aligned.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    *firsts, last = zip(headings, *rows, strict=True)
    widths = [_widest(column) for column in firsts]
    indent = sum(widths) + len(GAP) * len(widths)
    is_beside = indent + min(_widest(last), LEAST_LAST_WIDTH) <= page_width
    needed = indent + _widest(last)
    if not is_beside:
        widths = _narrowed(firsts, page_width - len(GAP) * (len(widths) - 1))
        indent = len(GAP) * 2
        needed = max(sum(widths) + len(GAP) * (len(widths) - 1), indent + _widest(last))
    lines = [*_lines(headings, widths, figures, indent, page_width, is_beside)]
    lines.append("─" * min(page_width, needed))
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
    cells = [_wrapped(cell, width) for cell, width in zip(row[:-1], widths, strict=True)]
    room = max(LEAST_LAST_WIDTH, page_width - indent)
    last = textwrap.wrap(row[-1], room, break_on_hyphens=False) or [""]
    firsts = [
        GAP.join(
            " " * (width - cell_len(part)) + part
            if number in figures
            else part + " " * (width - cell_len(part))
            for number, (part, width) in enumerate(zip(parts, widths, strict=True))
        )
        for parts in zip_longest(*cells, fillvalue="")
    ]
    if is_beside and firsts:
        firsts[0] += GAP + last.pop(0)
    return [*firsts, *(" " * indent + part for part in last)]


def _narrowed(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return widths that come to no more than `room`, as far as words allow.

    Headings wrap first, because a figure is read more easily in one line.
    """
    widths = [_widest(column) for column in columns]
    words = [_widest([word for cell in column for word in cell.split()]) for column in columns]
    bodies = [max(word, _widest(column[1:])) for word, column in zip(words, columns, strict=True)]
    for least in (bodies, words):
        while sum(widths) > room:
            wide = [n for n, width in enumerate(widths) if width > least[n]]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _wrapped(cell: str, width: int) -> list[str]:
    if cell_len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_on_hyphens=False, break_long_words=False)


def _widest(cells: Sequence[str]) -> int:
    return max(map(cell_len, cells), default=0)
