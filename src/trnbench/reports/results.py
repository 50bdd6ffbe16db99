"""Results as a report, and one result under every way of renting its machine."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from trnbench import __version__
from trnbench.analysis.energy import find_site
from trnbench.cost.break_even import fairness_notes
from trnbench.model.flops import COUNTED_CONVENTION, DEFAULT_CONVENTION
from trnbench.reports.columns import COLUMNS, row
from trnbench.reports.document import (
    UNKNOWN,
    Cell,
    Column,
    Document,
    Notes,
    Page,
    Report,
    Rows,
    Style,
    Table,
    columns,
)
from trnbench.schema.price import Price
from trnbench.schema.result import (
    MetricValue,
    Result,
    ResultCompilation,
    ResultSpread,
    Validity,
)
from trnbench.units import (
    say_bytes,
    say_count,
    say_interval,
    say_percent,
    say_rate,
    say_seconds,
    say_seconds_interval,
    say_usd,
    say_usd_interval,
)

REPORT_VERSION = 1

SayInterval = Callable[[float, float, float], str]
SayValue = Callable[[float], str]

HEADINGS: tuple[Column, ...] = columns(
    (
        "model", "device", "tokens/s [95 %]", "step time [95 %]", "MFU", "peak memory", "price",
        "$ per M tokens [95 %]", "checks",
    ),
    figures=(
        "tokens/s [95 %]", "step time [95 %]", "MFU", "peak memory", "$ per M tokens [95 %]",
    ),
)  # fmt: skip
LEAST_TABLE_WIDTH = 150
"""Narrower than this, nine columns break their figures; cards do not."""

STYLES: dict[Validity, Style] = {
    "sound": "good", "doubtful": "doubtful", "invalid": "bad", "failed": "bad",
}  # fmt: skip


def _document(results: Sequence[Result], page: Page) -> Document:
    table = Table(HEADINGS, [cells_of(each) for each in results], cards_below=LEAST_TABLE_WIDTH)
    return Document([table, Notes(notes_of(results, page.today))])


def _rows(results: Sequence[Result]) -> Rows:
    return Rows([column.name for column in COLUMNS], [[*row(each).values()] for each in results])


def _record(results: Sequence[Result], page: Page) -> dict[str, Any]:
    """Return the columns of each result, and its checks in full; a `…_reason` explains a null."""
    return {
        "report_version": REPORT_VERSION,
        "trnbench_version": __version__,
        "notes": fairness_notes([r.price for r in results], page.today) if page.today else [],
        "results": [
            {
                **row(result),
                "reasons": {
                    name: metric.reason for name, metric in result.metrics.items() if metric.reason
                },
                "checks": [check.model_dump() for check in result.checks],
            }
            for result in results
        ],
    }


REPORT: Report[Sequence[Result]] = Report(document=_document, rows=_rows, record=_record)


def notes_of(results: Sequence[Result], today: date | None = None) -> list[str]:
    """Return what must be read beside the cells: sources, reasons, doubts, each said once.

    Args:
        results: that stand side by side.
        today: the day on which they are read; None tells nothing of how their prices compare.
    """
    told: dict[str, list[str]] = {}
    for result in results:
        for note in _notes(result):
            told.setdefault(note, []).append(_short_name(result))
    everyone = {_short_name(result) for result in results}
    notes = [
        note if set(names) == everyone else f"{', '.join(dict.fromkeys(names))}: {note}"
        for note, names in told.items()
    ]
    measuring = _measuring(results)
    if measuring is not None:
        notes.append(measuring)
    if today is not None:
        notes += fairness_notes([result.price for result in results], today)
    return notes


def _measuring(results: Sequence[Result]) -> str | None:
    """Say what it cost to find all of this out; None where no result has a price."""
    dollars = [result.metrics["case_usd"].value for result in results]
    known = [usd for usd in dollars if usd is not None]
    if not known:
        return None
    unpriced = len(dollars) - len(known)
    but = f", but for {unpriced} without a price" if unpriced else ""
    billed = [result.metrics.get("case_billed_usd") for result in results]
    bill = sum(each.value for each in billed if each is not None and each.value is not None)
    more = f"; billed {say_usd(bill)}, had each been rented for alone" if bill > sum(known) else ""
    return f"measuring cost {say_usd(sum(known))} by the second{but}{more}"


def _short_name(result: Result) -> str:
    return f"{result.model.name} ({result.workload.precision}, {result.device.backend})"


def cells_of(result: Result) -> tuple[Cell | str, ...]:
    """Return a result as cells, in the order of `HEADINGS`."""
    metrics = result.metrics
    return (
        model_cell(result),
        device_cell(result),
        interval_cell(metrics["tokens_per_second"], say_interval, say_rate),
        interval_cell(metrics["step_time_mean_seconds"], say_seconds_interval, say_seconds),
        _plain(metrics["mfu"], say_percent),
        _plain(metrics["peak_memory_bytes"], say_bytes),
        _price(result.price),
        interval_cell(metrics["usd_per_million_tokens"], say_usd_interval, say_usd),
        Cell(_checks(result), STYLES[result.standing]),
    )


def model_cell(result: Result) -> str:
    """Return the model, its weights, its batch and its arithmetic."""
    work = result.workload
    passes = work.gradient_accumulation_steps
    batch = f"{work.global_batch_size}" if passes == 1 else f"{work.global_batch_size} in {passes}"
    return (
        f"{result.model.name} ({say_count(result.model.parameter_count).replace(' ', '')}) "
        f"{batch}x{work.sequence_length} {work.precision}"
    )


def device_cell(result: Result) -> str:
    """Return what it was trained on."""
    name = result.device_name or result.device.backend
    if result.threads:
        return f"{name}, {result.threads} threads"
    return f"{result.device_count} x {name}" if result.device_count > 1 else name


def interval_cell(metric: MetricValue, say: SayInterval, say_alone: SayValue) -> str:
    """Return a figure with its interval, or that there is none."""
    if metric.value is None:
        return UNKNOWN
    if metric.low is None or metric.high is None:
        return f"{say_alone(metric.value)} [no interval]"
    return say(metric.value, metric.low, metric.high)


def _plain(metric: MetricValue, say: SayValue) -> str:
    return UNKNOWN if metric.value is None else say(metric.value)


def _price(price: Price | None) -> str:
    if price is None:
        return UNKNOWN
    parts = (price.instance, price.option, price.region, price.date.isoformat())
    return f"${price.usd_per_hour}/h " + " ".join(part for part in parts if part)


def _checks(result: Result) -> str:
    if result.standing == "sound":
        return "sound"
    if result.standing == "failed":
        return f"failed: {result.failure}"
    names = [check.name for check in result.checks if check.verdict == result.standing]
    return f"{result.standing}: {', '.join(names)}"


def _notes(result: Result) -> Iterable[str]:
    if result.outcome.status != "finished":
        yield _with_advice(f"{result.outcome.status}: {result.outcome.reason}", result.outcome.hint)
    for check in result.checks:
        if check.name != "finished" and check.verdict in ("invalid", "doubtful"):
            yield _with_advice(f"{check.verdict}, {check.name}: {check.evidence}", check.advice)
    if result.spread is not None:
        yield _spread(result.spread)
    if result.compilation is not None and result.compilation.execution == "compile":
        yield _compiled(result.compilation, result.metrics.get("compile_seconds"))
    utilization = result.utilization
    if result.metrics["mfu"].value is not None:
        yield f"MFU by {utilization.convention}; peak {utilization.peak_source}"
    elif result.metrics["mfu"].reason:
        yield f"no MFU: {result.metrics['mfu'].reason}"
    yield from _source_notes(result)
    yield from _ceiling_notes(result)
    yield from _energy_notes(result)
    yield from _step_notes(result)
    if result.price is not None:
        more = f" ({result.price.note})" if result.price.note else ""
        yield f"price: {result.price.source}{more}"
    elif result.price_reason:
        yield f"no price: {result.price_reason}"


def _source_notes(result: Result) -> Iterable[str]:
    """Say how the operations of an external model were counted, where they were."""
    used = result.utilization
    if result.model.external is None or not used.flops_per_token:
        return
    if used.convention == COUNTED_CONVENTION:
        yield (
            f"its FLOPs: by {used.flops_source}, over all keys: not comparable with MFU by "
            f"{DEFAULT_CONVENTION}"
        )
    else:
        yield f"its FLOPs: by the formula, from {used.flops_source}"


def _ceiling_notes(result: Result) -> Iterable[str]:
    """Say what part of the measured ceiling it was, where the peak is another."""
    share = result.metrics.get("ceiling_utilization")
    source = result.utilization.ceiling_source
    if share is not None and share.value is not None and source != result.utilization.peak_source:
        yield f"{say_percent(share.value)} of the ceiling {source}"


def _spread(spread: ResultSpread) -> str:
    low, high = spread.between_launches_low, spread.between_launches_high
    return (
        f"{spread.launches} launches differ by {spread.between_launches:.2%} "
        f"[{low:.2%}, {high:.2%}] (standard deviation); their own steps tell "
        f"{spread.within_launches:.2%}"
    )


def _energy_notes(result: Result) -> Iterable[str]:
    if result.energy is not None and result.metrics["joules_per_token"].value is not None:
        joules, watts = result.metrics["joules_per_token"].value, result.energy.mean_power_watts
        yield f"{joules:.3g} J a token at {watts:.4g} W: {result.energy.scope}"
        grams = result.metrics.get("grams_co2e_per_million_tokens")
        if grams is not None and grams.value is not None:
            around = find_site(result.price)
            said = interval_cell(grams, say_interval, say_rate)
            yield (
                f"{said} g CO2e a million tokens: PUE {around.pue:g} ({around.pue_source}), "
                f"{around.grid_source}"
            )
        elif grams is not None:
            yield f"no emissions: {grams.reason}"


def _step_notes(result: Result) -> Iterable[str]:
    """Say how the step was carried out where that is not the plain way."""
    step, hfu = result.workload.step, result.metrics.get("hfu")
    if step.recompute != "none" and hfu is not None and hfu.value is not None:
        yield f"activation checkpointing {step.recompute}; HFU {say_percent(hfu.value)}"
    if step.lora is not None:
        yield f"adapters of rank {step.lora.rank} are trained, all other weights are frozen"
    count, active = result.model.parameter_count, result.model.active_parameter_count
    if active is not None and active != count:
        yield f"a token meets {say_count(active)} of {say_count(count)} weights"
    imbalance = result.metrics.get("expert_imbalance")
    if imbalance is not None and imbalance.value is not None:
        yield f"the fullest expert has {imbalance.value:.2f} times its share of the tokens"


def _compiled(compilation: ResultCompilation, seconds: MetricValue | None) -> str:
    counts = [
        f"{count} {what}"
        for count, what in (
            (compilation.graphs, "graphs"),
            (compilation.programs, "programs made"),
            (compilation.cache_hits, "found"),
        )
        if count is not None
    ]
    took = f"; {say_seconds(seconds.value)} in all" if seconds and seconds.value else ""
    return f"compile cache {compilation.cache}: {', '.join(counts) or 'no counts'}{took}"


def _with_advice(text: str, advice: str | None) -> str:
    return f"{text} → {advice}" if advice else text


# --- one result under every way of renting its machine ------------------------------------------

OFFER_HEADINGS = columns(
    (
        "model", "instance", "option", "where", "date", "$/h", "$/chip-h", "$ per M tokens [95 %]",
        "tokens/$", "checks, or why there is no price",
    ),
    figures=("$/h", "$/chip-h", "$ per M tokens [95 %]", "tokens/$"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offered:
    """A result at one way of renting, or why there is no price of it."""

    option: str
    result: Result
    """At that way's price, or at none."""


def _offers_document(offered: Sequence[Offered], page: Page) -> Document:
    rows: list[tuple[str, ...]] = []
    last = ""
    for each in offered:
        cells = _offer(each)
        rows.append(("", *cells[1:]) if each.result.case_id == last else cells)
        last = each.result.case_id
    return Document([Table(OFFER_HEADINGS, rows, notes=_offer_notes(offered, page))])


def _offer(offered: Offered) -> tuple[str, ...]:
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


def _offer_notes(offered: Sequence[Offered], page: Page) -> list[str]:
    prices = [each.result.price for each in offered]
    notes = [
        f"{price.option}: {price.note}" for price in prices if price is not None and price.note
    ]
    if page.today is not None:
        notes += fairness_notes(prices, page.today)
    return list(dict.fromkeys(notes))


OFFERS: Report[Sequence[Offered]] = Report(
    document=_offers_document,
    rows=lambda offered: _rows([each.result for each in offered]),
    record=lambda offered, page: _record([each.result for each in offered], page),
)
