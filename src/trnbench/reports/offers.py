"""Results under every way of renting their machines, as a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from trnbench.analysis.idle import idle_note
from trnbench.cost.comparability import comparability_notes
from trnbench.reports import document as doc
from trnbench.reports import texts
from trnbench.reports.distinct import differences
from trnbench.reports.results import (
    device_cell,
    figure,
    interval_cell,
    model_cell,
    record_of,
    rows_for_programs,
)
from trnbench.schema.result import Result
from trnbench.units import say_count

COLUMNS = doc.columns(
    "model", "instance", "option", "where", "?date", ">$/h", "?>$/chip-h", ">$ per M tokens [95 %]",
    "?>tokens/$", "checks, or why there is no price",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offered:
    """A result at the price of one way of renting, or at none."""

    option: str
    result: Result


def _document(offered: Sequence[Offered], page: doc.Page) -> doc.Document:
    results = [*{_key(each): each.result for each in offered}.values()]
    found = differences(results, [(model_cell(each), device_cell(each)) for each in results])
    settings = {
        (each.run_id, each.case_id): [f"{one.heading} {one.cells[place]}" for one in found]
        for place, each in enumerate(results)
    }
    rows: list[tuple[str, ...]] = []
    last = None
    for each in offered:
        named = ", ".join([model_cell(each.result), *settings[_key(each)]])
        rows.append(_cells(each, "" if _key(each) == last else named))
        last = _key(each)
    notes = _notes(offered, page)
    return doc.Document([doc.Table(COLUMNS, rows, notes=notes, blank_repeats=True)])


def _key(offered: Offered) -> tuple[str, str]:
    return offered.result.run_id, offered.result.case_id


def _cells(offered: Offered, name: str) -> tuple[str, ...]:
    result, price = offered.result, offered.result.price
    head = (name, result.device.instance or doc.UNKNOWN, offered.option)
    if price is None:
        return (*head, "", "", *[doc.UNKNOWN] * 4, result.price_reason or "")
    return (
        *head,
        price.zone or price.region or "",
        price.date.isoformat(),
        str(price.usd_per_hour),
        texts.say_or_unknown(figure(result, "usd_per_chip_hour"), "{:.4g}".format),
        interval_cell(result.metrics["usd_per_million_tokens"], texts.USD),
        texts.say_or_unknown(figure(result, "tokens_per_usd"), say_count),
        result.standing,
    )


def _notes(offered: Sequence[Offered], page: doc.Page) -> list[str]:
    prices = [each.result.price for each in offered]
    notes = [f"{price.option}: {price.note}" for price in prices if price and price.note]
    idle = (
        (note, model_cell(each.result))
        for each in offered
        if (note := idle_note(each.result.device)) is not None
    )
    notes += texts.say_once(idle, (model_cell(each.result) for each in offered))
    if page.today is not None:
        notes += comparability_notes(prices, page.today)
    return [*dict.fromkeys(notes)]


REPORT: doc.Report[Sequence[Offered]] = doc.Report(
    title="Results under every way of renting",
    document=_document,
    rows=lambda offered: rows_for_programs([each.result for each in offered]),
    record=lambda offered, page: record_of([each.result for each in offered], page),
)
