"""A record as one JSON document."""

import json
from typing import Any

from trnbench.reports.clean import escaped_json
from trnbench.reports.document import Page, Report


def render(report: Report[Any], of: Any, page: Page) -> str:
    """Return the document; null is unknown. A price is a text, exact to its last digit."""
    return as_text(report.record(of, page))


def as_text(record: Any) -> str:
    """Return a record as JSON that steers no terminal."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False, default=str)
    return escaped_json(text) + "\n"
