"""What is written of results, comparisons and all else: a table of reports and of formats.

A format is one file and one line of `FORMATS`; a report is one file and one line of `REPORTS`.
"""

from collections.abc import Mapping
from typing import Any

from trnbench.reports import as_csv, as_html, as_json, as_markdown, as_terminal
from trnbench.reports.document import Format, Page, Report

FORMATS: dict[str, Format] = {
    "terminal": as_terminal.render,
    "csv": as_csv.render,
    "markdown": as_markdown.render,
    "html": as_html.render,
    "json": as_json.render,
}
"""Formats that every report has."""

REPORTS: Mapping[str, tuple[str, ...]] = {
    "results": (),
    "results:OFFERS": (),
    "beside": (),
    "runs": (),
    "ranking": (),
    "field": (),
    "published": (),
    "claim": (),
    "cost": (),
    "plans": (),
    "microbench": (),
    "profile": (),
    "comparison": ("github", "junit", "github-action-benchmark", "bmf", "openmetrics"),
    "noise": (),
    "models": (),
    "prices": (),
    "prices:LIVE": (),
    "prices:HISTORY": (),
    "inspection": (),
}
"""Each report by its module, with its name where that is not REPORT, and the formats that it alone
has, of `ci.FORMATS`."""


def formats_of(report: str) -> tuple[str, ...]:
    """Return the names of a report's formats."""
    return (*FORMATS, *REPORTS[report])


def render(report: Report[Any], of: Any, format_: str, page: Page) -> str:
    """Return a report as text in a format of `formats_of`."""
    if format_ in FORMATS:
        return FORMATS[format_](report, of, page)
    from trnbench.reports import ci

    return ci.FORMATS[format_](of, page)
