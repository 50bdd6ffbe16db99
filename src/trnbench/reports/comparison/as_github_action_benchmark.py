"""CAND's figures for benchmark-action/github-action-benchmark, as `customSmallerIsBetter`.

A file of that action's is of figures that are all better smaller, or all better larger. These are
the ones that are better smaller: the time of a step says what tokens a second would, turned over.

Source: the action's README, "customSmallerIsBetter", and the type `BenchmarkResult` of its
`src/extract.ts` (read 2026-11): name, unit and value, with `range` and `extra` as texts.
"""

import json

from trnbench.compare.metrics import COMPARABLES, Unit
from trnbench.reports.clean import escaped_json
from trnbench.reports.comparison.view import say_launches, say_ratio, say_verdict
from trnbench.reports.document import Page
from trnbench.schema.comparison import CaseComparison, Comparison, MetricComparison

UNITS: dict[Unit, str] = {"seconds": "s", "bytes": "bytes", "usd": "USD", "tokens": "tokens"}


def render(comparison: Comparison, _page: Page) -> str:
    """Return a list of entries, one for each figure of CAND's that is better smaller."""
    entries = [
        _entry(case, metric)
        for case in comparison.cases
        for metric in case.metrics
        if metric.better == "lower" and metric.cand.value is not None
    ]
    text = json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False)
    return escaped_json(text) + "\n"


def _entry(case: CaseComparison, metric: MetricComparison) -> dict[str, str | float | None]:
    side = metric.cand
    entry: dict[str, str | float | None] = {
        "name": f"{case.name}: {metric.metric}",
        "unit": UNITS[COMPARABLES[metric.metric].unit],
        "value": side.value,
        "extra": f"CAND / BASE {say_ratio(metric.ratio)}: {say_verdict(metric)}\n"
        f"{say_launches(case.cand)}",
    }
    if side.low is not None and side.high is not None:
        entry["range"] = f"± {(side.high - side.low) / 2:.6g}"
    return entry
