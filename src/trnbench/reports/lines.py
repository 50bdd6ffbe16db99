"""Lines of text for a terminal: broken at spaces, counted in its columns, coloured if it can."""

import textwrap

from rich.cells import cell_len, chop_cells

from trnbench.reports.document import Page


def wrapped(text: str, width: int) -> list[str]:
    """Break a text at its spaces, and a word only where it is longer than a line."""
    if len(text) == cell_len(text):
        return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    lines = [""]
    for word in text.split():
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
            continue
        for part in chop_cells(word, width):
            lines = [*lines, part] if lines[-1] else [*lines[:-1], part]
    return lines


def styled(text: str, code: int | None, page: Page) -> str:
    """Colour a text, by its ANSI code, on a page that has colours."""
    if code is None or not text or not page.is_coloured:
        return text
    return f"\x1b[{code}m{text}\x1b[0m"
