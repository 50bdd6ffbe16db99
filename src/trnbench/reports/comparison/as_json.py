"""A comparison as one JSON document: the record itself, of which `trnbench schema` has the form."""

import json

from trnbench.reports.clean import escaped_json
from trnbench.reports.document import Page
from trnbench.schema.comparison import Comparison


def render(comparison: Comparison, _page: Page) -> str:
    """Return the document; null is unknown, and a `reason` beside it says why."""
    document = comparison.model_dump(mode="json")
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return escaped_json(text) + "\n"
