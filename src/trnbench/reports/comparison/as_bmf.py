"""CAND's figures in Bencher Metric Format, for a tracker that keeps them over time.

Source: Bencher, "Bencher Metric Format (BMF)", bencher.dev/docs/reference/bencher-metric-format
and its JSON Schema, bencher.dev/bmf.json (read 2026-11): benchmark, measure, and a value with a
lower and an upper one. A figure that is not known is left out; the format has no null. How many
launches are doubtful, and how many are of no use, are measures too: it has no place for a state.
"""

import json

from trnbench.reports.clean import escaped_json
from trnbench.reports.document import Page
from trnbench.schema.comparison import ComparedSide, Comparison, SideValue


def render(comparison: Comparison, _page: Page) -> str:
    """Return a document of each case's measures."""
    document = {
        case.name: {
            metric.metric: _metric(metric.cand)
            for metric in case.metrics
            if metric.cand.value is not None
        }
        | _standings(case.cand)
        for case in comparison.cases
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return escaped_json(text) + "\n"


def _standings(side: ComparedSide) -> dict[str, dict[str, float | None]]:
    doubtful = sum(launch.standing == "doubtful" for launch in side.launches)
    unusable = len(side.launches) - side.used
    return {"doubtful_launches": {"value": doubtful}, "unusable_launches": {"value": unusable}}


def _metric(side: SideValue) -> dict[str, float | None]:
    found = {"value": side.value, "lower_value": side.low, "upper_value": side.high}
    return {name: value for name, value in found.items() if value is not None}
