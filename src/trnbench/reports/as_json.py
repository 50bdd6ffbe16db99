"""Results as one JSON document: the columns of each, and its checks in full."""

import json
from collections.abc import Sequence

from trnbench import __version__
from trnbench.cost.break_even import fairness_notes
from trnbench.reports.base import Page
from trnbench.reports.clean import escaped_json
from trnbench.reports.columns import row
from trnbench.schema.result import Result

REPORT_VERSION = 1


def render(results: Sequence[Result], page: Page) -> str:
    """Return the document; null is unknown, and a `…_reason` beside it says why."""
    document = {
        "report_version": REPORT_VERSION,
        "trnbench_version": __version__,
        "notes": fairness_notes([r.price for r in results], page.today) if page.today else [],
        "results": [
            {
                **row(result),
                "reasons": {
                    name: metric.reason for name, metric in result.metrics.items() if metric.reason
                },
                "checks": [check.model_dump() for check in result.checks],
            }
            for result in results
        ],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return escaped_json(text) + "\n"
