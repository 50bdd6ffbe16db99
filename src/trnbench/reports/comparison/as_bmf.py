"""CAND's figures in Bencher Metric Format, for a tracker that keeps them over time.

Source: Bencher, "Bencher Metric Format (BMF)", bencher.dev/docs/reference/bencher-metric-format
and its JSON Schema, bencher.dev/bmf.json (read 2026-11): benchmark, measure, and a value with a
lower and an upper one. A figure that is not known is left out; the format has no null.
"""

import json

from trnbench.reports.base import Page
from trnbench.reports.clean import escaped_json
from trnbench.schema.comparison import Comparison, SideValue


def render(comparison: Comparison, _page: Page) -> str:
    """Return a document of each case's measures."""
    document = {
        case.name: {
            metric.metric: _metric(metric.cand)
            for metric in case.metrics
            if metric.cand.value is not None
        }
        for case in comparison.cases
    }
    known = {name: measures for name, measures in document.items() if measures}
    text = json.dumps(known, indent=1, ensure_ascii=False, allow_nan=False)
    return escaped_json(text) + "\n"


def _metric(side: SideValue) -> dict[str, float | None]:
    found = {"value": side.value, "lower_value": side.low, "upper_value": side.high}
    return {name: value for name, value in found.items() if value is not None}
