"""Points by day, drawn with plain characters: for any terminal, and for a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

HEIGHT = 14
WIDEST = 100
"""Columns; wider than this a plot says no more."""
LEAST_WIDTH = 24
OVERLAP = "*"
SHARES_BELOW_TOP = (1.0, 0.75, 0.5, 0.25, 0.0)


@dataclass(frozen=True, slots=True)
class Points:
    """One kind of points and the one character that they are drawn with."""

    mark: str
    name: str
    at: Sequence[tuple[date, float]]


def plot_by_day(series: Sequence[Points], unit: str, page_width: int) -> str:
    """Draw points over days from the first to the last, from zero up to the highest.

    Args:
        series: with at least one point among them; values are not negative.
        unit: of the values, written above the axis.
        page_width: in columns of the terminal; below `LEAST_WIDTH` the lines run over.
    """
    days = [day for points in series for day, _ in points.at]
    first, last = min(days), max(days)
    top = max(value for points in series for _, value in points.at)
    labels = _labels(top)
    gutter = max(map(len, labels.values()))
    width = max(LEAST_WIDTH, min(page_width, WIDEST)) - gutter - 2
    span = max(1, (last - first).days)
    cells: dict[tuple[int, int], str] = {}
    for points in series:
        for day, value in points.at:
            at = (
                _rounded((1 - value / top if top else 1) * (HEIGHT - 1)),
                _rounded((day - first).days / span * (width - 1)),
            )
            cells[at] = points.mark if cells.get(at, points.mark) == points.mark else OVERLAP
    lines = [unit]
    for row in range(HEIGHT):
        drawn = "".join(cells.get((row, column), " ") for column in range(width)).rstrip()
        lines.append(f"{labels.get(row, ''):>{gutter}} |{drawn}".rstrip())
    lines.append(f"{'':>{gutter}} +{'-' * width}")
    lines += [f"{'':>{gutter}}  {line}" for line in _days(first, last, width)]
    told = {points.mark: points.name for points in series if points.at}
    if OVERLAP in cells.values():
        told[OVERLAP] = "several of these"
    lines += _legend(told, max(LEAST_WIDTH, min(page_width, WIDEST)))
    return "\n".join(lines) + "\n"


def _labels(top: float) -> dict[int, str]:
    """Return what stands beside the axis, by row."""
    digits = 0 if top >= 20 else 2
    return {
        _rounded((1 - share) * (HEIGHT - 1)): f"{share * top:,.{digits}f}"
        for share in SHARES_BELOW_TOP
    }


def _rounded(value: float) -> int:
    return int(value + 0.5)


def _days(first: date, last: date, width: int) -> list[str]:
    """Return the days below the axis: the ends, and between them what there is room for."""
    if first == last:
        return [first.isoformat()]
    if width < 23:
        return [first.isoformat(), f"to {last.isoformat()}"]
    count = max(2, min(5, width // 18))
    line = ""
    for number in range(count):
        share = number / (count - 1)
        told = date.fromordinal(_rounded(first.toordinal() + share * (last - first).days))
        start = _rounded(share * (width - 10))
        line = f"{line:<{start}}{told.isoformat()}"
    return [line]


def _legend(told: Mapping[str, str], width: int) -> list[str]:
    """Return what each mark is, as many on a line as fit."""
    lines = [""]
    for mark, name in told.items():
        each = f"{mark} {name}"
        beside = f"{lines[-1]}   {each}" if lines[-1] else each
        if len(beside) <= width:
            lines[-1] = beside
        else:
            lines.append(each)
    return lines
