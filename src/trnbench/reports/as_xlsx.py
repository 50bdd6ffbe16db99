"""Rows as a workbook of Excel's: numbers are numbers, and no text is ever a formula or a link.

Source: Microsoft, "Excel specifications and limits" (read 2026-12): 1,048,576 rows, 32,767
characters in a cell; and a number has 15 digits, as IEEE 754 gives them.
"""

import io
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from trnbench.errors import ConfigError
from trnbench.reports.document import Kind, Page, Report, Rows, Value, one_line
from trnbench.reports.extras import require

MOST_ROWS = 1_048_575
"""Below the header."""
MOST_CHARACTERS = 32_767
CUT = " … (cut: a cell holds no more; CSV and Parquet have all of it)"
MOST_EXACT = 2**53

OPTIONS = {
    "in_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
WIDEST, NARROWEST = 40, 8
"""Characters of a column."""


def render(report: Report[Any], of: Any, _page: Page) -> bytes:
    """Return a workbook of one sheet, its header in view; what is not known is an empty cell.

    Raises:
        ConfigError: there are more rows than a sheet has.
    """
    xlsxwriter = require("xlsxwriter")
    found = report.rows(of)
    if len(found.rows) > MOST_ROWS:
        raise ConfigError(
            f"--format xlsx: has no room for {len(found.rows):,} rows; a sheet has {MOST_ROWS:,}",
            hint="use --format csv or --format parquet",
        )
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, OPTIONS) as book:
        sheet = book.add_worksheet(report.title[:31])
        _fill(sheet, found, _writers(book, sheet))
        heading = book.add_format({"bold": True})
        for place, name in enumerate(found.names):
            sheet.write_string(0, place, name, heading)
        sheet.freeze_panes(1, 0)
        if found.names:
            sheet.autofilter(0, 0, len(found.rows), len(found.names) - 1)
    return file.getvalue()


Writer = Callable[[int, int, Any], object]
"""Writes a value into a row and a column."""


def _fill(sheet: Any, found: Rows, writers: Mapping[Kind, Writer]) -> None:
    for place, (name, kind) in enumerate(zip(found.names, found.kinds, strict=True)):
        write, widest = writers[kind], len(name)
        for line, row in enumerate(found.rows, start=1):
            cell = row[place]
            if cell is not None:
                write(line, place, cell)
                widest = max(widest, len(str(cell)))
        sheet.set_column(place, place, min(WIDEST, max(NARROWEST, widest + 2)))


def _writers(book: Any, sheet: Any) -> Mapping[Kind, Writer]:
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})

    def write_text(line: int, place: int, text: Value) -> None:
        sheet.write_string(line, place, _fitting(one_line(str(text))))

    def write_whole(line: int, place: int, number: float) -> None:
        whole = round(number)
        if abs(whole) > MOST_EXACT:  # as a number its last digits would be others
            write_text(line, place, str(whole))
        else:
            sheet.write_number(line, place, whole)

    def write_day(line: int, place: int, text: str) -> None:
        sheet.write_datetime(line, place, date.fromisoformat(text), day)

    def write_time(line: int, place: int, text: str) -> None:
        moment = datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
        sheet.write_datetime(line, place, moment, time)

    return {
        "text": write_text,
        "int": write_whole,
        "float": sheet.write_number,
        "flag": sheet.write_boolean,
        "day": write_day,
        "time": write_time,
    }


def _fitting(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return text[: MOST_CHARACTERS - len(CUT)] + CUT
