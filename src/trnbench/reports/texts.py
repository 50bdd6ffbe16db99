"""Texts that several reports have: figures with intervals, numbers of things, prices, notes."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from trnbench import units
from trnbench.reports.document import UNKNOWN
from trnbench.schema.price import Price


class Writer(NamedTuple):
    """How figures of one kind are written: alone, and with the ends of an interval."""

    alone: Callable[[float], str]
    interval: Callable[[float, float, float], str]


RATE = Writer(units.say_rate, units.say_interval)
SECONDS = Writer(units.say_seconds, units.say_seconds_interval)
USD = Writer(units.say_usd, units.say_usd_interval)


def say_or_unknown(value: float | None, say: Callable[[float], str]) -> str:
    """Write a figure, or the mark of one that is not known."""
    return UNKNOWN if value is None else say(value)


def say_estimate(
    value: float | None, low: float | None, high: float | None, write: Writer, *, without: str = ""
) -> str:
    """Write a figure with its 95 % interval, or with the text `without` where it has none."""
    if value is None:
        return UNKNOWN
    if low is None or high is None:
        return f"{write.alone(value)}{without}"
    return write.interval(value, low, high)


def say_margin(
    value: float | None, low: float | None, high: float | None, write: Writer, *, without: str = ""
) -> str:
    """Write a figure with the farther end of its 95 % interval as a part of it: `20,480 ±1.0 %`."""
    if value is None:
        return UNKNOWN
    if low is None or high is None or value <= 0:
        return f"{write.alone(value)}{without}"
    return f"{write.alone(value)} ±{units.say_percent(max(high - value, value - low) / value)}"


def plural(count: int, noun: str) -> str:
    """Write a number of things: `1 pass`, `3 passes`."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "ch")) else "s"
    return f"{count} {noun}{ending}"


def price_terms(price: Price) -> list[str]:
    """Return what a rate is for: instance, option, place and day, as far as they are known."""
    terms = (price.instance, price.option, price.zone or price.region, price.date.isoformat())
    return [term for term in terms if term]


def with_advice(text: str, advice: str | None) -> str:
    """Return a finding with what to do about it."""
    return f"{text} → {advice}" if advice else text


class Numbered(NamedTuple):
    """Notes, of which the first have numbers, and for each row the numbers of its notes."""

    texts: list[str]
    numbered: int
    marks: list[str]


def number_notes(said: Iterable[tuple[str, int]], rows: int) -> Numbered:
    """Return texts once each, numbered from 1 where they are said of some rows and not of all."""
    rows_by_text: dict[str, dict[int, None]] = {}
    for text, row in said:
        rows_by_text.setdefault(text, {})[row] = None
    of_some = [text for text, found in rows_by_text.items() if len(found) < rows]
    numbers: list[list[int]] = [[] for _ in range(rows)]
    for number, text in enumerate(of_some, start=1):
        for row in rows_by_text[text]:
            numbers[row].append(number)
    of_all = [text for text, found in rows_by_text.items() if len(found) == rows]
    return Numbered(of_some + of_all, len(of_some), [*map(say_numbers, numbers)])


def say_numbers(numbers: Sequence[int]) -> str:
    """Write ascending numbers with their runs joined: `1,3-5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def say_once(said: Iterable[tuple[str, str]], everyone: Iterable[str]) -> list[str]:
    """Return texts once each, after the names that a text is said of where these are not all."""
    names_by_text: dict[str, dict[str, None]] = {}
    for text, name in said:
        names_by_text.setdefault(text, {})[name] = None
    every = set(everyone)
    return [
        text if set(names) == every else f"{', '.join(names)}: {text}"
        for text, names in names_by_text.items()
    ]
