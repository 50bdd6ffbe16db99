"""A chart as an SVG drawing inside a page; its colours are those of the page's style sheet."""

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from html import escape

from trnbench.reports import document as doc
from trnbench.units import say_rate

WIDTH, HEIGHT = 640, 420
LABEL_LETTERS = 52
"""Of one line of a label; on a phone the letters are larger."""
MOST_NUMBERED = 20
"""With more points they have no number; each says its name when it is pointed at."""
LOGARITHMIC_FROM = 8.0
"""Highest figure over lowest from which an axis is logarithmic."""

Scale = Callable[[float], float]


def figure(chart: doc.Chart) -> str:
    """Return a chart with its caption; of two axes, also the names of its numbered points."""
    is_scatter = chart.y_title is not None
    drawing = _scatter(chart) if is_scatter else _lines(chart)
    keys = ""
    if is_scatter and len(chart.points) <= MOST_NUMBERED:
        items = "".join(f"<li>{_text(point.label)}</li>" for point in chart.points)
        keys = f'\n<ol class="notes">{items}</ol>'
    return (
        f"<figure>\n<figcaption><b>{_text(chart.title)}</b> {_text(chart.sentence)}</figcaption>\n"
        f"{drawing}{keys}\n</figure>"
    )


def _text(text: str) -> str:
    return escape(doc.one_line(text))


def _svg(title: str, height: float, shapes: Sequence[str]) -> str:
    body = "\n".join(shapes)
    label = f'role="img" aria-label="{_text(title)}"'
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" {label}>\n{body}\n</svg>'


# --- a line for each point ------------------------------------------------------------------------


def _lines(chart: doc.Chart) -> str:
    highest = max((max(point.x, point.x_high or 0.0) for point in chart.points), default=1.0)
    ticks = linear_ticks(0.0, highest)
    x = _linear(0.0, max(highest, ticks[-1]), 8, WIDTH - 250)
    shapes: list[str] = []
    top = 0.0
    for point in chart.points:
        label = textwrap.wrap(doc.one_line(point.label), LABEL_LETTERS)
        for line in label:
            top += 24
            shapes.append(f'<text x="8" y="{top:g}">{escape(line)}</text>')
        top += 18
        shapes += _line(point, x, top)
        top += 14
    axis = [
        f'<path class="axis" d="M{x(tick):.1f} 4V{top:g}"/>'
        f'<text class="dim" x="{x(tick):.1f}" y="{top + 22:g}" text-anchor="{_anchor(n)}">'
        f"{say_rate(tick)}</text>"
        for n, tick in enumerate(ticks)
    ]
    title = f'<text class="dim" x="8" y="{top + 50:g}">{_text(chart.x_title)}</text>'
    return _svg(chart.title, top + 60, [*axis, *shapes, title])


def _anchor(number: int) -> str:
    return "middle" if number else "start"


def _line(point: doc.Point, x: Scale, y: float) -> Iterator[str]:
    said = say_rate(point.x)
    if point.x_low is not None and point.x_high is not None:
        said += f" [{say_rate(point.x_low)}, {say_rate(point.x_high)}]"
        yield _whisker(x(point.x_low), y, x(point.x_high), y)
    yield _mark(point, x(point.x), y, f"{point.label}: {said}")
    yield f'<text class="spare dim" x="{WIDTH - 215}" y="{y + 5:g}">{said}</text>'


# --- two axes -------------------------------------------------------------------------------------


def _scatter(chart: doc.Chart) -> str:
    points = [point for point in chart.points if point.y is not None]
    left, right, top, bottom = 90.0, WIDTH - 50.0, 20.0, HEIGHT - 70.0
    x, x_ticks = _axis([(p.x, p.x_low, p.x_high) for p in points], left, right)
    y, y_ticks = _axis([(p.y or 0.0, p.y_low, p.y_high) for p in points], bottom, top)
    shapes = [
        f'<path class="axis" d="M{left:g} {y(tick):.1f}H{right:g}"/>'
        f'<text class="dim" x="{left - 8:g}" y="{y(tick) + 5:.1f}" text-anchor="end">'
        f"{tick:g}</text>"
        for tick in y_ticks
    ]
    shapes += [
        f'<path class="axis" d="M{x(tick):.1f} {top:g}V{bottom:g}"/><text class="dim" '
        f'x="{x(tick):.1f}" y="{bottom + 24:g}" text-anchor="middle">{say_rate(tick)}</text>'
        for tick in x_ticks
    ]
    best = sorted((point for point in points if point.is_best), key=lambda point: point.x)
    if len(best) > 1:
        steps = "L".join(f"{x(p.x):.1f} {y(p.y or 0.0):.1f}" for p in best)
        shapes.append(f'<path class="frontier" d="M{steps}"/>')
    for number, point in enumerate(points, 1):
        shapes += _point(point, number, x, y, is_numbered=len(points) <= MOST_NUMBERED)
    shapes += [
        f'<text class="dim" x="{right:g}" y="{HEIGHT - 12}" text-anchor="end">'
        f"{_text(chart.x_title)}</text>",
        f'<text class="dim" x="4" y="{HEIGHT - 12}">↑ {_text(chart.y_title or "")}</text>',
    ]
    return _svg(chart.title, HEIGHT, shapes)


def _point(
    point: doc.Point, number: int, x: Scale, y: Scale, *, is_numbered: bool
) -> Iterator[str]:
    at_x, at_y = x(point.x), y(point.y or 0.0)
    if point.x_low is not None and point.x_high is not None:
        yield _whisker(x(point.x_low), at_y, x(point.x_high), at_y)
    if point.y_low is not None and point.y_high is not None:
        yield _whisker(at_x, y(point.y_low), at_x, y(point.y_high))
    said = f"{point.label}: {say_rate(point.x)}, {point.y:.4g}"
    yield _mark(point, at_x, at_y, said, is_weak=not point.is_best)
    if is_numbered:
        yield f'<text x="{at_x + 9:.1f}" y="{at_y - 8:.1f}">{number}</text>'


def _axis(
    values: Sequence[tuple[float, float | None, float | None]], start: float, end: float
) -> tuple[Scale, list[float]]:
    """Return a scale over values with their intervals, and its ticks."""
    found = [each for value in values for each in value if each is not None]
    low, high = min(found), max(found)
    if low > 0 and high / low >= LOGARITHMIC_FROM:
        ticks = logarithmic_ticks(low, high)
        to_log = _linear(math.log(min(low, ticks[0])), math.log(max(high, ticks[-1])), start, end)
        return lambda value: to_log(math.log(value)), ticks
    ticks = linear_ticks(0.0, high)
    return _linear(0.0, max(high, ticks[-1]), start, end), ticks


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    span = high - low or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def linear_ticks(low: float, high: float) -> list[float]:
    """Return three to six round figures from `low` to `high` or just above it."""
    if not high > low:
        return [low, low + 1.0]
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    count = math.ceil((high - low) / step - 1e-9)
    return [low + step * number for number in range(count + 1)]


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten around both, or 1, 2 and 5 of each over less than two decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    found = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    least = max((each for each in found if each <= low), default=found[0])
    most = min((each for each in found if each >= high), default=found[-1])
    return [each for each in found if least <= each <= most]


# --- marks ----------------------------------------------------------------------------------------


def _whisker(x1: float, y1: float, x2: float, y2: float) -> str:
    """Draw an interval; its ends are bars across it."""
    dx, dy = (0.0, 5.0) if y1 == y2 else (5.0, 0.0)
    ends = "".join(
        f"M{x - dx:.1f} {y - dy:.1f}L{x + dx:.1f} {y + dy:.1f}" for x, y in ((x1, y1), (x2, y2))
    )
    return f'<path class="whisker" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}{ends}"/>'


def _mark(point: doc.Point, x: float, y: float, said: str, *, is_weak: bool = False) -> str:
    """Draw a dot, hollow where it is beaten; a triangle where the result is in doubt."""
    title = f"<title>{_text(said)}</title>"
    if point.style == "doubtful":
        return f'<path class="doubt" d="M{x:.1f} {y - 7:.1f}l7 12h-14z">{title}</path>'
    kind = "weak" if is_weak else "mark"
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5">{title}</circle>'
