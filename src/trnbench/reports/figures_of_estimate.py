"""The figure of an estimate: dollars against days of each choice of machines."""

from collections.abc import Callable, Sequence

from trnbench.estimate.training import TrainingEstimate
from trnbench.reports import charts
from trnbench.reports import document as doc
from trnbench.reports.axes import Axis
from trnbench.reports.charts import Point
from trnbench.units import SECONDS_PER_DAY, say_seconds, say_usd

MOST_DRAWN = 40


def cost_against_time(
    estimates: Sequence[TrainingEstimate], name: Callable[[TrainingEstimate], str]
) -> doc.Chart | None:
    """Return each choice that has a price and data; None with fewer than two."""
    known = [
        (each, each.offers[0].cost, each.seconds[1])
        for each in estimates[:MOST_DRAWN]
        if each.offers and each.step.has_data
    ]
    places = [(seconds, cost.expected.usd) for _, cost, seconds in known if seconds is not None]
    points = [
        Point(
            label=name(each),
            x=seconds / SECONDS_PER_DAY,
            x_low=each.seconds[0] / SECONDS_PER_DAY,
            x_high=None if each.seconds[2] is None else each.seconds[2] / SECONDS_PER_DAY,
            y=cost.expected.usd,
            y_low=cost.best.usd,
            y_high=cost.worst.usd,
            said=f"{say_usd(cost.expected.usd)} in {say_seconds(seconds)}",
            origin="estimated",
            is_best=not any(
                other != (seconds, cost.expected.usd)
                and other[0] <= seconds
                and other[1] <= cost.expected.usd
                for other in places
            ),
        )
        for each, cost, seconds in known
        if seconds is not None
    ]
    if len(points) < 2:
        return None
    return charts.scatter(
        name="cost-against-time",
        title="Cost against time",
        sentence="Dollars against days of the whole training, estimated, never run; bars are "
        "the ranges of the table. Lower is cheaper, left is sooner. The dashed line joins those "
        f"that no other beats on both.{charts.say_cut(len(estimates), MOST_DRAWN)}",
        x=Axis(title="days", format=",.3~r"),
        y=Axis(title="dollars", format="$.3~s"),
        points=points,
    )
