"""A document for a terminal: no cell is ever cut short, no figure broken, no word where a space is.

The layout is our own: a table library takes longer for a thousand rows than all the rest of a
report, and puts no column under its row (docs/decisions/0023).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple

from rich.cells import cell_len, chop_cells

from trnbench.reports import document as doc
from trnbench.reports.document import one_line

GAP = "  "
LEAST_TEXT_WIDTH = 24
"""Of a text beside its label, and of a last column beside its row; with less it goes under it."""
LEAST_EVEN_WIDTH = 12
"""Of a text column, where all of them give way alike."""
LEAST_NAME_WIDTH = 14
"""Of a name with `SEAMS`: none that is this short is broken."""
LONGEST_WORD = 24
"""Longer ones, as addresses are, may be broken behind one of `SEAMS`."""
SEAMS = re.compile(r"(?<=[/:@=,;_-])(?=\w)")
WORDS = re.compile(r"[^\s\[]*\[[^\[\]]{1,24}\]\S*|\S+")
"""What stands between spaces, an interval with the spaces inside it."""
MOST_ROWS = 200
"""Of a table on a terminal, where another command shows all."""

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
    told: set[str] = set()
    for part in parts:
        block = list(
            _table(part, page, told) if isinstance(part, doc.Table) else _block(part, page)
        )
        if block and not is_under_heading:
            lines.append("")
        lines += block
        is_under_heading = isinstance(part, doc.Heading)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _block(part: doc.Heading | doc.Lines | doc.Notes | doc.Facts, page: doc.Page) -> Iterator[str]:
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


def _notes(notes: doc.Notes, page: doc.Page) -> Iterator[str]:
    for number, text in enumerate(notes.texts, start=1):
        mark = f"{' ' * notes.indent}{f'[{number}]' if number <= notes.numbered else '·'} "
        if notes.is_mark_plain:
            yield from _hanging(mark, text, page, "dim")
        else:
            yield from (_styled(line, "dim", page) for line in _hanging(mark, text, page))


def _facts(facts: doc.Facts, page: doc.Page) -> Iterator[str]:
    labels = [one_line(label) for label, _ in facts.rows]
    width = max(facts.label_width, _widest(labels))
    for label, (_, text) in zip(labels, facts.rows, strict=True):
        yield from _hanging(f"{GAP}{_padded(label, width)}{GAP}", text, page)


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text between words, and a word only where it is longer than a line.

    A long one, as an address is, breaks behind one of `SEAMS`, else anywhere.
    """
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in WORDS.findall(text):
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        for part in [word] if cell_len(word) <= width else _parts(word, width):
            if cell_len(lines[-1]) + cell_len(part) <= width:
                lines[-1] += part
            else:
                lines.append(part)
    return lines


def _parts(word: str, width: int) -> Iterator[str]:
    for piece in SEAMS.split(word):
        yield from [piece] if cell_len(piece) <= width else chop_cells(piece, width)


def _pieces(text: str) -> Iterator[str]:
    """Return what is not broken where it can be helped: words, and parts of very long words."""
    for word in WORDS.findall(text):
        yield from [word] if len(word) <= LONGEST_WORD else SEAMS.split(word)


def _hanging(start: str, text: str, page: doc.Page, style: str | None = None) -> Iterator[str]:
    """Wrap a text behind its start, its later lines as far in; under it on a narrow page."""
    indent = cell_len(start)
    lines = _wrapped(one_line(text), page.width - indent) if indent < page.width else []
    if not lines or (len(lines) > 1 and page.width - indent < LEAST_TEXT_WIDTH):
        yield start.rstrip()
        start, indent = " " * 2 * len(GAP), 2 * len(GAP)
        lines = _wrapped(one_line(text), page.width - indent)
    for line in lines:
        yield start + _styled(line, style, page)
        start = " " * indent


def _styled(text: str, style: str | None, page: doc.Page) -> str:
    if style is None or not text or not page.is_coloured:
        return text
    return f"\x1b[{CODES[style]}m{text}\x1b[0m"


# --- tables ---------------------------------------------------------------------------------------


def _table(table: doc.Table, page: doc.Page, told: set[str]) -> Iterator[str]:
    """Lay a table out as rows, as its narrow form's rows or, with room for none, as cards.

    What it leaves out is said once in a document: `told` has what was.
    """
    inner = replace(page, width=page.width - table.indent)
    form: doc.Table | None = table
    laid_out = None
    while form is not None and laid_out is None:
        laid_out = _laid_out(form, inner)
        form = form.narrow
    if laid_out is None:
        laid_out = _LaidOut(
            _cards(table.columns, _body(table, range(len(table.columns)), inner), inner)
        )
    for line in laid_out.lines:
        yield f"{' ' * table.indent}{line}"
    notes = [*_cut_note(table, page), *laid_out.notes]
    yield from _notes(doc.Notes([note for note in notes if note not in told], table.indent), page)
    told.update(notes)


class _LaidOut(NamedTuple):
    """The lines of a table, and what is said under it."""

    lines: Sequence[str]
    notes: Sequence[str] = ()


def _laid_out(table: doc.Table, page: doc.Page) -> _LaidOut | None:
    """Return a table's lines; None where a figure or a word would have to be broken.

    Spare columns are left out, the last one first, until no other cell wraps.
    """
    places = [*range(len(table.columns))]
    spare = [place for place in places if table.columns[place].is_spare]
    lines = _lines_of(table, places, page, is_last_try=not spare)
    for place in reversed(spare):
        if lines is not None:
            break
        places.remove(place)
        lines = _lines_of(table, places, page, is_last_try=place == spare[0])
    if lines is None:
        return None
    left_out = ", ".join(table.columns[each].heading for each in spare if each not in places)
    note = f"a wider terminal shows: {left_out}"
    return _LaidOut(lines, [*([note] if left_out else ()), *(table.notes or ())])


def _lines_of(
    table: doc.Table, places: Sequence[int], page: doc.Page, *, is_last_try: bool
) -> list[str] | None:
    columns = [table.columns[place] for place in places]
    rows = _body(table, places, page)
    headings = [doc.Cell("" if column.is_obvious else column.heading) for column in columns]
    if table.is_even:
        return _evenly(columns, [headings, *rows], page)
    if table.is_list:
        return _listed(columns, rows, page)
    rows = [headings, *rows]
    if not is_last_try and _total(_natural(columns[:-1], rows)) > page.width:
        return None
    return _beside_or_under(columns, rows, page, is_last_try=is_last_try)


def _body(table: doc.Table, places: Sequence[int], page: doc.Page) -> list[list[doc.Cell]]:
    rows = table.rows if page.all_rows is None else table.rows[:MOST_ROWS]
    return [[_clean(row[place]) for place in places] for row in rows]


def _cut_note(table: doc.Table, page: doc.Page) -> Iterator[str]:
    if page.all_rows is not None and len(table.rows) > MOST_ROWS:
        yield f"the first {MOST_ROWS} of {len(table.rows):,} rows; all of them: {page.all_rows}"


def _clean(cell: doc.Cell | str) -> doc.Cell:
    if isinstance(cell, str):
        return doc.Cell(one_line(cell))
    return doc.Cell(one_line(cell.text), cell.style)


def _cards(columns: Columns, rows: Sequence[Cells], page: doc.Page) -> list[str]:
    """Put each row's cells under its first, each after its heading, or under it on a narrow page.

    Cells before the first column with a heading, as of a place, stand before that cell.
    """
    first = next((n for n, column in enumerate(columns) if column.heading), 0)
    indent = max(cell_len(column.heading) for column in columns) + 2 * len(GAP)
    lines: list[str] = []
    title = ""
    for row in rows:
        title = GAP.join(cell.text for cell in row[: first + 1] if cell.text) or title
        lines += ["", *(_styled(line, "bold", page) for line in _wrapped(title, page.width))]
        for column, cell in zip(columns[first + 1 :], row[first + 1 :], strict=True):
            if cell.text:
                before = f"{GAP}{column.heading:<{indent - len(GAP)}}"
                lines += _hanging(before, cell.text, page, cell.style)
    return lines[1:]


def _evenly(columns: Columns, rows: Sequence[Cells], page: doc.Page) -> list[str] | None:
    """Lay out a heading and rows; on a page that is too narrow, all text columns give way."""
    widths = _narrowed_to_words(columns, rows, page.width, LEAST_EVEN_WIDTH)
    if _total(widths) > page.width:
        return None
    lines = [line for row in rows for line in _row(row, columns, widths, page)]
    head = len([*_row(rows[0], columns, widths, page)])
    return [*lines[:head], "─" * _total(widths), *lines[head:]]


def _beside_or_under(
    columns: Columns, rows: Sequence[Cells], page: doc.Page, *, is_last_try: bool
) -> list[str] | None:
    """Lay out a heading and rows, the last column in what width is left, or under its row.

    It is beside the others unless that takes more lines; a short text goes under them only where
    no column is left to spare.
    """
    beside = _beside(columns, rows, page)
    *firsts, last = _natural(columns, rows)
    if beside is not None and last <= page.width - _total([*firsts, 0]):
        return beside
    is_text = not columns[-1].is_figure and (last > LEAST_TEXT_WIDTH or is_last_try)
    under = _under(columns, rows, page) if is_text else None
    return min((each for each in (beside, under) if each is not None), key=len, default=None)


def _beside(columns: Columns, rows: Sequence[Cells], page: doc.Page) -> list[str] | None:
    *firsts, last = _natural(columns, rows)
    indent = _total([*firsts, 0])
    least = last if columns[-1].is_figure else min(last, LEAST_TEXT_WIDTH)
    if indent + least > page.width:
        return None
    widths = [*firsts, min(last, page.width - indent)]
    head, *body = [[*_row(row, columns, widths, page)] for row in rows]
    return [
        *head,
        "─" * min(page.width, indent + last),
        *(line for lines in body for line in lines),
    ]


def _under(columns: Columns, rows: Sequence[Cells], page: doc.Page) -> list[str] | None:
    firsts = _narrowed_to_words(columns[:-1], rows, page.width)
    indent = 2 * len(GAP)
    if _total(firsts) > page.width:
        return None
    head, *body = [
        _over_last(row, columns, firsts, indent, page.width - indent, page) for row in rows
    ]
    last = _widest([row[-1].text for row in rows])
    rule = "─" * min(page.width, max(_total(firsts), indent + last))
    return [*head, rule, *(line for lines in body for line in lines)]


def _listed(columns: Columns, rows: Sequence[Cells], page: doc.Page) -> list[str] | None:
    """Lay out rows without a heading, the last column always under its row."""
    firsts = _narrowed_to_words(columns[:-1], rows, page.width)
    indent = firsts[0] + len(GAP)
    if _total(firsts) > page.width or indent + LEAST_TEXT_WIDTH > page.width:
        return None
    return [
        line
        for row in rows
        for line in _over_last(row, columns, firsts, indent, page.width - indent, page)
    ]


def _over_last(
    row: Cells, columns: Columns, widths: Sequence[int], indent: int, room: int, page: doc.Page
) -> list[str]:
    """Return a row's lines, its last cell under the others."""
    under = [
        " " * indent + _styled(line, row[-1].style, page) for line in _wrapped(row[-1].text, room)
    ]
    return [*_row(row[:-1], columns[:-1], widths, page), *(under if row[-1].text else ())]


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


def _narrowed_to_words(
    columns: Columns, rows: Sequence[Cells], room: int, least_width: int = 0
) -> list[int]:
    """Return widths that come to no more than `room`, as far as words and figures allow.

    The first row, which has the headings, wraps first: a figure is read more easily in one line.
    Before a row becomes a card, names of `SEAMS` are broken there, the longest first.
    """
    natural, bodies, words, parts = _natural(columns, rows), [], [], []
    for number, column in enumerate(columns):
        texts = [row[number].text for row in rows]
        word = _widest([piece for text in texts for piece in _pieces(text)])
        body = _widest(texts[1:])
        bodies.append(max(word, body))
        least = body if column.is_figure else min(natural[number], least_width)
        words.append(max(word, least))
        part = _widest([each for text in texts[1:] for each in SEAMS.split(text.replace(" ", "-"))])
        heading = _widest([word for text in texts[:1] for word in text.split()])
        parts.append(max(part, heading, least, min(word, LEAST_NAME_WIDTH)))
    return _narrowed(_narrowed(_narrowed(natural, bodies, room), words, room), parts, room)


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
