"""Results as a report."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from trnbench import __version__
from trnbench.analysis.energy import find_site
from trnbench.analysis.naming import say_weights, say_work
from trnbench.analysis.scaling import with_scaling
from trnbench.cost.comparability import comparability_notes
from trnbench.model.flops import COUNTED_CONVENTION, DEFAULT_CONVENTION
from trnbench.reports import document as doc
from trnbench.reports import texts
from trnbench.reports.columns import COLUMNS, row, rows_of
from trnbench.reports.distinct import differences, folded, unfolded
from trnbench.reports.many import shorten
from trnbench.reports.ranks import notes_of_devices
from trnbench.schema.plan import PlannedWorkload
from trnbench.schema.result import MetricValue, Result, ResultCompilation, ResultSpread, Validity
from trnbench.units import SECONDS_PER_HOUR, say_bytes, say_count, say_percent, say_seconds, say_usd

REPORT_VERSION = 1

TABLE_COLUMNS = doc.columns(
    "model", "device", ">tokens/s [95 %]", ">step time [95 %]", ">MFU", ">peak memory", "price",
    ">$ per M tokens [95 %]", "checks",
)  # fmt: skip
NARROW_COLUMNS = doc.columns(
    "model", "device", ">tokens/s ±95%", ">MFU", ">$/M tokens ±95%", "checks"
)
"""Of a terminal that has no room for all; an interval is one figure there."""
MOST_PRICES = 4
"""Of those under a narrow table."""
LEFT_OUT_NOTE = (
    "a wider terminal, or `trnbench report --format csv`, shows: step time, peak memory, price"
)

STYLES: dict[Validity, doc.Style] = {
    "sound": "good", "doubtful": "doubtful", "invalid": "bad", "failed": "bad",
}  # fmt: skip


def _document(results: Sequence[Result], page: doc.Page) -> doc.Document:
    shown, before, after = shorten(results, page)
    notes = _numbered_notes(shown, page.today)
    return doc.Document(
        [
            *before,
            _table(shown, notes.marks),
            *after,
            doc.Notes(notes.texts, numbered=notes.numbered),
        ],
        backing=lambda: _backing(results, page),
    )


def _table(results: Sequence[Result], marks: Sequence[str]) -> doc.Table:
    """Return a row for each result, with the columns that tell rows apart, and its notes."""
    names = [(model_cell(each), device_cell(each)) for each in results]
    found = differences(results, names)
    rows = [_narrow_cells(each) for each in results]
    notes = [LEFT_OUT_NOTE, *_prices_note(results)]
    narrowest = folded(NARROW_COLUMNS, rows, found, marks)
    narrow = unfolded(NARROW_COLUMNS, rows, found, marks)
    return replace(
        unfolded(TABLE_COLUMNS, [*map(cells_of, results)], found, marks),
        narrow=replace(narrow, notes=notes, narrow=replace(narrowest, notes=notes)),
    )


def _prices_note(results: Sequence[Result]) -> Iterable[str]:
    """Say the prices that a narrow table has no column for."""
    prices = [*dict.fromkeys(_price_cell(each) for each in results if each.price is not None)]
    if prices:
        more = f"; and {len(prices) - MOST_PRICES} more" if len(prices) > MOST_PRICES else ""
        yield f"priced at {'; '.join(prices[:MOST_PRICES])}{more}"


def _backing(results: Sequence[Result], page: doc.Page) -> doc.Backing:
    from trnbench.reports.backing import backing_of

    return backing_of(results, page.traces)


def rows_for_programs(results: Sequence[Result]) -> doc.Rows:
    """Return a row for each result."""
    return rows_of(COLUMNS, with_scaling(results))


def record_of(results: Sequence[Result], page: doc.Page) -> dict[str, Any]:
    """Return the columns of each result, and its checks in full; a `…_reason` explains a null."""
    return {
        "report_version": REPORT_VERSION,
        "trnbench_version": __version__,
        "notes": comparability_notes([r.price for r in results], page.today) if page.today else [],
        "results": [
            {
                **row(result),
                "reasons": {
                    name: metric.reason for name, metric in result.metrics.items() if metric.reason
                },
                "checks": [check.model_dump() for check in result.checks],
            }
            for result in with_scaling(results)
        ],
    }


REPORT: doc.Report[Sequence[Result]] = doc.Report(
    title="Training benchmark results", document=_document, rows=rows_for_programs, record=record_of
)


def cells_of(result: Result) -> tuple[doc.Cell | str, ...]:
    """Return a result as cells, in the order of `TABLE_COLUMNS`."""
    metrics = result.metrics
    return (
        model_cell(result),
        device_cell(result),
        interval_cell(metrics["tokens_per_second"], texts.RATE),
        interval_cell(metrics["step_time_mean_seconds"], texts.SECONDS),
        _mfu_cell(result),
        texts.say_or_unknown(metrics["peak_memory_bytes"].value, say_bytes),
        _price_cell(result),
        cost_cell(result),
        _verdict_cell(result),
    )


def _narrow_cells(result: Result) -> tuple[doc.Cell | str, ...]:
    """Return a result as cells, in the order of `NARROW_COLUMNS`."""
    return (
        model_cell(result),
        device_cell(result),
        margin_cell(result.metrics["tokens_per_second"], texts.RATE),
        _mfu_cell(result),
        cost_cell(result, margin_cell),
        _verdict_cell(result),
    )


def model_cell(result: Result) -> str:
    """Return the model, its weights, its batch and its arithmetic."""
    work = result.workload
    passes = work.gradient_accumulation_steps
    said = say_work(result)
    if passes not in (1, None) and work.global_batch_size is not None:
        said = said.replace("x", f" in {passes}x", 1)
    return f"{result.model.name} ({say_weights(result)}) {said}"


def device_cell(result: Result) -> str:
    """Return what it was trained on."""
    name = result.device_name or (
        f"{result.device.backend} device" if result.origin == "imported" else result.device.backend
    )
    count = result.device_count
    if result.threads:
        threads = texts.plural(result.threads, "thread")
        is_job = count is not None and count > 1
        return f"{name}, {count} ranks of {threads}" if is_job else f"{name}, {threads}"
    if result.device.devices_idle:
        return f"{count} of {result.device.devices_billed} x {name}"
    return name if count in (1, None) else f"{count} x {name}"


def interval_cell(metric: MetricValue, write: texts.Writer) -> str:
    """Return a figure with its interval, or that there is none."""
    return texts.say_estimate(
        metric.value, metric.low, metric.high, write, without=" [no interval]"
    )


def cost_cell(
    result: Result, write: Callable[[MetricValue, texts.Writer], str] = interval_cell
) -> str:
    """Return dollars per million tokens; of a machine without a price, those at $1 an hour.

    The latter is no price: for people alone, in no column and in no ranking.
    """
    at_one = cost_at_one_dollar(result)
    if at_one is None:
        return write(result.metrics["usd_per_million_tokens"], texts.USD)
    return f"at $1/h: {write(at_one, texts.USD)}"  # begins with no figure to sort by


def cost_at_one_dollar(result: Result) -> MetricValue | None:
    """Return dollars per million tokens at $1 an hour; None with a price, or without a speed."""
    speed = result.metrics["tokens_per_second"]
    if result.price is not None or result.standing not in ("sound", "doubtful"):
        return None

    def at(rate: float | None) -> float | None:
        return 1e6 / (rate * SECONDS_PER_HOUR) if rate else None

    if (value := at(speed.value)) is None:
        return None
    return MetricValue(value=value, low=at(speed.high), high=at(speed.low))


def _mfu_cell(result: Result) -> str:
    # Older results have the one of all billed devices alone.
    mfu = result.metrics.get("mfu_used_devices", result.metrics["mfu"])
    return texts.say_or_unknown(mfu.value, say_percent)


def _price_cell(result: Result) -> str:
    price = result.price
    if price is None:
        return doc.UNKNOWN
    return f"${price.usd_per_hour}/h {' '.join(texts.price_terms(price))}"


def _verdict_cell(result: Result) -> doc.Cell:
    return doc.Cell(validity_cell(result), STYLES[result.standing])


def margin_cell(metric: MetricValue, write: texts.Writer) -> str:
    """Return a figure with its interval as one relative figure."""
    return texts.say_margin(metric.value, metric.low, metric.high, write, without=" ±?")


def validity_cell(result: Result) -> str:
    """Return the standing of a result, with the checks that it rests on."""
    if result.standing == "sound":
        return "sound"
    if result.standing == "failed":
        return f"failed: {result.failure}"
    names = [check.name for check in result.checks if check.verdict == result.standing]
    return f"{result.standing}: {', '.join(names)}"


def figure(result: Result, metric: str) -> float | None:
    """Return the value of a metric; None too where an older version did not derive it."""
    found = result.metrics.get(metric)
    return None if found is None else found.value


def notes_of(results: Sequence[Result], today: date | None = None) -> list[str]:
    """Return what must be read beside the cells of one table: sources, reasons, findings.

    Without `today`, the day of reading, it does not say how the prices compare.
    """
    return _numbered_notes(results, today).texts


def _numbered_notes(results: Sequence[Result], today: date | None) -> texts.Numbered:
    """Return the notes of one table, with numbers where they are not of all rows."""
    said = (
        (note, row)
        for row, result in enumerate(results)
        for note in (*_notes(result), *notes_of_devices(result, results))
    )
    notes = texts.number_notes(said, len(results))
    notes.texts.extend(_measuring(results))
    if today is not None:
        notes.texts.extend(comparability_notes([each.price for each in results], today))
    return notes


def _measuring(results: Sequence[Result]) -> Iterable[str]:
    """Say what the measurements cost, where a result has a price."""
    known = [usd for each in results if (usd := figure(each, "case_usd")) is not None]
    if not known:
        return
    unpriced = len(results) - len(known)
    but = f", but for {unpriced} without a price" if unpriced else ""
    bill = sum(figure(each, "case_billed_usd") or 0.0 for each in results)
    more = f"; billed {say_usd(bill)} if each were rented alone" if bill > sum(known) else ""
    yield f"measuring cost {say_usd(sum(known))} by the second{but}{more}"


def _notes(result: Result) -> Iterable[str]:
    outcome, mfu, source = result.outcome, result.metrics["mfu"], result.source
    if source is not None:
        day = "" if source.is_date_known else "; its day is that of the import"
        yield f"{result.origin} from {source.file_name}, a log of {source.program}{day}"
    if outcome.status != "finished":
        yield texts.with_advice(f"{outcome.status}: {outcome.reason}", outcome.hint)
    for check in result.checks:
        if check.name != "finished" and check.verdict in ("invalid", "doubtful"):
            yield texts.with_advice(
                f"{check.verdict}, {check.name}: {check.evidence}", check.advice
            )
    work = result.workload
    if isinstance(work, PlannedWorkload) and work.search and work.search.trials and work.reason:
        yield work.reason
    yield from _rare_stalls(result)
    if result.spread is not None:
        yield _spread(result.spread)
    if result.compilation is not None and result.compilation.execution == "compile":
        yield _compiled(result.compilation, figure(result, "compile_seconds"))
    if mfu.value is not None:
        yield f"MFU by {result.utilization.convention}; peak {result.utilization.peak_source}"
    elif mfu.reason:
        yield f"no MFU: {mfu.reason}"
    yield from _operation_notes(result)
    yield from _energy_notes(result)
    yield from _step_notes(result)
    yield from _price_notes(result)


def _price_notes(result: Result) -> Iterable[str]:
    if result.price is not None:
        more = f" ({result.price.note})" if result.price.note else ""
        yield f"price: {result.price.source}{more}"
        return
    if result.price_reason:
        yield f"no price: {result.price_reason}"
    if cost_at_one_dollar(result) is not None:
        yield "`at $1/h` is the cost if the machine cost $1 an hour: multiply it by your rate"


def _rare_stalls(result: Result) -> Iterable[str]:
    """Say which stalls too few samples were taken to see: they would be in the mean.

    Of n samples without one, 1 - 0.05^(1/n) is the upper end of the 95 % interval of their rate.
    """
    timing = result.timing
    if timing.stalls == 0 and timing.steps_per_sample and timing.measured_steps:
        count = timing.measured_steps // timing.steps_per_sample
        rate = 1 - 0.05 ** (1 / max(count, 1))
        yield f"no stall in {count} samples: stalls in up to {rate:.1%} of samples are not excluded"


def _spread(spread: ResultSpread) -> str:
    low, high = spread.between_launches_low, spread.between_launches_high
    return (
        f"{spread.launches} launches differ by {spread.between_launches:.2%} "
        f"[{low:.2%}, {high:.2%}] (standard deviation); the steps inside them explain "
        f"{spread.within_launches:.2%}"
    )


def _compiled(compilation: ResultCompilation, seconds: float | None) -> str:
    counts = {
        "graphs": compilation.graphs,
        "programs made": compilation.programs,
        "found": compilation.cache_hits,
    }
    known = ", ".join(f"{count} {what}" for what, count in counts.items() if count is not None)
    took = f"; {say_seconds(seconds)} in all" if seconds else ""
    return f"compile cache {compilation.cache}: {known or 'no counts'}{took}"


def _operation_notes(result: Result) -> Iterable[str]:
    """Say how an external model's operations were counted, and the part of a measured ceiling."""
    used = result.utilization
    if result.model.external is not None and used.flops_per_token:
        if used.convention == COUNTED_CONVENTION:
            yield (
                f"its FLOPs: by {used.flops_source}, over all keys: not comparable with MFU by "
                f"{DEFAULT_CONVENTION}"
            )
        elif result.model.shape is None:
            yield f"its FLOPs: by {used.flops_source}, without the keys that its mask hides"
        else:
            yield f"its FLOPs: by the formula, from {used.flops_source}"
    yield from result.model.notes
    share = figure(result, "ceiling_utilization")
    if share is not None and used.ceiling_source != used.peak_source:
        yield f"{say_percent(share)} of the ceiling {used.ceiling_source}"


def _energy_notes(result: Result) -> Iterable[str]:
    energy, joules = result.energy, figure(result, "joules_per_token")
    if energy is None or joules is None:
        return
    idle = "; what idle devices draw is not in it" if result.device.devices_idle else ""
    yield f"{joules:.3g} J a token at {energy.mean_power_watts:.4g} W: {energy.scope}{idle}"
    grams = result.metrics.get("grams_co2e_per_million_tokens")
    if grams is not None and grams.value is not None:
        site = find_site(result.price)
        yield (
            f"{interval_cell(grams, texts.RATE)} g CO2e a million tokens: "
            f"PUE {site.pue:g} ({site.pue_source}), {site.grid_source}"
        )
    elif grams is not None:
        yield f"no emissions: {grams.reason}"


def _step_notes(result: Result) -> Iterable[str]:
    """Say how the step was carried out where that is not the plain way."""
    step, hfu = result.workload.step, figure(result, "hfu")
    if step is not None and step.recompute != "none" and hfu is not None:
        yield f"activation checkpointing {step.recompute}; HFU {say_percent(hfu)}"
    if step is not None and step.lora is not None:
        yield f"adapters of rank {step.lora.rank} are trained, all other weights are frozen"
    count, active = result.model.parameter_count, result.model.active_parameter_count
    if active is not None and count is not None and active != count:
        yield f"a token uses {say_count(active)} of {say_count(count)} weights"
    imbalance = figure(result, "expert_imbalance")
    if imbalance is not None:
        yield f"the fullest expert has {imbalance:.2f} times its share of the tokens"
