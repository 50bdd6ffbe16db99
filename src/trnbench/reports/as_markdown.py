"""Results as Markdown: a table, and under it what must be read beside it."""

from collections.abc import Sequence

from trnbench.reports.base import Page
from trnbench.reports.clean import escaped_markdown
from trnbench.reports.view import HEADINGS, lines_of, notes_of
from trnbench.schema.result import Result


def render(results: Sequence[Result], page: Page) -> str:
    """Return a GitHub-flavoured table and a list of notes."""
    rows = [_row(HEADINGS), "|---|---|--:|--:|--:|--:|---|--:|---|"]
    rows += [_row(line.cells) for line in lines_of(results)]
    notes = [f"- {escaped_markdown(note)}" for note in notes_of(results, page.today)]
    return "\n".join([*rows, "", *notes]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escaped_markdown(cell) for cell in cells)} |"
