"""One result under every way of renting its machine, side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trnbench.cost.break_even import fairness_notes
from trnbench.reports.base import Page
from trnbench.reports.clean import escaped_markdown, one_line
from trnbench.reports.tables import table_as_markdown, table_as_text
from trnbench.reports.view import UNKNOWN, interval_cell, model_cell
from trnbench.schema.result import Result
from trnbench.schema.units import say_count, say_usd, say_usd_interval

HEADINGS = (
    "model", "instance", "option", "where", "date", "$/h", "$/chip-h", "$ per M tokens [95 %]",
    "tokens/$", "checks, or why there is no price",
)  # fmt: skip
FIGURES = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Offered:
    """A result at one way of renting, or why there is no price of it."""

    option: str
    result: Result
    """At that way's price, or at none."""


def options_as_text(offered: Sequence[Offered], page: Page) -> str:
    """Return a table for a terminal, and what must be read beside it."""
    table = table_as_text(HEADINGS, _rows(offered), page.width, FIGURES)
    return table + "".join(f"· {one_line(note)}\n" for note in _notes(offered, page))


def options_as_markdown(offered: Sequence[Offered], page: Page) -> str:
    """Return a table in Markdown, and what must be read beside it."""
    table = table_as_markdown(HEADINGS, _rows(offered), FIGURES)
    return table + "\n" + "".join(f"- {escaped_markdown(note)}\n" for note in _notes(offered, page))


def _rows(offered: Iterable[Offered]) -> list[tuple[str, ...]]:
    rows, last = [], ""
    for each in offered:
        row = _row(each)
        rows.append(("", *row[1:]) if each.result.case_id == last else row)
        last = each.result.case_id
    return rows


def _row(offered: Offered) -> tuple[str, ...]:
    result, price = offered.result, offered.result.price
    head = (model_cell(result), result.device.instance or UNKNOWN, offered.option)
    if price is None:
        return (*head, "", "", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, result.price_reason or "")
    metrics = result.metrics
    chip_hour, tokens = metrics["usd_per_chip_hour"].value, metrics["tokens_per_usd"].value
    return (
        *head,
        price.zone or price.region or "",
        price.date.isoformat(),
        str(price.usd_per_hour),
        UNKNOWN if chip_hour is None else f"{chip_hour:.4g}",
        interval_cell(metrics["usd_per_million_tokens"], say_usd_interval, say_usd),
        UNKNOWN if tokens is None else say_count(tokens),
        result.standing,
    )


def _notes(offered: Sequence[Offered], page: Page) -> list[str]:
    prices = [each.result.price for each in offered]
    notes = [
        f"{price.option}: {price.note}" for price in prices if price is not None and price.note
    ]
    if page.today is not None:
        notes += fairness_notes(prices, page.today)
    return list(dict.fromkeys(notes))
