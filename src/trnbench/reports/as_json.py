"""A record as one JSON document."""

import json
import re
from typing import Any

from trnbench.reports.document import Page, Report, is_steering

_BEYOND_ASCII = re.compile(r"[^\n\x20-\x7e]")


def render(report: Report[Any], of: Any, page: Page) -> str:
    """Return the document; null is unknown. A price is a text, exact to its last digit."""
    return as_text(report.record(of, page))


def as_text(record: Any) -> str:
    """Return a record as JSON; characters that would steer a terminal become JSON's escapes."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False, default=str)
    return _BEYOND_ASCII.sub(_escaped, text) + "\n"


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if is_steering(found[0]) else found[0]
