"""Results as Markdown: a table, and under it what must be read beside it."""

from collections.abc import Sequence

from trnbench.reports.base import Page
from trnbench.reports.clean import one_line
from trnbench.reports.view import HEADINGS, lines_of, notes_of
from trnbench.schema.result import Result


def render(results: Sequence[Result], page: Page) -> str:
    """Return a GitHub-flavoured table and a list of notes."""
    rows = [_row(HEADINGS), "|---|---|--:|--:|--:|--:|---|--:|---|"]
    rows += [_row(line.cells) for line in lines_of(results)]
    notes = [f"- {escaped(note)}" for note in notes_of(results, page.today)]
    return "\n".join([*rows, "", *notes]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"


def escaped(text: str) -> str:
    """Return a text of another's file so that none of it is read as markup."""
    text = one_line(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for character in "|`*_[]$~":
        text = text.replace(character, f"\\{character}")
    return text
