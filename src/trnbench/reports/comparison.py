"""A comparison as a report: a table a case, what must be read beside it, and the gates."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trnbench.compare.metrics import COMPARABLES, Unit
from trnbench.reports import document as doc
from trnbench.reports.columns import COMPARISON_COLUMNS, Compared
from trnbench.schema.comparison import (
    BreakEven,
    CaseComparison,
    ComparedSide,
    Comparison,
    ComparisonVerdict,
    Difference,
    GateOutcome,
    GateState,
    MetricComparison,
    Ratio,
    Unmatched,
)
from trnbench.units import (
    say_bytes,
    say_count,
    say_interval,
    say_percent,
    say_rate,
    say_usd,
    say_usd_interval,
)

LABELS: Mapping[str, str] = {
    "tokens_per_second": "tokens/s",
    "tokens_per_second_per_device": "tokens/s/device",
    "step_time_mean_seconds": "mean step",
    "step_time_median_seconds": "median step",
    "mfu": "MFU",
    "peak_memory_bytes": "peak memory",
    "compile_seconds": "compile time",
    "first_step_seconds": "first step",
    "usd_per_million_tokens": "$ per M tokens",
    "tokens_per_usd": "tokens per $",
    "tokens_to_target_loss": "tokens to loss",
    "usd_to_target_loss": "$ to loss",
}
"""What a metric is called in a table; each is explained in docs/compare.md."""

STATES: Mapping[GateState, str] = {
    "passed": "passed",
    "failed": "FAILED",
    "undecided": "undecided",
    "not_judged": "NOT JUDGED",
}


COLUMNS = (
    doc.Column("metric", is_obvious=True),
    doc.Column("BASE", is_figure=True),
    doc.Column("CAND", is_figure=True),
    doc.Column("CAND / BASE [95 %]", is_figure=True),
    doc.Column("could see", is_figure=True, least_page_width=100),
    doc.Column("verdict"),
)
GATE_COLUMNS = (
    doc.Column("", least_width=max(map(len, STATES.values()))),
    doc.Column("gate"),
    doc.Column("seen"),
)

VERDICT_STYLES: Mapping[ComparisonVerdict, doc.Style] = {
    "better": "good", "worse": "bad", "cannot_tell": "doubtful",
}  # fmt: skip
STATE_STYLES: Mapping[GateState, doc.Style] = {
    "passed": "good", "failed": "bad", "undecided": "doubtful", "not_judged": "bad",
}  # fmt: skip


def _document(comparison: Comparison, page: doc.Page) -> doc.Document:
    def parts() -> Iterator[doc.Part]:
        for case in comparison.cases:
            yield doc.Heading(case.name)
            yield sides_of(case)
            yield table_of(case)
            yield doc.Notes(notes_of(case), indent=2, is_mark_plain=True)
        yield doc.Notes(general_notes(comparison), is_mark_plain=True)

    summary = doc.Heading(summary_of(comparison), level=0)
    gates = [gates_of(comparison)] if comparison.gates else []
    return doc.Document([*parts()], conclusion=[summary, *gates])


def _rows(comparison: Comparison) -> doc.Rows:
    """Return a row for each metric of each case."""
    return doc.Rows(
        [column.name for column in COMPARISON_COLUMNS],
        [
            [column.read(Compared(comparison, case, metric)) for column in COMPARISON_COLUMNS]
            for case in comparison.cases
            for metric in case.metrics
        ],
    )


def _record(comparison: Comparison, page: doc.Page) -> Any:
    """Return the record itself, of which `trnbench schema` has the form."""
    return comparison.model_dump(mode="json")


REPORT: doc.Report[Comparison] = doc.Report(document=_document, rows=_rows, record=_record)


def sides_of(case: CaseComparison) -> doc.Facts:
    """Say what each side is: of how many launches, on what, by which software, at which price."""
    return doc.Facts([("BASE", _side(case.base)), ("CAND", _side(case.cand))])


def table_of(case: CaseComparison) -> doc.Table:
    """Return the metrics of a case as rows."""
    return doc.Table(COLUMNS, [_cells(metric) for metric in case.metrics], indent=2)


def gates_of(comparison: Comparison) -> doc.Table:
    """Return each gate's state, its text, and what was seen, with the case and the advice."""
    rows = [
        (
            doc.Cell(STATES[gate.state], STATE_STYLES[gate.state]),
            gate.gate,
            f"{gate.case}: {say_evidence(gate)}{f' → {gate.advice}' if gate.advice else ''}",
        )
        for gate in comparison.gates
    ]
    return doc.Table(GATE_COLUMNS, rows, is_list=True)


def _cells(metric: MetricComparison) -> tuple[doc.Cell | str, ...]:
    least = metric.ratio.least_change
    return (
        LABELS[metric.metric],
        say_value(metric.metric, metric.base.value),
        say_value(metric.metric, metric.cand.value),
        say_ratio(metric.ratio),
        doc.UNKNOWN if least is None else f"±{say_percent(least)}",
        doc.Cell(say_verdict(metric), VERDICT_STYLES.get(metric.verdict)),
    )


def say_evidence(gate: GateOutcome) -> str:
    """Say what a gate saw, and which doubts there are about it."""
    doubts = f" (doubtful: {', '.join(gate.doubts)})" if gate.doubts else ""
    return f"{gate.evidence}{doubts}"


def summary_of(comparison: Comparison) -> str:
    """Say in a line what the gates, or where there are none the verdicts, come to."""
    if comparison.gates:
        counts = [
            (sum(gate.state == state for gate in comparison.gates), word)
            for state, word in STATES.items()
        ]
        told = ", ".join(f"{count} {word}" for count, word in counts if count)
        total = len(comparison.gates)
        return f"{total} {'gate' if total == 1 else 'gates'}: {told}"
    verdicts = [metric.verdict for case in comparison.cases for metric in case.metrics]
    words: tuple[tuple[ComparisonVerdict, str], ...] = (
        ("worse", "worse"), ("better", "better"), ("same", "the same"),
        ("cannot_tell", "cannot tell"),
    )  # fmt: skip
    told = ", ".join(
        f"{verdicts.count(verdict)} {word}" for verdict, word in words if verdict in verdicts
    )
    return f"{len(verdicts)} figures of {len(comparison.cases)} cases: {told}"


def notes_of(case: CaseComparison) -> list[str]:
    """Return what must be read beside a case's rows, each thing once."""
    notes = []
    for kind, start in (("allowed", "NOT THE SAME WORK, allowed"), ("setup", "differs")):
        told = [_difference(one) for one in case.differences if one.kind == kind]
        if told:
            notes.append(f"{start}: {'; '.join(told)}")
    notes += case.notes
    notes += _reasons(case)
    notes += _break_even(case)
    notes += _target(case)
    return notes


def general_notes(comparison: Comparison) -> list[str]:
    """Return what holds for the whole comparison: its rules, and what could not be compared."""
    notes = []
    if comparison.base and comparison.cand:
        base, cand = ", ".join(comparison.base), ", ".join(comparison.cand)
        notes.append(f"BASE is {base}; CAND is {cand}")
    notes += comparison.notes
    notes += [_unmatched(case) for case in comparison.unmatched]
    if comparison.first_look:
        told = "; ".join(
            f"{gate.gate} on {gate.case}: {STATES[gate.state]}" for gate in comparison.first_look
        )
        notes.append(f"measured again before judging; at the first look: {told}")
    if any(m.ratio.method == "assumed" for case in comparison.cases for m in case.metrics):
        notes.append(
            "too few launches to see how they differ: intervals allow for 2.1 % between launches, "
            "the most seen in public logs; three launches a side tell their own"
        )
    corrections = {"holm": "Holm", "bh": "Benjamini and Hochberg", "none": "nothing"}
    if comparison.comparisons > 1:
        notes.append(
            f"{comparison.comparisons} comparisons, corrected by "
            f"{corrections[comparison.correction]}; margin {100 * comparison.margin:g} %"
        )
    else:
        notes.append(f"margin {100 * comparison.margin:g} %")
    return notes


def say_value(metric: str, value: float | None) -> str:
    """Write a metric's figure with its unit, in four digits."""
    if value is None:
        return doc.UNKNOWN
    return _SAY[COMPARABLES[metric].unit](value)


def say_ratio(ratio: Ratio) -> str:
    """Write a ratio with its interval."""
    if ratio.value is None:
        return doc.UNKNOWN
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.4g} [no interval]"
    return say_interval(ratio.value, ratio.low, ratio.high)


def say_verdict(metric: MetricComparison) -> str:
    """Write a verdict with the size of the change."""
    value = metric.ratio.value
    if metric.verdict == "cannot_tell" or value is None:
        return "cannot tell"
    if metric.verdict == "same":
        return "same"
    if 0.5 <= value <= 2:
        return f"{metric.verdict} by {say_percent(abs(value - 1))}"
    return f"{metric.verdict}, {max(value, 1 / value):.3g} x"


def _seconds(value: float) -> str:
    for scale, unit in ((1.0, "s"), (1e3, "ms")):
        if value * scale >= 1:
            return f"{value * scale:.4g} {unit}"
    return f"{value * 1e6:.4g} µs"


_SAY: Mapping[Unit, Callable[[float], str]] = {
    "tokens_per_second": say_rate,
    "seconds": _seconds,
    "bytes": say_bytes,
    "ratio": say_percent,
    "usd": say_usd,
    "tokens_per_usd": say_count,
    "tokens": say_count,
}


def say_launches(side: ComparedSide) -> str:
    """Say how many launches of a side count, of how many, and how many of those are doubtful."""
    total, used = len(side.launches), side.used
    count = f"{used} {'launch' if used == 1 else 'launches'}"
    if used < total:
        count = f"{used} of {total} launches"
    doubtful = sum(one.is_used and one.standing == "doubtful" for one in side.launches)
    if doubtful:
        count += f" ({'doubtful' if doubtful == used else f'{doubtful} doubtful'})"
    return count


def _side(side: ComparedSide) -> str:
    count = say_launches(side)
    days = sorted({launch.started_at[:10] for launch in side.launches})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    device = side.device if side.device_count == 1 else f"{side.device_count} x {side.device}"
    torch = side.versions.get("torch")
    price = "no price" if side.price is None else _price(side)
    parts = [count, when, device, f"torch {torch}" if torch else None, price]
    return ", ".join(part for part in parts if part)


def _price(side: ComparedSide) -> str:
    price = side.price
    if price is None:
        return "no price"
    terms = (price.instance, price.option, price.region, price.date.isoformat())
    many = f" x {side.instances_billed}" if side.instances_billed > 1 else ""
    return f"${price.usd_per_hour}/h{many} ({' '.join(term for term in terms if term)})"


def _difference(one: Difference) -> str:
    return f"{one.key} {one.base} / {one.cand}"


def _reasons(case: CaseComparison) -> list[str]:
    """Say why a verdict could not be given, each reason once for all the rows that it holds for."""
    told: dict[str, list[str]] = {}
    for metric in case.metrics:
        if metric.verdict == "cannot_tell":
            told.setdefault(metric.reason, []).append(LABELS[metric.metric])
    every = len(case.metrics)
    notes = [
        reason if len(labels) == every else f"{', '.join(labels)}: {reason}"
        for reason, labels in told.items()
    ]
    return notes if _is_spoilt(case) else [*notes, *_needed(case)]


def _is_spoilt(case: CaseComparison) -> bool:
    """Tell whether wrong training takes every verdict away, so that more launches give none."""
    return any(one.standing == "invalid" for one in (*case.base.launches, *case.cand.launches))


def _needed(case: CaseComparison) -> Iterator[str]:
    """Say how many launches would tell, for the rows that it holds for."""
    told: dict[int | None, list[str]] = {}
    for metric in case.metrics:
        if metric.verdict == "cannot_tell" and metric.ratio.method is not None:
            told.setdefault(metric.ratio.launches_needed, []).append(LABELS[metric.metric])
    for count, labels in told.items():
        many = "more than 1,000" if count is None else count
        yield (
            f"{many} launches a side would tell a change of the margin's size: {', '.join(labels)}"
        )


def _break_even(case: CaseComparison) -> list[str]:
    return [*_even_rate(case), *_even_speed(case.break_even)]


def _even_rate(case: CaseComparison) -> list[str]:
    even = case.break_even
    if even.usd_per_hour is None:
        return []
    instance = case.cand.instance or "CAND's instance"
    if even.low is None or even.high is None:
        amount = say_usd(even.usd_per_hour)
    else:
        amount = say_usd_interval(even.usd_per_hour, even.low, even.high)
    paid = f", and ${case.cand.price.usd_per_hour} is paid" if case.cand.price else ""
    return [f"a token costs the same on both sides if {instance} costs {amount} an hour{paid}"]


def _even_speed(even: BreakEven) -> list[str]:
    if even.tokens_per_second is None:
        return []
    if even.tokens_per_second_low is None or even.tokens_per_second_high is None:
        speed = say_rate(even.tokens_per_second)
    else:
        ends = even.tokens_per_second_low, even.tokens_per_second_high
        speed = say_interval(even.tokens_per_second, *ends)
    return [f"at the prices that are paid a token costs the same if CAND came to {speed} tokens/s"]


def _target(case: CaseComparison) -> list[str]:
    """Say what each side took to learn, beside what its tokens cost."""
    shown = {"usd_to_target_loss", "tokens_to_target_loss"}
    if not any(metric.metric in shown for metric in case.metrics):
        return []
    target = case.target
    if target.base_steps is None or target.cand_steps is None:
        return []
    return [
        f"loss: within {target.excess_nats:g} nat of the best possible, after "
        f"{target.base_steps:.1f} steps on BASE and {target.cand_steps:.1f} on CAND"
    ]


def _unmatched(case: Unmatched) -> str:
    side, other = ("BASE", "CAND") if case.side == "base" else ("CAND", "BASE")
    told = "; ".join(_difference(one) for one in case.differences if one.kind == "work")
    beside = f" ({other}'s {case.nearest}; BASE / CAND: {told})" if told else ""
    return f"not compared: {side}'s {case.name}: {case.reason}{beside}"
