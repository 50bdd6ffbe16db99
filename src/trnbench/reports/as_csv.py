"""Rows as CSV, safe to open in a spreadsheet.

A text that a spreadsheet would take for a formula gets an apostrophe before it. Source: OWASP,
"CSV Injection", owasp.org/www-community/attacks/CSV_Injection (read 2026-11).
"""

import csv
import io
from typing import Any

from trnbench.reports.document import Page, Report, Value, one_line

FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the full-width forms, which some spreadsheets read alike."""


def render(report: Report[Any], of: Any, _page: Page) -> str:
    """Return a header and the rows; an unknown figure is an empty cell."""
    names, rows = report.rows(of)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    whole = ["_bytes" in name for name in names]
    writer.writerows(
        [
            _safe(round(cell) if is_whole and isinstance(cell, float) else cell)
            for is_whole, cell in zip(whole, row, strict=True)
        ]
        for row in rows
    )
    return text.getvalue()


def _safe(cell: Value) -> Value:
    if not isinstance(cell, str):
        return cell
    text = one_line(cell)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
