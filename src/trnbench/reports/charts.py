"""Figures as Vega-Lite specifications: a page draws them, and `--plots` writes them as files.

Source: vega.github.io/vega-lite/docs (read 2026-12).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from trnbench.reports import document as doc
from trnbench.reports.axes import Axis, Spec, base_title
from trnbench.schema.result import Origin
from trnbench.units import say_count

MOST_LINES = 7
"""Series of one chart: there are as many colours that the colour-blind tell apart."""

_COLOURS = [f"var(--{name})" for name in ("blue", "orange", "green", "purple", "red", "sky", "fg")]
_DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [10, 4], [1, 3]]

KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "measured": ("var(--blue)", "circle"),
    "measured, doubtful": ("var(--orange)", "triangle-up"),
    "imported": ("var(--green)", "square"),
    "imported, doubtful": ("var(--orange)", "triangle-down"),
    "published": ("var(--purple)", "diamond"),
    "estimated": ("var(--red)", "cross"),
}
"""Each kind of point with its colour and its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A figure of a chart, with its 95 % interval where it has one."""

    label: str
    x: float
    x_low: float | None = None
    x_high: float | None = None
    y: float | None = None
    y_low: float | None = None
    y_high: float | None = None
    said: str = ""
    """The figure for a reader."""
    origin: Origin = "measured"
    is_doubtful: bool = False
    is_best: bool = False
    """Of a scatter: on the frontier, which no other point beats on both axes."""

    def saying(self, said: str) -> "Point":
        """Return it with its figure for a reader."""
        return replace(self, said=said)

    @property
    def x_ends(self) -> tuple[float | None, float | None]:
        """Both ends of its interval; none where one of them is not known."""
        return _both(self.x_low, self.x_high)

    @property
    def y_ends(self) -> tuple[float | None, float | None]:
        """The same on the other axis."""
        return _both(self.y_low, self.y_high)

    @property
    def kind(self) -> str:
        """Which row of `KINDS` draws it."""
        doubtful = f"{self.origin}, doubtful"
        return doubtful if self.is_doubtful and doubtful in KINDS else self.origin


ROW, LABEL, BAR = 46, 22, 20
"""Pixels of a point with its label, of a label above bars, and of a bar."""
TOP: Final = {"field": "top", "type": "quantitative", "scale": None, "axis": None}
"""Pixels from above, counted in Python: labels and marks are no equal rows."""
ROOM = 0.25
"""Of an axis of bars, free for the figure after the longest one."""
IS_WIDE = "width > 460"
"""Whether there is room for a figure beside its label."""
LABEL_WIDTH = f"{IS_WIDE} ? width * 0.6 : width"
SILENT: Final[Mapping[str, Any]] = {"aria": False, "tooltip": None}
"""Of marks that only go with others."""


def _both(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Return both ends; none where one is unknown or infinite: no bar can be drawn."""
    if low is None or high is None or not math.isfinite(low + high):
        return (None, None)
    return (low, high)


# --- a line for each point ------------------------------------------------------------------------


def dots(
    *, name: str, title: str, sentence: str, axis: Axis, points: Sequence[Point],
    mark_at: float | None = None,
) -> doc.Chart:  # fmt: skip
    """Return points below each other on one axis, with their intervals.

    Args:
        name: of the files.
        title: of the chart.
        sentence: how to read it.
        axis: of `x`.
        points: in order, from the top.
        mark_at: where a vertical line is drawn, if one is.
    """
    data = [
        {
            "top": ROW * row, "label": doc.one_line(each.label), "x": each.x, "low": each.x_ends[0],
            "high": each.x_ends[1], "said": each.said, "kind": each.kind,
        }
        for row, each in enumerate(points)
    ]  # fmt: skip
    ends = [v for each in points for v in (each.x, *each.x_ends)]
    x = axis.of([*ends, mark_at])
    at_x = {"field": "x", **x}
    layers: list[Spec] = []
    if mark_at is not None:
        at = {"datum": mark_at / axis.per, **x}
        layers.append(_layer("rule", {"x": at}, color="var(--dim)", strokeDash=[4, 3]))
    between = {"y": TOP, "x": {"field": "low", **x}, "x2": {"field": "high"}, **_colour(points)}
    if any(each.x_ends[0] is not None for each in points):
        layer = _layer("rule", between, yOffset=30, strokeWidth=8, opacity=0.4, **SILENT)
        layers.append({**layer, "transform": [{"filter": "isValid(datum.low)"}]})
    layers += [
        _layer("point", {"y": TOP, "x": at_x, **_looks(points)}, yOffset=30, size=80),
        _text("label", {"y": TOP}, yOffset=12, x=0, align="left", limit={"expr": LABEL_WIDTH}),
        _text(
            "said", {"y": TOP}, yOffset=12, x={"expr": "width"}, align="right",
            color="var(--dim)", opacity={"expr": f"{IS_WIDE} ? 1 : 0"},
        ),
    ]  # fmt: skip
    drawing: Spec = {
        "transform": axis.to_unit("x", "low", "high"),
        "layer": layers,
        "height": ROW * len(points),
    }
    headings = {
        "label": "what",
        "x": axis.title,
        "low": "low end",
        "high": "high end",
        "kind": "is",
    }
    return _chart(name, title, sentence, headings, data, drawing, axis)


def _chart(
    name: str, title: str, sentence: str, headings: Mapping[str, str],
    data: Sequence[Mapping[str, doc.Value]], drawing: Spec, *axes: Axis,
) -> doc.Chart:  # fmt: skip
    """Leave out what no row has; figures of the table are in base units."""
    seen = {field: heading for field, heading in headings.items() if any(
        row.get(field) is not None for row in data
    )}  # fmt: skip
    titles = {axis.title: base_title(axis) for axis in axes}
    headings = {field: titles.get(heading, heading) for field, heading in seen.items()}
    return doc.Chart(
        name=name, title=title, sentence=sentence, headings=headings, data=data, drawing=drawing
    )


def _layer(mark: str, encoding: Mapping[str, Any], **properties: Any) -> Spec:
    return {"mark": {"type": mark, **properties}, "encoding": dict(encoding)}


def _text(field: str, encoding: Mapping[str, Any], **properties: Any) -> Spec:
    text = {"text": {"field": field, "type": "nominal"}}
    return _layer("text", {**encoding, **text}, baseline="middle", aria=False, **properties)


def _kinds(points: Sequence[Point]) -> list[str]:
    found = {each.kind for each in points}
    return [kind for kind in KINDS if kind in found]


def _colour(points: Sequence[Point]) -> Spec:
    kinds = _kinds(points)
    scale = {"domain": kinds, "range": [KINDS[kind][0] for kind in kinds]}
    return {"color": {"field": "kind", "type": "nominal", "scale": scale, "legend": _legend(kinds)}}


def _legend(kinds: Sequence[str]) -> Spec | None:
    is_plain = len(kinds) < 2 and [*kinds] in ([], ["measured"])
    return None if is_plain else {"title": None, "orient": "top", "symbolOpacity": 1}


def _looks(points: Sequence[Point]) -> Spec:
    """Colour and shape by kind, and what is said of a point that is pointed at or read out."""
    kinds = _kinds(points)
    scale = {"domain": kinds, "range": [KINDS[kind][1] for kind in kinds]}
    shape = {"field": "kind", "type": "nominal", "scale": scale, "legend": _legend(kinds)}
    return {**_colour(points), "shape": shape, **_told(("label", "what"), ("said", "figure"))}


def _told(*fields: tuple[str, str]) -> Spec:
    """Return what is said of a mark that is pointed at, and read out."""
    tooltip = [{"field": field, "title": title, "type": "nominal"} for field, title in fields]
    said = " + ', ' + ".join(f"datum['{field}']" for field, _ in fields)
    return {"tooltip": tooltip, "description": {"value": {"expr": said}}}


# --- two axes -------------------------------------------------------------------------------------


def scatter(
    *, name: str, title: str, sentence: str, x: Axis, y: Axis, points: Sequence[Point]
) -> doc.Chart:
    """Return points on two axes with both intervals, and the frontier of the best."""
    points = [each for each in points if each.y is not None]
    data = [
        {
            "number": number, "label": doc.one_line(each.label),
            "x": each.x, "x_low": each.x_ends[0], "x_high": each.x_ends[1],
            "y": each.y, "y_low": each.y_ends[0], "y_high": each.y_ends[1],
            "said": each.said, "kind": each.kind, "best": int(each.is_best),
        }
        for number, each in enumerate(points, 1)
    ]  # fmt: skip
    on_x = x.of(v for each in points for v in (each.x, *each.x_ends))
    on_y = y.of(v for each in points for v in (each.y, *each.y_ends))
    at_x, at_y = {"field": "x", **on_x}, {"field": "y", **on_y}
    colour = _colour(points)
    layers: list[Spec] = []
    if sum(each.is_best for each in points) > 1:
        joined = {"x": at_x, "y": at_y, "order": {"field": "x"}}
        dashed = {"color": "var(--blue)", "strokeDash": [6, 4], "strokeWidth": 1.5}
        line = _layer("line", joined, **dashed, **SILENT)
        layers.append({**line, "transform": [{"filter": "datum.best"}]})
    for axis, across, on in (("x", at_y, on_x), ("y", at_x, on_y)):
        if all(getattr(each, f"{axis}_ends")[0] is None for each in points):
            continue
        ends = {axis: {"field": f"{axis}_low", **on}, f"{axis}2": {"field": f"{axis}_high"}}
        other = {"y" if axis == "x" else "x": across}
        rule = _layer("rule", {**ends, **other, **colour}, strokeWidth=3, opacity=0.4, **SILENT)
        layers.append({**rule, "transform": [{"filter": f"isValid(datum.{axis}_low)"}]})
    layers.append(_layer("point", {"x": at_x, "y": at_y, **_looks(points)}, size=80))
    if len(points) <= MOST_NUMBERED:
        layers.append(_text("number", {"x": at_x, "y": at_y}, dx=9, dy=-9))
    headings = {
        "number": "number", "label": "what", "x": x.title, "x_low": "low", "x_high": "high",
        "y": y.title, "y_low": "low", "y_high": "high", "kind": "is",
    }  # fmt: skip
    scaled = [*x.to_unit("x", "x_low", "x_high"), *y.to_unit("y", "y_low", "y_high")]
    drawing: Spec = {"transform": scaled, "layer": layers, "height": 340}
    return _chart(name, title, sentence, headings, data, drawing, x, y)


MOST_NUMBERED = 20
"""Points that have a number in a scatter; with more each says its name when it is pointed at."""


# --- lengths --------------------------------------------------------------------------------------


def bars(
    *, name: str, title: str, sentence: str, axis: Axis,
    rows: Sequence[tuple[str, str, float, str]],
) -> doc.Chart:  # fmt: skip
    """Return lengths from zero: label, part, value, and the value for a reader.

    Parts of one label are drawn below each other, each in the colour of its name.
    """
    labels = [*dict.fromkeys(label for label, *_ in rows)]
    data: list[dict[str, doc.Value]] = [
        {
            "label": doc.one_line(label), "part": part, "x": value, "said": said,
            "top": LABEL * (labels.index(label) + 1) + BAR * row,
        }
        for row, (label, part, value, said) in enumerate(rows)
    ]  # fmt: skip
    parts = [*dict.fromkeys(part for _, part, _, _ in rows)]
    seen: set[doc.Value] = set()
    for each in data:
        each["named"] = "" if each["label"] in seen else each["label"]
        seen.add(each["label"])
    values = [value for *_, value, _ in rows]
    x = axis.of(values, is_length=True)
    x["scale"]["domainMax"] = max(values) / axis.per * (1 + ROOM)
    scale = {"domain": parts, "range": _COLOURS[: len(parts)]}
    legend = {"title": None, "orient": "top"} if len(parts) > 1 else None
    colour = {"field": "part", "type": "nominal", "scale": scale, "legend": legend}
    told = _told(("label", "what"), ("part", "part"), ("said", "figure"))
    at_x = {"field": "x", **x}
    layers = [
        _layer(
            "bar", {"y": TOP, "x": at_x, "color": colour, **told},
            orient="horizontal", yOffset=8, size=14,
        ),
        _text("named", {"y": TOP}, yOffset=-10, x=0, align="left", limit={"expr": "width"}),
        _text(
            "said", {"y": TOP, "x": at_x}, yOffset=8, align="left", dx=6, color="var(--dim)"
        ),
    ]  # fmt: skip
    headings = {"label": "what", "part": "part", "x": axis.title}
    drawing: Spec = {
        "transform": axis.to_unit("x"),
        "layer": layers,
        "height": LABEL * len(labels) + BAR * len(rows) + 4,
    }
    return _chart(name, title, sentence, headings, data, drawing, axis)


# --- series ---------------------------------------------------------------------------------------


def lines(
    *, name: str, title: str, sentence: str, x: Axis, y: Axis,
    series: Mapping[str, Sequence[tuple[float | str, float]]], is_stepped: bool = False,
    has_points: bool = False, is_time: bool = False,
) -> doc.Chart:  # fmt: skip
    """Return up to `MOST_LINES` series, which differ by colour and by dashes.

    Args:
        name: of the files.
        title: of the chart.
        sentence: how to read it.
        x: of the first figure of each pair.
        y: of the second.
        series: pairs in the order in which they are joined.
        is_stepped: a value holds until the next one.
        has_points: each pair is also drawn as a point.
        is_time: `x` are days, ISO 8601.
    """
    shown = dict([*series.items()][:MOST_LINES])
    data = [
        {"series": doc.one_line(each), "x": at, "y": value, "order": number}
        for each, pairs in shown.items()
        for number, (at, value) in enumerate(pairs)
    ]
    named = [doc.one_line(each) for each in shown]
    count = len(named)
    of_series = {"field": "series", "type": "nominal"}
    legend = {
        "title": None, "orient": "top", "direction": "vertical", "labelLimit": {"expr": "width"},
        "symbolType": "stroke", "symbolSize": 300, "symbolStrokeWidth": 2,
    }  # fmt: skip
    colour = {**of_series, "scale": {"domain": named, "range": _COLOURS[:count]}, "legend": legend}
    dash = {**of_series, "scale": {"domain": named, "range": _DASHES[:count]}, "legend": legend}
    on_x: Spec = x.of([v for pairs in shown.values() for v, _ in pairs if not isinstance(v, str)])
    if is_time:
        on_x = {
            "type": "temporal",
            "title": x.title,
            "axis": {"format": "%Y-%m-%d", "tickCount": 4},
        }
    on_y = y.of([v for pairs in shown.values() for _, v in pairs])
    at = {"x": {"field": "x", **on_x}, "y": {"field": "y", **on_y}}
    joined = {**at, "color": colour, "strokeDash": dash, "order": {"field": "order"}}
    more = {"interpolate": "step-after"} if is_stepped else {}
    layers = [_layer("line", joined, strokeWidth=1.5, aria=False, tooltip=None, **more)]
    if has_points:
        told = _told(("series", "what"), ("x", x.title), ("y", y.title))
        layers.append(_layer("point", {**at, "color": colour, **told}, size=60))
    headings = {"series": "what", "x": x.title, "y": y.title}
    scaled = [*x.to_unit("x"), *y.to_unit("y")]
    drawing: Spec = {"transform": scaled, "layer": layers, "height": 300}
    return _chart(name, title, sentence, headings, data, drawing, x, y)


# --- texts ----------------------------------------------------------------------------------------


def say_cut(count: int, most: int, which: str = "first") -> str:
    """Say which of too many are drawn; "" where all are."""
    return f" The {most} {which} of {count}." if count > most else ""


def say_ends(point: Point, say: Any = say_count) -> str:
    """Write a point's figure with its interval."""
    if point.x_low is None or point.x_high is None:
        return str(say(point.x))
    return f"{say(point.x)} [{say(point.x_low)}, {say(point.x_high)}]"
