"""Quantities as people read and write them; everywhere else they are in base units."""

import math
import re
from collections.abc import Iterable
from decimal import Decimal

GIB = 2**30
SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR
HOURS_PER_YEAR = 8760
"""Of 365 days."""


def significant_digits(value: float, half_width: float) -> int:
    """Count the decimals that an interval of this half-width supports: to its second digit.

    Source: statistics reference, section 6, "print more digits than the CI supports".
    """
    if half_width <= 0 or not math.isfinite(half_width):
        return 3 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))) - 1)
    return max(0, 1 - math.floor(math.log10(half_width)))


_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15}
MAX_COUNT = 1e24
"""A million times a million published trainings: more is a slip of the finger."""
_COUNT = re.compile(r"([0-9]*\.?[0-9]+(?:e[0-9]{1,3})?) ?([kmbgtp]?)", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"([0-9]*\.?[0-9]+) ?(s|min|m|h|d|w)", re.ASCII)
_DURATIONS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def read_count(text: str) -> float:
    """Read a count up to `MAX_COUNT`, as `1T`, `300B` or `2.5 M`; else raise a ValueError."""
    found = _COUNT.fullmatch(text.strip().replace(",", "").replace("_", ""))
    if found is None:
        raise ValueError("is not a count; write e.g. 1T, 300B or 15e12")
    value = float(found[1]) * _SCALES[found[2].lower()]
    if not 1 <= value <= MAX_COUNT:
        raise ValueError("is not from 1 to 1e24; write e.g. 1T, 300B or 15e12")
    return value


def read_seconds(text: str) -> float:
    """Read a duration: `30d`, `12h`, `90 min`, `45s`, `2w`; else raise a ValueError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("is not a duration; write e.g. 30d, 12h or 90min")
    return float(found[1]) * _DURATIONS[found[2]]


_FLOPS = ((1e15, " PFLOP"), (1e12, " TFLOP"), (1e9, " GFLOP"), (1e6, " MFLOP"))


def _short(value: float) -> str:
    """Write three digits, and never an exponent: 999.6 rounds to `1000`, not to `1e+03`."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _scaled(value: float, scales: Iterable[tuple[float, str]], unit: str = "") -> str:
    """Write a value in the largest scale that it reaches, else whole, in the unit."""
    for scale, suffix in scales:
        if abs(value) >= scale:
            return f"{_short(value / scale)}{suffix}"
    return f"{value:.0f}{unit}"


def say_count(value: float) -> str:
    """Write a count for people: 8030261248 is `8.03 B`."""
    return _scaled(value, ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")))


def say_weights(count: int, active: int | None) -> str:
    """Write a model's weights, and those that one token uses where they are fewer."""
    if active is None or active == count:
        return say_count(count)
    return f"{say_count(count)}, {say_count(active)} active"


def say_seconds(value: float) -> str:
    """Write a duration in the unit that leaves one to three digits before the point."""
    if value < 1e-3:
        return f"{_short(value * 1e6)} µs"
    if value < 1:
        return f"{_short(value * 1e3)} ms"
    if value < 120:
        return f"{_short(value)} s"
    if value < 2 * SECONDS_PER_HOUR:
        return f"{_short(value / 60)} min"
    if value < 72 * SECONDS_PER_HOUR:
        return f"{_short(value / SECONDS_PER_HOUR)} h"
    return f"{_short(value / (24 * SECONDS_PER_HOUR))} d"


def say_bytes(value: float) -> str:
    """Write memory in binary units, as the tools that people compare with do."""
    return _scaled(value, ((GIB, " GiB"), (2**20, " MiB"), (2**10, " KiB")), " B")


def say_bytes_per_second(value: float) -> str:
    """Write a bandwidth in decimal units, as datasheets and vendors' tools do."""
    return f"{_scaled(value, ((1e12, ' TB'), (1e9, ' GB'), (1e6, ' MB'), (1e3, ' kB')), ' B')}/s"


def say_flops_per_second(value: float) -> str:
    """Write a rate of floating-point operations: 6.67e14 is `667 TFLOP/s`."""
    if value < 1e6:
        return f"{_short(value / 1e6)} MFLOP/s"
    return f"{_scaled(value, _FLOPS)}/s"


def say_flops(value: float) -> str:
    """Write a number of floating-point operations: 5.15e10 is `51.5 GFLOP`."""
    return _scaled(value, _FLOPS, " FLOP")


def say_usd(value: float | Decimal) -> str:
    """Write dollars: with cents from $100 on, below that with three or four digits."""
    amount = float(value)
    if amount == 0 or abs(amount) >= 100:
        return f"${amount:,.2f}"
    if abs(amount) >= 0.01:
        return f"${amount:.4g}"
    return f"${Decimal(f'{amount:.3g}'):f}"  # never an exponent


def say_interval(value: float, low: float, high: float) -> str:
    """Write a point with its interval, rounded to what the interval supports."""
    digits = significant_digits(value, max(high - value, value - low))
    return f"{value:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def say_seconds_interval(value: float, low: float, high: float) -> str:
    """Write a duration and its interval in one unit, as its size asks for."""
    scale, unit = (1.0, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "µs")
    return f"{say_interval(value * scale, low * scale, high * scale)} {unit}"


def say_rate(value: float) -> str:
    """Write a rate without an interval: four digits at least, thousands set apart."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def say_usd_interval(value: float, low: float, high: float) -> str:
    """Write dollars with their interval."""
    return f"${say_interval(value, low, high)}"


def say_percent(value: float) -> str:
    """Write a part of one in percent: 0.487 is `48.7 %`."""
    return f"{100 * value:.1f} %" if abs(value) >= 0.01 else f"{100 * value:.2g} %"


def say_change(value: float) -> str:
    """Write a relative change in percent, with its sign: -0.0213 is `-2.13 %`."""
    size = abs(value)
    digits = 2 if size < 0.1 else 1 if size < 1 else 0
    return f"{round(100 * value, digits) + 0.0:+.{digits}f} %"
