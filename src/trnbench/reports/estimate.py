"""Estimates of a training as a report: the machines side by side, and how each was chosen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trnbench.cost.comparability import mixed_notes
from trnbench.cost.training import checkpoint_interval_seconds
from trnbench.estimate.calibration import Calibration
from trnbench.estimate.step import LIMITS
from trnbench.estimate.training import (
    KEPT_SPEED,
    OPTIMAL_TOKENS_PER_WEIGHT,
    Offer,
    RunnerUp,
    TrainingEstimate,
    WhatIf,
    Wish,
    bend,
    optimal_tokens,
    what_ifs,
)
from trnbench.reports import document as doc
from trnbench.reports.texts import plural, price_terms, say_or_unknown
from trnbench.units import (
    SECONDS_PER_DAY,
    say_bytes,
    say_change,
    say_count,
    say_percent,
    say_seconds,
    say_seconds_interval,
    say_usd,
)

MOST_EXPLAINED = 3
"""Machines that are explained one by one; `--on` chooses which."""
LEAST_SHARE = 0.005
"""Of a step: smaller parts are not named."""

RANGE_NOTE = (
    "estimated, never run: the step's range holds 80 % of what is expected; that of days and "
    "dollars adds half and twice the failures"
)
BOUND_NOTE = (
    "at least: no step of this chip is published, and no other chip's figure stands for it; the "
    "bound is the model's FLOPs at the datasheet's peak"
)


class Estimated(NamedTuple):
    """Estimates of one training, the best first."""

    model: str
    wish: Wish
    estimates: Sequence[TrainingEstimate]
    refused: Sequence[tuple[str, str]]
    """Instance types that have none, each with the reason."""
    enough: Mapping[str, int | None]
    """Of instance types on which it does not fit, the fewest that it does fit; None: none do."""
    price_rule: str
    is_chosen: bool
    """Whether the user named the machines."""
    is_curve: bool
    """Whether the estimates are of ever more instances of each type."""
    known: Calibration | None = None
    """What they rest on; None: the catalog's."""


def _document(of: Estimated, page: doc.Page) -> doc.Document:
    wish = of.wish
    title = f"{of.model}, {say_count(wish.job.tokens)} tokens, {wish.sequence_length:,} a sequence"
    title += f", {wish.precision}"
    left_out = [f"{instance}: {reason}" for instance, reason in of.refused]
    parts: list[doc.Part] = [doc.Heading(title, level=2)]
    if of.estimates:
        rows = [_cells(number, each) for number, each in enumerate(of.estimates, 1)]
        parts.append(doc.Table(_COLUMNS, rows, notes=left_out))
    else:
        parts.append(doc.Notes(left_out))
    explained = of.estimates[: MOST_EXPLAINED if of.is_chosen and not of.is_curve else 1]
    for each in explained:
        parts.append(doc.Heading(_machine(each)))
        parts.append(doc.Facts(list(_facts(each))))
        if changes := what_ifs(wish, each, of.known):
            rows = [_what_if(change, each) for change in changes]
            parts.append(doc.Table(doc.columns("what if", ">time", ">$", ">change"), rows))
    parts.append(doc.Notes(_notes(of)))
    return doc.Document(parts, backing=lambda: _backing(of))


def _backing(of: Estimated) -> doc.Backing:
    from trnbench.reports.figures_of_estimate import cost_against_time

    chart = cost_against_time(of.estimates, _machine)
    return doc.Backing(answer=_answer(of), charts=[] if chart is None else [chart])


_COLUMNS = (
    doc.Column("", is_figure=True),
    doc.Column("machines"),
    doc.Column("layout", is_spare=True),
    doc.Column("step [80 %]", is_figure=True),
    doc.Column("tokens/s", is_figure=True, is_spare=True),
    doc.Column("MFU", is_figure=True, is_spare=True),
    doc.Column("memory"),
    doc.Column("time [range]", is_figure=True),
    doc.Column("$ [range]", is_figure=True),
    doc.Column("rented as"),
    doc.Column("rests on"),
)


def _cells(number: int, each: TrainingEstimate) -> tuple[str | doc.Cell, ...]:
    step = each.step
    late = "" if each.is_in_time else ", late"
    return (
        str(number),
        _machine(each),
        each.setup.layout.in_words,
        _step_time(each),
        say_or_unknown(step.tokens_per_second, "{:,.0f}".format),
        say_or_unknown(step.mfu, say_percent),
        doc.Cell(_memory(each), None if each.fits else "bad"),
        doc.Cell(_time(each) + late, "bad" if late else None),
        _dollars(each.offers[0], each) if each.offers else doc.UNKNOWN,
        _rented(each),
        step.basis,
    )


def _machine(each: TrainingEstimate) -> str:
    machine = each.setup.machine
    return f"{each.instances} x {machine.instance} ({each.setup.chips:,} {machine.chip.name})"


def _step_time(each: TrainingEstimate) -> str:
    step = each.step
    if step.seconds is None or step.seconds_high is None:
        return f"at least {say_seconds(step.seconds_low)}"
    return say_seconds_interval(step.seconds, step.seconds_low, step.seconds_high)


def _memory(each: TrainingEstimate) -> str:
    step = each.step
    room = "" if step.memory_room_bytes is None else f" of {say_bytes(step.memory_room_bytes)}"
    return f"{say_bytes(step.memory.total_bytes)}{room}, {step.memory_verdict.replace('_', ' ')}"


def _time(each: TrainingEstimate) -> str:
    best, expected, worst = each.seconds
    if expected is None or worst is None:
        return f"at least {say_seconds(best)}"
    return f"{say_seconds(expected)} [{say_seconds(best)}, {say_seconds(worst)}]"


def _dollars(offer: Offer, each: TrainingEstimate) -> str:
    cost = offer.cost
    if not each.step.has_data:
        return f"at least {_say_dollars(cost.best.usd)}"
    ends = f"{_say_dollars(cost.best.usd)}, {_say_dollars(cost.worst.usd)}"
    return f"{_say_dollars(cost.expected.usd)} [{ends}]"


def _say_dollars(usd: float) -> str:
    return f"${usd:,.0f}" if usd >= 1000 else say_usd(usd)


def _rented(each: TrainingEstimate) -> str:
    if not each.offers:
        return each.price_reason or ""
    price = each.offers[0].price
    return f"{price.option}, ${float(price.usd_per_hour):,.2f}/h, {price.date}"


# --- how one was chosen ---------------------------------------------------------------------------


def _facts(each: TrainingEstimate) -> Iterator[tuple[str, str]]:
    setup, step = each.setup, each.step
    yield (
        "layout",
        f"{setup.layout.in_words}: the fastest of {each.candidates:,} that were compared",
    )
    micro = plural(setup.micro_batch_size, "sequence")
    passes = f"{plural(setup.passes, 'pass')} of {micro} on each data rank"
    yield "a step", f"{say_count(setup.tokens)} tokens: {passes}, recompute {setup.step.recompute}"
    yield "its time", ", ".join(_parts(each))
    yield "limited by", step.limited_by
    yield "memory", ", ".join(_memory_terms(each))
    if each.runner_up is not None:
        yield "next best", _next_best(each.runner_up)
    yield "all of it", ", ".join(_around(each))
    for number, offer in enumerate(each.offers):
        terms = " ".join(price_terms(offer.price)[1:])
        rate = f"${float(offer.price.usd_per_hour):,.2f}/h"
        yield "rented as" if number == 0 else "", f"{terms}, {rate}: {_dollars(offer, each)}"
    energy = _energy(each)
    if energy is not None:
        yield "energy", energy
    yield "rests on", step.basis
    for gap in step.gaps.values():
        yield "left out", gap


def _next_best(other: RunnerUp) -> str:
    setup = other.setup
    way = f"{setup.layout.in_words}, micro batch {setup.micro_batch_size}"
    return (
        f"{way}, recompute {setup.step.recompute}: {say_percent(other.slower)} slower, for more "
        f"time in {LIMITS[other.because]}"
    )


def _what_if(change: WhatIf, each: TrainingEstimate) -> tuple[str, ...]:
    moved = "" if each.usd is None else say_change(change.usd / each.usd - 1)
    return change.change, say_seconds(change.seconds), _say_dollars(change.usd), moved


def _parts(each: TrainingEstimate) -> Iterator[str]:
    whole = sum(each.step.parts.values())
    for name, seconds in sorted(each.step.parts.items(), key=lambda part: -part[1]):
        if seconds >= LEAST_SHARE * whole:
            yield f"{LIMITS[name]} {say_percent(seconds / whole)}"


def _memory_terms(each: TrainingEstimate) -> Iterator[str]:
    memory = each.step.memory
    yield f"{_memory(each)}: states {say_bytes(memory.states_bytes)}"
    yield f"copies {say_bytes(memory.gathered_bytes)}"
    yield f"activations {say_bytes(memory.activations_bytes)}"
    yield f"the most beside them {say_bytes(memory.working_bytes)}"


def _around(each: TrainingEstimate) -> Iterator[str]:
    reliability = each.job.reliability
    failures = reliability.failures_per_instance_day * each.instances
    cost = each.offers[0].cost if each.offers else None
    seconds = each.seconds[1] if each.seconds[1] is not None else each.seconds[0]
    yield f"{_time(each)} on the calendar"
    yield f"{failures * seconds / SECONDS_PER_DAY:,.1f} failures"
    interval = checkpoint_interval_seconds(reliability, each.instances)
    if interval is not None:
        yield f"a checkpoint every {say_seconds(interval)}"
    if cost is not None:
        yield f"goodput {say_percent(cost.expected.goodput)}"


def _energy(each: TrainingEstimate) -> str | None:
    watts = each.setup.machine.chip.tdp_watts
    if watts is None or each.seconds[1] is None:
        return None
    mwh = watts * each.setup.chips * each.seconds[1] / 3.6e9
    return f"at most {say_count(mwh)} MWh in the chips, by their rating of {watts:g} W"


# --- what must be read beside it ------------------------------------------------------------------


def _notes(of: Estimated) -> list[str]:
    notes = []
    if any(each.step.has_data for each in of.estimates):
        notes.append(RANGE_NOTE)
    if any(not each.step.has_data for each in of.estimates):
        notes.append(BOUND_NOTE)
    for instance, count in of.enough.items():
        said = f"{count} x {instance} do" if count else "no number of them does"
        notes.append(f"it does not fit {instance} as counted here; {said}")
    notes += _bends(of) if of.is_curve else []
    notes.append(f"price: {of.price_rule}")
    notes += mixed_notes([each.offers[0].price for each in of.estimates if each.offers])
    tokens = say_count(optimal_tokens(of.wish.shape))
    notes.append(
        f"compute-optimal for {of.model}: {tokens} tokens, {OPTIMAL_TOKENS_PER_WEIGHT} for each "
        f"weight (arXiv 2203.15556): --tokens {tokens.replace(' ', '')}"
    )
    if of.estimates and not of.is_chosen:
        notes.append("the first is explained; --on INSTANCE[:COUNT] explains others")
    return notes


def _bends(of: Estimated) -> Iterator[str]:
    """Say where more instances stop to pay."""
    for instance in dict.fromkeys(each.setup.machine.instance for each in of.estimates):
        points = [each for each in of.estimates if each.setup.machine.instance == instance]
        found = bend(points)
        where = "up to the last that is shown" if found is None else f"below {found.instances}"
        yield f"{instance}: a chip keeps {KEPT_SPEED:.0%} of its best speed {where}"


def _answer(of: Estimated) -> list[str]:
    if not of.estimates or not of.estimates[0].offers:
        return []
    best = of.estimates[0]
    return [
        f"{say_count(of.wish.job.tokens)} tokens of {of.model} cost least on {_machine(best)}: "
        f"{_dollars(best.offers[0], best)} in {_time(best)}, rented as {_rented(best)}. This is an "
        "estimate; nothing was run."
    ]


# --- for programs ---------------------------------------------------------------------------------


def _rows(of: Estimated) -> doc.Rows:
    items = [
        {
            "place": number,
            "model": of.model,
            "estimate": each,
            "layout": each.setup.layout.in_words,
            "offer": each.offers[0] if each.offers else None,
            "best_seconds": each.seconds[0],
            "expected_seconds": each.seconds[1],
            "worst_seconds": each.seconds[2],
            "usd": _ends(each.offers[0], each) if each.offers else {},
        }
        for number, each in enumerate(of.estimates, 1)
    ]
    refused = [
        {"model": of.model, "instance": instance, "reason": reason}
        for instance, reason in of.refused
    ]
    names, rows, kinds = doc.rows_at(
        items, "place:int", "model", "estimate.job.tokens:float",
        "estimate.setup.sequence_length:int", "estimate.setup.precision",
        "instance=estimate.setup.machine.instance", "estimate.instances:int",
        "chip=estimate.setup.machine.chip.name", "estimate.setup.chips:int", "layout",
        "estimate.setup.micro_batch_size:int", "estimate.setup.step.recompute",
        "estimate.setup.global_batch_size:int", "step_seconds=estimate.step.seconds:float",
        "step_seconds_low=estimate.step.seconds_low:float",
        "step_seconds_high=estimate.step.seconds_high:float",
        "bound_seconds=estimate.step.bound_seconds:float",
        "estimate.step.tokens_per_second:float",
        "estimate.step.tokens_per_second_per_chip:float", "estimate.step.mfu:float",
        "convention=estimate.step.convention", "limited_by=estimate.step.limited_by",
        "memory_bytes=estimate.step.memory.total_bytes:float",
        "estimate.step.memory_room_bytes:float", "estimate.step.memory_verdict",
        "best_seconds:float", "expected_seconds:float", "worst_seconds:float",
        "is_in_time=estimate.is_in_time:flag", "best_usd=usd.best:float",
        "expected_usd=usd.expected:float", "worst_usd=usd.worst:float",
        "billed_usd=usd.billed:float", "price_usd_per_hour=offer.price.usd_per_hour:float",
        "price_option=offer.price.option", "price_region=offer.price.region",
        "price_date=offer.price.date:day", "price_source=offer.price.source",
        "estimate.price_reason", "basis=estimate.step.basis",
    )  # fmt: skip
    table = [*rows]
    for each in refused:
        row = dict.fromkeys(names)
        row |= {"model": each["model"], "instance": each["instance"], "basis": each["reason"]}
        table.append([row[name] for name in names])
    return doc.Rows(names, table, kinds)


def _ends(offer: Offer, each: TrainingEstimate) -> dict[str, float]:
    best = {"best": offer.cost.best.usd}
    if not each.step.has_data:
        return best
    cost = offer.cost
    more = {"expected": cost.expected.usd, "worst": cost.worst.usd, "billed": offer.billed_usd}
    return best | more


def _record(of: Estimated, page: doc.Page) -> dict[str, Any]:
    records = _rows(of).records()
    for record, each in zip(records, of.estimates, strict=False):
        record["is_in_time"] = each.is_in_time
        record["parts_seconds"] = dict(each.step.parts)
        record["ways_of_renting"] = [
            {**offer.price.model_dump(mode="json"), **_ends(offer, each)} for offer in each.offers
        ]
        record["gaps"] = dict(each.step.gaps)
        record["what_if"] = [
            {"change": change.change, "seconds": change.seconds, "usd": change.usd}
            for change in (what_ifs(of.wish, each, of.known) if of.is_chosen else ())
        ]
    return {
        "model": of.model,
        "compute_optimal_tokens": optimal_tokens(of.wish.shape),
        "estimates": records,
        "notes": _notes(of),
    }


REPORT: doc.Report[Estimated] = doc.Report(
    title="Estimate of a training", document=_document, rows=_rows, record=_record
)
