"""An axis of a figure: its title and unit, its ticks, and whether it is logarithmic."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""A part of a Vega-Lite specification."""

LOGARITHMIC_FROM = 8.0
"""Highest figure over lowest from which an axis is logarithmic."""
FROM_ZERO_FROM = 1.5
"""Highest figure over lowest from which a linear axis of points begins at zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A figure's name and unit, and how its ticks are written."""

    title: str
    per: float = 1.0
    """Base units in the unit of the ticks: 0.001 where they are milliseconds."""
    format: str = "~s"
    """Of D3: github.com/d3/d3-format."""
    is_logarithmic: bool | None = None
    """None: where the figures are far apart."""

    def of(self, values: Iterable[float | None], *, is_length: bool = False) -> Spec:
        """Return title, ticks and scale for these values; lengths are measured from zero."""
        known = [each / self.per for each in values if each is not None and math.isfinite(each)]
        low, high = min(known, default=0.0), max(known, default=1.0)
        label = f"replace(format(datum.value, '{self.format}'), 'G', 'B')"
        axis: Spec = {"labelExpr": label, "labelOverlap": "greedy", "tickCount": 5}
        is_log = self.is_logarithmic
        if is_log is None:
            is_log = not is_length and low > 0 and high / low >= LOGARITHMIC_FROM
        if is_log:
            ticks = logarithmic_ticks(low, high)
            axis["values"] = ticks
            ends = [min(low, ticks[0]), max(high, ticks[-1])]
            scale: Spec = {"type": "log", "domain": ends, "nice": False}
        else:
            is_near = low > 0 and high / low < FROM_ZERO_FROM
            scale = {"zero": is_length or not is_near, "nice": True}
        return {"type": "quantitative", "title": self.title, "axis": axis, "scale": scale}

    def to_unit(self, *fields: str) -> list[Spec]:
        """Return what turns fields from base units into the axis's, so that its ticks are round."""
        if self.per == 1.0:
            return []
        return [
            {"calculate": f"isValid(datum['{f}']) ? datum['{f}'] / {self.per!r} : null", "as": f}
            for f in fields
        ]


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten around both, or 1, 2 and 5 of each over less than two decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    found = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    least = max((each for each in found if each <= low), default=found[0])
    most = min((each for each in found if each >= high), default=found[-1])
    return [each for each in found if least <= each <= most]


SPEED = Axis(title="tokens/s")
USD_PER_MILLION = Axis(title="$ per million tokens", format="$.3~r")


def seconds_axis(title: str, values: Iterable[float | None]) -> Axis:
    """Return an axis of times in the unit that fits them."""
    highest = max((each for each in values if each is not None), default=1.0)
    for per, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")):
        if highest >= per * (2 if per > 1 else 1):
            return Axis(title=f"{title}, {unit}", per=per, format=",.3~r")
    return Axis(title=f"{title}, µs", per=1e-6, format=",.3~r")


def bytes_axis(title: str, values: Iterable[float]) -> Axis:
    """Return an axis of sizes in the unit that fits them."""
    per, unit = (2.0**30, "GiB") if max(values, default=0.0) >= 2.0**30 else (2.0**20, "MiB")
    return Axis(title=f"{title}, {unit}", per=per, format=",.3~r")


def base_title(axis: Axis) -> str:
    """Return an axis's title with its base unit."""
    if axis.per == 1.0:
        return axis.title
    what, _, unit = axis.title.rpartition(", ")
    return f"{what}, {'bytes' if unit.endswith('iB') else 's'}"
