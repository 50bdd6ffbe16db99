"""The figures of cost sheets: what a training costs, and what its cost depends on."""

import math
from collections.abc import Sequence

from trnbench.cost.training import CostSheet
from trnbench.reports import axes, charts
from trnbench.reports import document as doc
from trnbench.reports.axes import Axis
from trnbench.reports.charts import Point
from trnbench.reports.figures import MOST_ROWS, names_of, slug
from trnbench.schema.result import Result
from trnbench.units import say_count, say_usd

Sheets = Sequence[tuple[Result, CostSheet]]


def of_costs(sheets: Sheets, most: int) -> list[doc.Chart]:
    """Return the range of each, and what moves each of the first `most`."""
    names = names_of([result for result, _ in sheets])
    made = [_range(sheets, names)]
    made += [_swings(name, sheet) for name, (_, sheet) in zip(names[:most], sheets, strict=False)]
    return [chart for chart in made if chart is not None]


def _range(sheets: Sheets, names: Sequence[str]) -> doc.Chart | None:
    points = []
    for name, (result, sheet) in zip(names, sheets, strict=True):
        best, expected, worst = sheet.range.best, sheet.range.expected, sheet.range.worst
        if not math.isfinite(expected.usd):
            continue
        high = worst.usd if math.isfinite(worst.usd) else None
        ends = f"{say_usd(best.usd)} to {'unbounded' if high is None else say_usd(high)}"
        points.append(
            Point(
                label=name, x=expected.usd, x_low=best.usd, x_high=high,
                said=f"{say_usd(expected.usd)}, {ends}",
                is_doubtful=result.standing == "doubtful",
            )
        )  # fmt: skip
    if not points:
        return None
    tokens = say_count(sheets[0][1].job.tokens)
    return charts.dots(
        name="cost",
        title=f"Cost of training {tokens} tokens",
        sentence="Expected, and from the upper end of the speed's interval with half the failures "
        "to its lower end with twice the failures; left is cheaper.",
        axis=Axis(title="dollars", format="$.3~s"),
        points=points[:MOST_ROWS],
    )


def _swings(name: str, sheet: CostSheet) -> doc.Chart | None:
    points = [
        Point(label=f"{swing.what}: {setting}", x=usd, said=say_usd(usd))
        for swing in sheet.swings
        for setting, usd in swing.settings
        if math.isfinite(usd)
    ]
    today = sheet.result.metrics["usd_per_million_tokens"].value
    if not points or today is None:
        return None
    return charts.dots(
        name=f"sensitivity-{slug(name)}",
        title=f"What the cost depends on: {name}",
        sentence="Dollars per million tokens if one thing alone were different, what moves it "
        "most first; the line is the measured cost, without failures.",
        axis=axes.USD_PER_MILLION,
        points=points,
        mark_at=today,
    )
