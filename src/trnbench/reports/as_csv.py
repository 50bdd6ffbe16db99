"""Rows as CSV, safe to open in a spreadsheet.

A text that a spreadsheet would take for a formula gets an apostrophe before it. Source: OWASP,
"CSV Injection", owasp.org/www-community/attacks/CSV_Injection (read 2026-11).
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from trnbench.reports.document import Kind, Page, Report, Value, one_line

FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the full-width forms, which some spreadsheets read alike."""


def render(report: Report[Any], of: Any, _page: Page) -> str:
    """Return a header and the rows; an unknown figure is an empty cell."""
    names, rows, kinds = report.rows(of)
    columns = [
        _safe_column(kind, column)
        for kind, column in zip(kinds, zip(*rows, strict=True), strict=bool(rows))
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()


def _safe_column(kind: Kind, column: Sequence[Value]) -> Sequence[Value]:
    """Return a column whose cells are safe; ints nearly always are, and there are thousands."""
    if kind not in SAFE or (kind == "int" and float not in set(map(type, column))):
        return column
    return [*map(SAFE[kind], column)]


def _whole(cell: Value) -> Value:
    return round(cell) if isinstance(cell, float) else cell


@lru_cache(maxsize=4096)  # the texts of many results are the same few
def _safe(cell: Value) -> Value:
    if cell is None:
        return None
    text = one_line(str(cell))
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


SAFE: Mapping[Kind, Callable[[Value], Value]] = {
    "int": _whole, "text": _safe, "day": _safe, "time": _safe,
}  # fmt: skip
"""How a cell of each kind becomes one that is safe; those of other kinds are."""
