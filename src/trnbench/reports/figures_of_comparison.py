"""The figure of a comparison: every ratio with its interval beside 1."""

from trnbench.compare.metrics import COMPARABLES
from trnbench.reports import charts
from trnbench.reports import document as doc
from trnbench.reports.axes import Axis
from trnbench.reports.charts import Point
from trnbench.reports.comparison import say_ratio, say_verdict
from trnbench.reports.figures import slug
from trnbench.schema import comparison as schema
from trnbench.units import say_percent


def of_case(case: schema.CaseComparison, margin: float) -> doc.Chart | None:
    """Return a case's ratios; None where it has none."""
    points = [
        Point(
            label=_label(metric),
            x=metric.ratio.value,
            x_low=metric.ratio.low,
            x_high=metric.ratio.high,
            said=f"{say_ratio(metric.ratio)}: {say_verdict(metric)}",
            is_doubtful=metric.verdict == "cannot_tell",
        )
        for metric in case.metrics
        if metric.ratio.value is not None
    ]
    if not points:
        return None
    return charts.dots(
        name=f"comparison-{slug(case.name)}",
        title=f"CAND over BASE: {case.name}",
        sentence="Each figure of CAND over that of BASE, with its 95 % interval. An interval that "
        "has the line at 1 in it shows no difference; a change of up to "
        f"{say_percent(margin)} does not matter.",
        axis=Axis(title="CAND / BASE", format=".3~r"),
        points=points,
        mark_at=1.0,
    )


def _label(metric: schema.MetricComparison) -> str:
    comparable = COMPARABLES[metric.metric]
    return f"{comparable.label} ({metric.better} is better)"
