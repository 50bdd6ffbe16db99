"""Rows as Parquet: every column with the type of `reports/frame.py`, and every digit."""

import io
from typing import Any

from trnbench.reports.document import Page, Report
from trnbench.reports.frame import frame_of


def render(report: Report[Any], of: Any, _page: Page) -> bytes:
    """Return a file that pandas, polars, DuckDB and Spark read; what is not known is null."""
    file = io.BytesIO()
    frame_of(report.rows(of)).to_parquet(file, engine="pyarrow", compression="zstd", index=False)
    return file.getvalue()
