"""What is written of results, comparisons and all else: a table of reports and of formats.

A format is one file and one line of `FORMATS`; a report is one file and one line of `REPORTS`.
"""

from collections.abc import Mapping
from typing import Any

from trnbench.reports import (
    as_csv,
    as_html,
    as_json,
    as_latex,
    as_markdown,
    as_parquet,
    as_terminal,
    as_xlsx,
)
from trnbench.reports.document import Format, Page, Report

FORMATS: dict[str, Format] = {
    "terminal": Format(as_terminal.render),
    "csv": Format(as_csv.render, ".csv"),
    "markdown": Format(as_markdown.render, ".md"),
    "html": Format(as_html.render, ".html"),
    "json": Format(as_json.render, ".json"),
    "latex": Format(as_latex.render, ".tex"),
    "parquet": Format(as_parquet.render, ".parquet", ("pandas", "pyarrow"), is_binary=True),
    "xlsx": Format(as_xlsx.render, ".xlsx", ("xlsxwriter",), is_binary=True),
}
"""Formats that every report has."""

REPORTS: Mapping[str, tuple[str, ...]] = {
    "results": (),
    "offers": (),
    "beside": (),
    "runs": (),
    "ranking": (),
    "field": (),
    "estimate": (),
    "published": (),
    "claim": (),
    "cost": (),
    "plans": (),
    "microbench": (),
    "profile": (),
    "comparison": ("github", "junit", "github-action-benchmark", "bmf", "openmetrics"),
    "noise": (),
    "tuning": (),
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


def text_formats(report: str = "results") -> tuple[str, ...]:
    """Return the names of a report's formats that are text, which a terminal can show."""
    binary = [name for name, each in FORMATS.items() if each.is_binary]
    return tuple(name for name in formats_of(report) if name not in binary)


def render(report: Report[Any], of: Any, format_: str, page: Page) -> str:
    """Return a report as text, in a format of `formats_of` that is no binary one."""
    text = written(report, of, format_, page)
    if isinstance(text, bytes):
        raise TypeError(f"{format_} is not text")
    return text


def written(report: Report[Any], of: Any, format_: str, page: Page) -> str | bytes:
    """Return a report in a format of `formats_of`."""
    if format_ in FORMATS:
        return FORMATS[format_].render(report, of, page)
    from trnbench.reports import ci

    return ci.FORMATS[format_](of, page)
