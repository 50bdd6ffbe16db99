"""Cost sheets as a report: labels, and a line or more beside each."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trnbench.analysis.idle import idle_note
from trnbench.cost.training import (
    PUBLISHED_FAILURES_PER_INSTANCE_DAY,
    CostSheet,
    checkpoint_interval_seconds,
)
from trnbench.reports import document as doc
from trnbench.reports.results import (
    device_cell,
    figure,
    interval_cell,
    model_cell,
    validity_cell,
)
from trnbench.reports.texts import USD, plural, price_terms
from trnbench.schema.result import Result
from trnbench.units import SECONDS_PER_DAY, say_count, say_percent, say_seconds, say_usd

Costs = Sequence[tuple[Result, CostSheet | str]]
"""Results, each with its sheet or the reason why there is none."""


def _document(costs: Costs, page: doc.Page) -> doc.Document:
    parts: list[doc.Part] = []
    for result, sheet in costs:
        parts.append(doc.Heading(f"{model_cell(result)} on {device_cell(result)}"))
        parts.append(doc.Facts([("no cost", sheet)] if isinstance(sheet, str) else facts_of(sheet)))
    return doc.Document(parts, backing=lambda: _backing(costs))


MOST_ANSWERED = 5
"""Results that a page's answer names, and that have a figure of their own."""


def _backing(costs: Costs) -> doc.Backing:
    from trnbench.reports.figures_of_cost import of_costs

    known = [(result, sheet) for result, sheet in costs if not isinstance(sheet, str)]
    known.sort(key=lambda each: each[1].range.expected.usd)
    answer = [_answer(result, sheet) for result, sheet in known[:MOST_ANSWERED]]
    return doc.Backing(answer=answer, charts=of_costs(known, MOST_ANSWERED))


def _answer(result: Result, sheet: CostSheet) -> str:
    named = f"{model_cell(result)} on {device_cell(result)}"
    price = sheet.price
    at = f"${price.usd_per_hour}/h {' '.join(price_terms(price))}"
    cost = next(iter(_training(sheet)))
    doubt = "" if result.standing == "sound" else f" The result is {validity_cell(result)}."
    return f"To train {say_count(sheet.job.tokens)} tokens by {named}, at {at}: {cost}.{doubt}"


def _rows(costs: Costs) -> doc.Rows:
    items = [
        {"result": result, "reason": sheet}
        if isinstance(sheet, str)
        else {"result": result, "sheet": sheet}
        for result, sheet in costs
    ]
    names, rows, kinds = doc.rows_at(
        items, "result.case_id", "result.run_id", "sheet.job.tokens:int",
        "best_usd=sheet.range.best.usd:float", "expected_usd=sheet.range.expected.usd:float",
        "worst_usd=sheet.range.worst.usd:float", "sheet.billed_usd:float",
        "expected_seconds=sheet.range.expected.total_seconds:float",
        "sheet.range.expected.goodput:float", "sheet.price.usd_per_hour:float", "reason",
        "result.standing", "result.device.devices_used:int", "result.device.devices_billed:int",
    )  # fmt: skip
    return doc.Rows(names, [[_finite(value) for value in row] for row in rows], kinds)


def _finite(value: doc.Value) -> doc.Value:
    """Return a figure; None where it is infinite, because the job never ends."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _record(costs: Costs, page: doc.Page) -> dict[str, Any]:
    """Return each sheet's figures in base units; infinite ones are null."""
    return {"costs": [_sheet_record(result, sheet) for result, sheet in costs]}


def _sheet_record(result: Result, sheet: CostSheet | str) -> dict[str, Any]:
    head = {"case_id": result.case_id, "run_id": result.run_id, "standing": result.standing}
    if isinstance(sheet, str):
        return {**head, "reason": sheet}
    footprint = sheet.footprint
    energy = footprint and {**asdict(footprint), "surroundings": asdict(sheet.site)}
    return {
        **head,
        "price": sheet.price.model_dump(mode="json"),
        "tokens": sheet.job.tokens,
        "to_train": {name: _all_finite(cost) for name, cost in asdict(sheet.range).items()},
        "billed_usd": _finite(sheet.billed_usd),
        "reliability": asdict(sheet.job.reliability),
        "usd_per_million_tokens_at_mfu": [list(step) for step in sheet.mfu_ladder],
        "sensitivity": [
            {"what": swing.what, "usd_per_million_tokens": _all_finite(dict(swing.settings))}
            for swing in sheet.swings
        ],
        "energy": energy,
        "idle": idle_note(result.device),
    }


def _all_finite(figures: Mapping[str, float]) -> dict[str, doc.Value]:
    return {name: _finite(value) for name, value in figures.items()}


REPORT: doc.Report[Costs] = doc.Report(
    title="Cost of a training", document=_document, rows=_rows, record=_record
)


def facts_of(sheet: CostSheet) -> list[tuple[str, str]]:
    """Return the sheet as labels and texts."""
    idle = idle_note(sheet.result.device)
    rows = [("price", _price(sheet))]
    if sheet.result.standing != "sound":
        rows.append(("result", f"{validity_cell(sheet.result)}: see `trnbench report`"))
    rows += [("idle", idle)] if idle is not None else []
    rows += [("tokens", _tokens(sheet))]
    labels = (f"to train {say_count(sheet.job.tokens)}", "", "")
    rows += zip(labels, _training(sheet), strict=False)
    rows += [("assumed", ", ".join(_assumed(sheet))), ("depends on", "; ".join(_swings(sheet)))]
    if sheet.mfu_ladder:
        steps = (f"{mfu:.0%}: {say_usd(usd)}" for mfu, usd in sheet.mfu_ladder)
        of_all = " (of all chips that are billed)" if idle is not None else ""
        rows.append(("$ per M at MFU", ", ".join(steps) + of_all))
    return [*rows, ("energy", _energy(sheet)), ("measuring it", _measuring(sheet.result))]


def _price(sheet: CostSheet) -> str:
    price = sheet.price
    note = f"; {price.note}" if price.note else ""
    terms = ", ".join([*price_terms(price), price.source])
    return f"${price.usd_per_hour} an hour ({terms}{note})"


def _tokens(sheet: CostSheet) -> str:
    result = sheet.result
    usd = result.metrics["usd_per_million_tokens"]
    parts = [f"{interval_cell(usd, USD)} per million"]
    tokens = figure(result, "tokens_per_usd")
    if tokens is not None:
        parts.append(f"{say_count(tokens)} per dollar")
    for name, what in (
        ("usd_per_chip_hour", "a chip-hour"),
        ("usd_per_model_exaflop", "an EFLOP that the model needed"),
        ("usd_per_peak_petaflop_hour", "a peak PFLOP/s-hour"),
    ):
        value = figure(result, name)
        if value is not None:
            parts.append(f"{say_about(value)} {what}")
    return ", ".join(parts)


def _training(sheet: CostSheet) -> Iterable[str]:
    best, expected, worst = sheet.range.best, sheet.range.expected, sheet.range.worst
    if not expected.total_seconds < LONGEST_YEARS * SECONDS_PER_YEAR:
        yield "never finishes: mean time between failures is shorter than checkpoint and restart"
        return
    yield (
        f"{say_about(best.usd)} to {_usd(worst.usd, 'unbounded')}, expected "
        f"{say_about(expected.usd)}: {_duration(expected.total_seconds)} on "
        f"{plural(sheet.result.device.instances_billed, 'instance')}, "
        f"{say_percent(expected.goodput)} goodput, {say_percent(expected.utilisation)} of the paid "
        "time productive"
    )
    if sheet.billed_usd > expected.usd * 1.001:
        yield f"billed {say_usd(sheet.billed_usd)}: {sheet.price.option} is sold in whole days"
    ends = "the ends of the speed's interval and" if sheet.has_interval else "the speed as it is,"
    yield f"(from {ends} half to twice the failures; the price is constant)"


SECONDS_PER_YEAR = 365.25 * SECONDS_PER_DAY

LONGEST_YEARS = 1000.0
"""Of a job: one that takes longer is said to have no end."""

MOST_USD = 1e12
"""Of a job or of a million tokens: more is said to have no bound."""


def _usd(value: float, endless: str) -> str:
    return say_about(value) if value < MOST_USD else endless


def say_about(value: float) -> str:
    """Write dollars of an estimate, whose range leaves no more than three figures."""
    amount = float(f"{value:.3g}")
    return f"${amount:,.0f}" if amount >= 100 else say_usd(amount)


def _duration(seconds: float) -> str:
    years = seconds / SECONDS_PER_YEAR
    return say_seconds(seconds) if years < 2 else f"{years:,.1f} years"


def _assumed(sheet: CostSheet) -> Iterable[str]:
    job, assumed = sheet.job, sheet.job.reliability
    if assumed.failures_per_instance_day > 0:
        published = ""
        if assumed.failures_per_instance_day == PUBLISHED_FAILURES_PER_INSTANCE_DAY:
            published = " (Llama 3 405B on H100s, arXiv 2407.21783; none is published for Trainium)"
        days = 1 / assumed.failures_per_instance_day
        said = f"{days:,.0f} days" if days >= 3 else say_seconds(days * SECONDS_PER_DAY)
        yield f"a failure in {said} an instance{published}"
        yield f"{say_seconds(assumed.restart_seconds)} to start again"
    else:
        yield "no failures"
    interval = checkpoint_interval_seconds(assumed, sheet.result.device.instances_billed)
    if interval is not None:
        checkpoint = say_seconds(assumed.checkpoint_seconds)
        yield f"a checkpoint of {checkpoint} every {say_seconds(interval)}"
    for what, seconds in (
        ("to start", job.start_seconds),
        ("to compile", job.compile_seconds),
        ("to evaluate", job.evaluation_seconds),
        ("idle", job.idle_seconds),
    ):
        if seconds:
            yield f"{say_seconds(seconds)} {what}"


def _swings(sheet: CostSheet) -> Iterable[str]:
    for swing in sheet.swings:
        settings = (f"{name} {_usd(usd, 'never ends')}" for name, usd in swing.settings)
        yield f"{swing.what}: {', '.join(settings)}"


def _energy(sheet: CostSheet) -> str:
    energy, found, site = sheet.result.energy, sheet.footprint, sheet.site
    if energy is None:
        return "the trnbench version of this result did not measure it"
    if found is None and energy.is_valid:
        return "unbounded, because the job never ends"
    if found is None:
        bound = ""
        if energy.tdp_bound_watts is not None:
            bound = (
                f"; at most {energy.tdp_bound_watts:,.0f} W of the chips alone by their rating, "
                "which is no measurement"
            )
        return f"not known: {energy.reason}{bound}"
    joules = figure(sheet.result, "joules_per_token") or 0.0
    text = f"{joules:.3g} J a token ({energy.scope}); {found.kwh_it:,.4g} kWh"
    if found.kwh_facility is not None:
        text += f", {found.kwh_facility:,.4g} kWh with PUE {site.pue:g} ({site.pue_source})"
    if found.grams_co2e is None:
        return f"{text}; no emissions: {site.reason}"
    return f"{text}; {found.grams_co2e / 1000:,.4g} kg CO2e ({site.grid_source})"


def _measuring(result: Result) -> str:
    cost = figure(result, "case_usd") or 0.0
    billed = figure(result, "case_billed_usd") or 0.0
    if billed <= cost * 1.001:
        return say_usd(cost)
    return f"{say_usd(cost)}; billed {say_usd(billed)} if the machine is rented for it alone"
