"""A chart's whole specification, and the look that all charts have; colours are the page's."""

import math
from collections.abc import Mapping
from typing import Any, Final

from trnbench.reports import document as doc
from trnbench.reports.axes import Spec
from trnbench.reports.charts import MOST_NUMBERED

CONFIG: Final[Mapping[str, Any]] = {
    "background": None,
    "font": "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--dim)", "titleColor": "var(--dim)", "gridColor": "var(--line)",
        "domainColor": "var(--line)", "tickColor": "var(--line)", "labelFontSize": 12,
        "titleFontSize": 13, "titleFontWeight": "normal",
    },
    "legend": {"labelColor": "var(--fg)", "labelFontSize": 12, "symbolSize": 90},
    "text": {"color": "var(--fg)", "fontSize": 12.5},
    "rule": {"color": "var(--fg)"},
    "point": {"filled": True, "opacity": 1},
    "title": {"color": "var(--fg)", "subtitleColor": "var(--dim)"},
}  # fmt: skip


def specification(chart: doc.Chart) -> Spec:
    """Return the whole specification but for width and config."""
    values = [{name: _finite(value) for name, value in row.items()} for row in chart.data]
    return {"data": {"values": values}, **chart.drawing}


def _finite(value: doc.Value) -> doc.Value:
    """Return a figure; None where it is infinite, which JSON cannot say and nothing can draw."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def keys_of(chart: doc.Chart) -> list[tuple[doc.Value, str]]:
    """Return the numbers that a chart's points have in it, with their names."""
    if len(chart.data) > MOST_NUMBERED:
        return []
    return [(each["number"], str(each["label"])) for each in chart.data if "number" in each]
