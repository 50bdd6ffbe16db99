"""Cost sheets as a report: labels, and a line or more beside each."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from trnbench.cost.training import (
    PUBLISHED_FAILURES_PER_INSTANCE_DAY,
    CostSheet,
    TrainingCost,
    checkpoint_interval_seconds,
)
from trnbench.reports.document import Document, Facts, Heading, Page, Part, Report, Rows, Value
from trnbench.reports.results import device_cell, interval_cell, model_cell
from trnbench.schema.result import Result
from trnbench.units import (
    say_count,
    say_percent,
    say_seconds,
    say_usd,
    say_usd_interval,
)

Costs = Sequence[tuple[Result, CostSheet | str]]
"""Results, each with its sheet or the reason why there is none."""


def _document(costs: Costs, page: Page) -> Document:
    parts: list[Part] = []
    for result, sheet in costs:
        parts.append(Heading(f"{model_cell(result)} on {device_cell(result)}"))
        parts.append(Facts([("no cost", sheet)] if isinstance(sheet, str) else facts_of(sheet)))
    return Document(parts)


def _rows(costs: Costs) -> Rows:
    names = (
        "case_id", "run_id", "tokens", "best_usd", "expected_usd", "worst_usd", "billed_usd",
        "expected_seconds", "goodput", "usd_per_hour", "reason",
    )  # fmt: skip
    return Rows(names, [_row(result, sheet) for result, sheet in costs])


def _row(result: Result, sheet: CostSheet | str) -> tuple[Value, ...]:
    head = (result.case_id, result.run_id)
    if isinstance(sheet, str):
        return (*head, *(None,) * 8, sheet)
    basis, expected = sheet.range, sheet.range.expected
    ends = (basis.best.usd, expected.usd, basis.worst.usd, sheet.billed_usd, expected.total_seconds)
    figures = (each if math.isfinite(each) else None for each in ends)
    return (
        *head, sheet.job.tokens, *figures, expected.goodput, float(sheet.price.usd_per_hour), None,
    )  # fmt: skip


def _record(costs: Costs, page: Page) -> dict[str, Any]:
    """Return each sheet's figures in base units; infinite ones are null."""
    return {
        "costs": [
            {"case_id": result.case_id, "run_id": result.run_id, "reason": sheet}
            if isinstance(sheet, str)
            else _sheet_record(sheet)
            for result, sheet in costs
        ]
    }


REPORT: Report[Costs] = Report(document=_document, rows=_rows, record=_record)


def facts_of(sheet: CostSheet) -> list[tuple[str, str]]:
    """Return the sheet as labels and texts."""
    rows = [("price", _price(sheet)), ("tokens", _tokens(sheet))]
    labels = (f"to train {say_count(sheet.job.tokens)}", "", "")
    rows += zip(labels, _training(sheet), strict=False)
    rows += [("assumed", _assumed(sheet)), ("moves with", "; ".join(_swings(sheet)))]
    if sheet.mfu_ladder:
        steps = (f"{mfu:.0%}: {say_usd(usd)}" for mfu, usd in sheet.mfu_ladder)
        rows.append(("$ per M at MFU", ", ".join(steps)))
    rows += [("energy", _energy(sheet)), ("measuring it", _measuring(sheet))]
    return rows


def _sheet_record(sheet: CostSheet) -> dict[str, Any]:
    basis, expected = sheet.range, sheet.range.expected
    return {
        "case_id": sheet.result.case_id,
        "run_id": sheet.result.run_id,
        "price": sheet.price.model_dump(mode="json"),
        "tokens": sheet.job.tokens,
        "to_train": {
            name: _finite(asdict(cost))
            for name, cost in (
                ("best", basis.best), ("expected", expected), ("worst", basis.worst),
            )
        },
        "billed_usd": _finite({"x": sheet.billed_usd})["x"],
        "reliability": asdict(sheet.job.reliability),
        "usd_per_million_tokens_at_mfu": [list(step) for step in sheet.mfu_ladder],
        "sensitivity": [
            {"what": swing.what, "usd_per_million_tokens": _finite(dict(swing.settings))}
            for swing in sheet.swings
        ],
        "energy": None
        if sheet.footprint is None
        else {**asdict(sheet.footprint), "surroundings": asdict(sheet.site)},
    }  # fmt: skip


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _price(sheet: CostSheet) -> str:
    price = sheet.price
    parts = (price.instance, price.option, price.zone or price.region, price.date.isoformat())
    note = f"; {price.note}" if price.note else ""
    told = ", ".join(part for part in (*parts, price.source) if part)
    return f"${price.usd_per_hour} an hour ({told}{note})"


def _tokens(sheet: CostSheet) -> str:
    metrics = sheet.result.metrics
    said = interval_cell(metrics["usd_per_million_tokens"], say_usd_interval, say_usd)
    parts = [f"{said} per million"]
    tokens = metrics["tokens_per_usd"].value
    if tokens is not None:
        parts.append(f"{say_count(tokens)} per dollar")
    for name, what in (
        ("usd_per_chip_hour", "a chip-hour"),
        ("usd_per_model_exaflop", "an EFLOP that the model needed"),
        ("usd_per_peak_petaflop_hour", "a peak PFLOP/s-hour"),
    ):
        metric = metrics.get(name)
        if metric is not None and metric.value is not None:
            parts.append(f"{say_usd(metric.value)} {what}")
    return ", ".join(parts)


def _training(sheet: CostSheet) -> Iterable[str]:
    expected = sheet.range.expected
    if not math.isfinite(expected.usd):
        yield "it never ends: failures leave no time to get from one checkpoint to the next"
        return
    yield (
        f"{_usd(sheet.range.best)} to {_usd(sheet.range.worst)}, expected {_usd(expected)}: "
        f"{say_seconds(expected.total_seconds)} on {sheet.result.device.instances_billed} "
        f"instance{'s' if sheet.result.device.instances_billed > 1 else ''}, "
        f"{say_percent(expected.goodput)} goodput, {say_percent(expected.utilisation)} of the paid "
        "time productive"
    )
    if sheet.billed_usd > expected.usd * 1.001:
        yield f"billed {say_usd(sheet.billed_usd)}: {sheet.price.option} is sold in whole days"
    ends = "the ends of the speed's interval and" if sheet.has_interval else "the speed as it is,"
    yield f"(from {ends} half to twice the failures; the price stands still)"


def _usd(cost: TrainingCost) -> str:
    return say_usd(cost.usd) if math.isfinite(cost.usd) else "without end"


def _assumed(sheet: CostSheet) -> str:
    job, told = sheet.job, sheet.job.reliability
    parts = []
    if told.failures_per_instance_day > 0:
        days = 1 / told.failures_per_instance_day
        whose = ""
        if told.failures_per_instance_day == PUBLISHED_FAILURES_PER_INSTANCE_DAY:
            whose = " (Llama 3 405B on H100s, arXiv 2407.21783; none is published for Trainium)"
        parts.append(f"a failure in {days:,.0f} days an instance{whose}")
        parts.append(f"{say_seconds(told.restart_seconds)} to start again")
    else:
        parts.append("no failures")
    interval = checkpoint_interval_seconds(told, sheet.result.device.instances_billed)
    if interval is not None:
        parts.append(
            f"a checkpoint of {say_seconds(told.checkpoint_seconds)} every {say_seconds(interval)}"
        )
    for name, seconds in (
        ("to start", job.start_seconds),
        ("to compile", job.compile_seconds),
        ("to evaluate", job.evaluation_seconds),
        ("idle", job.idle_seconds),
    ):
        if seconds:
            parts.append(f"{say_seconds(seconds)} {name}")
    return ", ".join(parts)


def _swings(sheet: CostSheet) -> Iterable[str]:
    for swing in sheet.swings:
        settings = ", ".join(
            f"{name} {say_usd(usd) if math.isfinite(usd) else 'never ends'}"
            for name, usd in swing.settings
        )
        yield f"{swing.what}: {settings}"


def _energy(sheet: CostSheet) -> str:
    energy, found = sheet.result.energy, sheet.footprint
    if energy is None:
        return "the version that made this result did not look"
    if found is None and energy.is_valid:
        return "without end, as the job is"
    if found is None:
        bound = ""
        if energy.tdp_bound_watts is not None:
            bound = (
                f"; at most {energy.tdp_bound_watts:,.0f} W of the chips alone by their rating, "
                "which is no measurement"
            )
        return f"not known: {energy.reason}{bound}"
    joules = sheet.result.metrics["joules_per_token"].value or 0.0
    room = sheet.site
    told = f"{joules:.3g} J a token ({energy.scope}); {found.kwh_it:,.4g} kWh"
    if found.kwh_facility is not None:
        told += f", {found.kwh_facility:,.4g} kWh with PUE {room.pue:g} ({room.pue_source})"
    if found.grams_co2e is None:
        return f"{told}; no emissions: {room.reason}"
    return f"{told}; {found.grams_co2e / 1000:,.4g} kg CO2e ({room.grid_source})"


def _measuring(sheet: CostSheet) -> str:
    metrics = sheet.result.metrics
    took, billed = metrics["case_usd"].value, metrics.get("case_billed_usd")
    said = say_usd(took or 0.0)
    if billed is None or billed.value is None or took is None or billed.value <= took * 1.001:
        return said
    return f"{said}; billed {say_usd(billed.value)} had the machine been rented for it alone"
