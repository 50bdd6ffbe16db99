"""A document for a terminal: no cell is ever cut short, and no figure broken where a text can be.

The layout is our own: a table library takes longer for a thousand rows than all the rest of a
report, and puts no column under its row (docs/decisions/0023).
"""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len, chop_cells

from trnbench.reports import document as doc
from trnbench.reports.document import one_line

GAP = "  "
LEAST_TEXT_WIDTH = 24
"""Of a text beside its label, and of a last column beside its row; with less it goes under it."""
LEAST_FITTED_WIDTH = 12
"""Of a text column, where all of them give way alike."""

CODES = {"good": 32, "doubtful": 33, "bad": 31, "bold": 1, "dim": 2}
"""Each style's ANSI code."""

Cells = Sequence[doc.Cell]
Columns = Sequence[doc.Column]


def render(report: doc.Report[Any], of: Any, page: doc.Page) -> str:
    """Return the report as text of the page's width."""
    document: doc.Document = report.document(of, page)
    return terminal([*document.parts, *reversed(document.conclusion)], page)


def terminal(parts: Sequence[doc.Part], page: doc.Page) -> str:
    """Return parts with a blank line between two, but none after a heading."""
    lines: list[str] = []
    is_under_heading = True
    for part in parts:
        block = list(_block(part, page))
        if block and not is_under_heading:
            lines.append("")
        lines += block
        is_under_heading = isinstance(part, doc.Heading)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _block(part: doc.Part, page: doc.Page) -> Iterator[str]:
    match part:
        case doc.Heading():
            beside = f"{GAP}{one_line(part.beside)}" if part.beside else ""
            lines = _wrapped(f"{one_line(part.text)}{beside}", page.width)
            return (_styled(line, "bold", page) for line in lines)
        case doc.Lines():
            return (line for text in part.texts for line in _wrapped(one_line(text), page.width))
        case doc.Notes():
            return _notes(part, page)
        case doc.Facts():
            return _facts(part, page)
        case doc.Table():
            return _table(part, page)


def _notes(notes: doc.Notes, page: doc.Page) -> Iterator[str]:
    mark = f"{' ' * notes.indent}· "
    for text in notes.texts:
        if notes.is_mark_plain:
            yield from _hanging(mark, text, page, "dim")
        else:
            lines = _hanging(mark, text, page) if notes.wrap else [f"{mark}{one_line(text)}"]
            yield from (_styled(line, "dim", page) for line in lines)


def _facts(facts: doc.Facts, page: doc.Page) -> Iterator[str]:
    labels = [one_line(label) for label, _ in facts.rows]
    width = max(facts.label_width, _widest(labels))
    for label, (_, text) in zip(labels, facts.rows, strict=True):
        yield from _hanging(f"{GAP}{_padded(label, width)}{GAP}", text, page)


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text at its spaces, and a word only where it is longer than a line."""
    if cell_len(text) <= width:
        return [text]
    if len(text) == cell_len(text):
        return textwrap.wrap(text, width, break_on_hyphens=False)
    lines = [""]
    for word in text.split():
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
            continue
        for part in chop_cells(word, width):
            lines = [*lines, part] if lines[-1] else [*lines[:-1], part]
    return lines


def _hanging(start: str, text: str, page: doc.Page, style: str | None = None) -> Iterator[str]:
    """Wrap a text behind its start, its later lines as far in."""
    room = max(LEAST_TEXT_WIDTH, page.width - cell_len(start))
    for line in _wrapped(one_line(text), room):
        yield start + _styled(line, style, page)
        start = " " * cell_len(start)


def _styled(text: str, style: str | None, page: doc.Page) -> str:
    if style is None or not text or not page.is_coloured:
        return text
    return f"\x1b[{CODES[style]}m{text}\x1b[0m"


# --- tables ---------------------------------------------------------------------------------------


def _table(table: doc.Table, page: doc.Page) -> Iterator[str]:
    shown = [n for n, column in enumerate(table.columns) if page.width >= column.least_page_width]
    columns = [table.columns[n] for n in shown]
    rows = [[_clean(row[n]) for n in shown] for row in table.rows]
    headings = [doc.Cell("" if column.is_obvious else column.heading) for column in columns]
    if table.cards_below is not None and page.width < table.cards_below:
        lines = _cards(columns, rows, page)
    elif table.cards_below is not None:
        lines = _fitted(columns, [headings, *rows], page)
    elif table.is_list:
        lines = _listed(columns, rows, page.width - table.indent, page)
    else:
        lines = _beside_or_under(columns, [headings, *rows], page.width - table.indent, page)
    for line in lines:
        yield f"{' ' * table.indent}{line}"
    yield from _notes(doc.Notes(table.notes or (), wrap=False), page)


def _clean(cell: doc.Cell | str) -> doc.Cell:
    if isinstance(cell, str):
        return doc.Cell(one_line(cell))
    return doc.Cell(one_line(cell.text), cell.style)


def _cards(columns: Columns, rows: Sequence[Cells], page: doc.Page) -> Iterator[str]:
    """Put each row's cells under its first, each after its heading."""
    indent = max(len(column.heading) for column in columns) + 2 * len(GAP)
    room = max(LEAST_FITTED_WIDTH, page.width - indent)
    for place, (first, *cells) in enumerate(rows):
        if place:
            yield ""
        yield _styled(first.text, "bold", page)
        for column, cell in zip(columns[1:], cells, strict=True):
            before = f"{GAP}{column.heading:<{indent - len(GAP)}}"
            for line in _wrapped(cell.text, room):
                yield before + _styled(line, cell.style, page)
                before = " " * indent


def _fitted(columns: Columns, rows: Sequence[Cells], page: doc.Page) -> Iterator[str]:
    """Lay out a heading and rows; on a page that is too narrow, text columns give way."""
    natural = _natural(columns, rows)
    least = [
        width if column.is_figure else LEAST_FITTED_WIDTH
        for column, width in zip(columns, natural, strict=True)
    ]
    widths = _narrowed(natural, least, page.width)
    for number, row in enumerate(rows):
        yield from _row(row, columns, widths, page)
        if number == 0:
            yield "─" * _total(widths)


def _beside_or_under(
    columns: Columns, rows: Sequence[Cells], room: int, page: doc.Page
) -> Iterator[str]:
    """Lay out a heading and rows, the last column in what width is left, or under its row."""
    *firsts, last = _natural(columns, rows)
    indent = _total([*firsts, 0])
    is_beside = indent + min(last, LEAST_TEXT_WIDTH) <= room
    if not is_beside:
        firsts = _headings_narrowed(columns[:-1], rows, room)
        indent = 2 * len(GAP)
    last_room = max(LEAST_TEXT_WIDTH, room - indent)
    for number, row in enumerate(rows):
        if is_beside:
            yield from _row(row, columns, [*firsts, min(last, last_room)], page)
        else:
            yield from _over_last(row, columns, firsts, indent, last_room, page)
        if number == 0:
            yield "─" * min(room, max(_total(firsts), indent + last))


def _listed(columns: Columns, rows: Sequence[Cells], room: int, page: doc.Page) -> Iterator[str]:
    """Lay out rows without a heading, the last column always under its row."""
    firsts = _headings_narrowed(columns[:-1], rows, room)
    indent = firsts[0] + len(GAP)
    for row in rows:
        last_room = max(LEAST_TEXT_WIDTH, room - indent)
        yield from _over_last(row, columns, firsts, indent, last_room, page)


def _over_last(
    row: Cells, columns: Columns, widths: Sequence[int], indent: int, room: int, page: doc.Page
) -> Iterator[str]:
    """Return a row's lines, its last cell under the others."""
    yield from _row(row[:-1], columns[:-1], widths, page)
    for line in _wrapped(row[-1].text, room):
        yield " " * indent + _styled(line, row[-1].style, page)


def _row(cells: Cells, columns: Columns, widths: Sequence[int], page: doc.Page) -> Iterator[str]:
    parts = [_wrapped(cell.text, width) for cell, width in zip(cells, widths, strict=True)]
    widths = [*widths[:-1], widths[-1] if columns[-1].is_figure else 0]  # no padding at the end
    for line in zip_longest(*parts, fillvalue=""):
        yield GAP.join(
            _styled(_padded(text, width, is_right=column.is_figure), cell.style, page)
            for text, cell, column, width in zip(line, cells, columns, widths, strict=True)
        )


def _padded(text: str, width: int, *, is_right: bool = False) -> str:
    space = " " * (width - cell_len(text))
    return space + text if is_right else text + space


def _natural(columns: Columns, rows: Sequence[Cells]) -> list[int]:
    """Return the widths with which no cell wraps."""
    return [
        max(column.least_width, _widest([row[number].text for row in rows]))
        for number, column in enumerate(columns)
    ]


def _headings_narrowed(columns: Columns, rows: Sequence[Cells], room: int) -> list[int]:
    """Return widths that come to no more than `room`, as far as words allow.

    The first row, which has the headings, wraps first: a figure is read more easily in one line.
    """
    texts = [[row[number].text for row in rows] for number in range(len(columns))]
    words = [_widest([word for text in column for word in text.split()]) for column in texts]
    bodies = [max(word, _widest(column[1:])) for word, column in zip(words, texts, strict=True)]
    return _narrowed(_narrowed(_natural(columns, rows), bodies, room), words, room)


def _narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Take from the widest column that is above its least width, until all fit in the room."""
    widths = [*widths]
    while _total(widths) > room:
        wide = [number for number, width in enumerate(widths) if width > least[number]]
        if not wide:
            break
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)
