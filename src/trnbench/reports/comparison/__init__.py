"""Comparisons to text: one file a format, one line here."""

from collections.abc import Mapping

from trnbench.reports.comparison import (
    as_bmf,
    as_csv,
    as_github,
    as_github_action_benchmark,
    as_json,
    as_junit,
    as_markdown,
    as_openmetrics,
    as_terminal,
)
from trnbench.reports.comparison.base import RenderComparison

COMPARISON_REPORTS: Mapping[str, RenderComparison] = {
    "terminal": as_terminal.render,
    "markdown": as_markdown.render,
    "csv": as_csv.render,
    "json": as_json.render,
    "github": as_github.render,
    "junit": as_junit.render,
    "github-action-benchmark": as_github_action_benchmark.render,
    "bmf": as_bmf.render,
    "openmetrics": as_openmetrics.render,
}
