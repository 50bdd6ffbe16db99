"""Results as CSV: one row each, all columns, safe to open in a spreadsheet.

A text that a spreadsheet would take for a formula gets an apostrophe before it. Source: OWASP,
"CSV Injection", owasp.org/www-community/attacks/CSV_Injection (read 2026-11).
"""

import csv
import io
from collections.abc import Sequence

from trnbench.reports.base import Page
from trnbench.reports.clean import one_line
from trnbench.reports.columns import COLUMNS, Cell, row
from trnbench.schema.result import Result

FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the full-width forms, which some spreadsheets read alike."""


def render(results: Sequence[Result], _page: Page) -> str:
    """Return a header and a row for each result; an unknown figure is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in COLUMNS])
    for result in results:
        writer.writerow([safe(cell) for cell in row(result).values()])
    return text.getvalue()


def safe(cell: Cell) -> Cell:
    """Return a cell that no spreadsheet takes for a formula."""
    if not isinstance(cell, str):
        return cell
    text = one_line(cell)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
