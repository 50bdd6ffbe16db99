"""Results to text: one file a format, one line here."""

from collections.abc import Mapping

from trnbench.reports import as_csv, as_json, as_markdown, as_terminal
from trnbench.reports.base import Render

REPORTS: Mapping[str, Render] = {
    "terminal": as_terminal.render,
    "csv": as_csv.render,
    "markdown": as_markdown.render,
    "json": as_json.render,
}
