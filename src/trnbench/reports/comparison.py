"""A comparison as a report: a table a case, what must be read beside it, and the gates."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from trnbench import units
from trnbench.compare.metrics import COMPARABLES, Unit
from trnbench.reports import document as doc
from trnbench.reports import texts
from trnbench.reports.columns import COMPARISON_COLUMNS, Compared, rows_of
from trnbench.schema import comparison as schema

STATES: Mapping[schema.GateState, doc.Cell] = {
    "passed": doc.Cell("passed", "good"),
    "failed": doc.Cell("FAILED", "bad"),
    "undecided": doc.Cell("undecided", "doubtful"),
    "not_judged": doc.Cell("NOT JUDGED", "bad"),
}
VERDICTS: Mapping[schema.ComparisonVerdict, str] = {
    "worse": "worse", "better": "better", "same": "the same", "cannot_tell": "cannot tell",
}  # fmt: skip
VERDICT_STYLES: Mapping[schema.ComparisonVerdict, doc.Style] = {
    "better": "good", "worse": "bad", "cannot_tell": "doubtful",
}  # fmt: skip

COLUMNS = (
    doc.Column("metric", is_obvious=True),
    *doc.columns(">BASE", ">CAND", ">CAND / BASE [95 %]"),
    *doc.columns("?>detectable", "verdict"),
)
GATE_COLUMNS = (
    doc.Column("", least_width=max(len(state.text) for state in STATES.values())),
    *doc.columns("gate", "seen"),
)


def _document(comparison: schema.Comparison, page: doc.Page) -> doc.Document:
    parts: list[doc.Part] = []
    for case in comparison.cases:
        notes = doc.Notes(notes_of(case), indent=2, is_mark_plain=True)
        parts += [doc.Heading(case.name), sides_of(case), table_of(case), notes]
    parts.append(doc.Notes(general_notes(comparison), is_mark_plain=True))
    summary = doc.Heading(summary_of(comparison), level=0)
    gates = [gates_of(comparison)] if comparison.gates else []
    return doc.Document(parts, conclusion=[summary, *gates], backing=lambda: _backing(comparison))


MOST_ANSWERED = 5
"""Cases that a page's answer names, and that have a figure."""
DECISIVE = ("tokens_per_second", "usd_per_million_tokens")
"""Metrics that the answer says."""


def _backing(comparison: schema.Comparison) -> doc.Backing:
    from trnbench.reports.figures_of_comparison import of_case

    cases = comparison.cases[:MOST_ANSWERED]
    answer = [sentence for case in cases for sentence in _answer(case)]
    made = (of_case(case, comparison.margin) for case in cases)
    return doc.Backing(answer=answer, charts=[chart for chart in made if chart is not None])


def _answer(case: schema.CaseComparison) -> Iterator[str]:
    """Say how both sides differ in what decides, how sure that is, and at which prices."""
    found = {metric.metric: metric for metric in case.metrics}
    said = [
        f"{COMPARABLES[name].label} of CAND is {say_ratio(found[name].ratio)} times that of BASE "
        f"({say_verdict(found[name])})"
        for name in DECISIVE
        if name in found and found[name].ratio.value is not None
    ]
    if said:
        prices = [
            f"{side} at ${of.price.usd_per_hour}/h {' '.join(texts.price_terms(of.price))}"
            for side, of in (("BASE", case.base), ("CAND", case.cand))
            if of.price is not None
        ]
        at = f", {', '.join(prices)}" if prices and DECISIVE[1] in found else ""
        yield f"{case.name}: {'; '.join(said)}{at}."


def _rows(comparison: schema.Comparison) -> doc.Rows:
    compared = (
        Compared(comparison, case, metric) for case in comparison.cases for metric in case.metrics
    )
    return rows_of(COMPARISON_COLUMNS, compared)


REPORT: doc.Report[schema.Comparison] = doc.Report(
    title="Comparison",
    document=_document,
    rows=_rows,
    record=lambda comparison, page: comparison.model_dump(mode="json"),
)
"""`trnbench schema comparison` has the form of its record."""


def summary_of(comparison: schema.Comparison) -> str:
    """Count the outcomes of the gates or, where there are none, the verdicts."""
    if comparison.gates:
        states = [gate.state for gate in comparison.gates]
        start = texts.plural(len(states), "gate")
        counts = {cell.text: states.count(state) for state, cell in STATES.items()}
    else:
        verdicts = [metric.verdict for case in comparison.cases for metric in case.metrics]
        figures = texts.plural(len(verdicts), "figure")
        start = f"{figures} of {texts.plural(len(comparison.cases), 'case')}"
        counts = {word: verdicts.count(verdict) for verdict, word in VERDICTS.items()}
    return f"{start}: {', '.join(f'{count} {word}' for word, count in counts.items() if count)}"


def gates_of(comparison: schema.Comparison) -> doc.Table:
    """Return each gate's state, its text, and what it saw, with the case and the advice."""
    rows = [
        (
            STATES[gate.state],
            gate.gate,
            texts.with_advice(f"{gate.case}: {say_evidence(gate)}", gate.advice),
        )
        for gate in comparison.gates
    ]
    return doc.Table(GATE_COLUMNS, rows, is_list=True)


def say_evidence(gate: schema.GateOutcome) -> str:
    """Say what a gate saw, and which checks make that doubtful."""
    doubts = f" (doubtful: {', '.join(gate.doubts)})" if gate.doubts else ""
    return f"{gate.evidence}{doubts}"


# --- a case ---------------------------------------------------------------------------------------


def sides_of(case: schema.CaseComparison) -> doc.Facts:
    """Say what each side is: of how many launches, on what, by which software, at which price."""
    return doc.Facts([("BASE", _side(case.base)), ("CAND", _side(case.cand))])


def _side(side: schema.ComparedSide) -> str:
    days = sorted({launch.started_at[:10] for launch in side.launches})
    torch, price = side.versions.get("torch"), "no price"
    if side.price is not None:
        many = f" x {side.instances_billed}" if side.instances_billed > 1 else ""
        price = f"${side.price.usd_per_hour}/h{many} ({' '.join(texts.price_terms(side.price))})"
    parts = (
        say_launches(side),
        days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        side.device if side.device_count in (1, None) else f"{side.device_count} x {side.device}",
        f"torch {torch}" if torch else None,
        price,
    )
    return ", ".join(part for part in parts if part)


def say_launches(side: schema.ComparedSide) -> str:
    """Say how many launches of a side count, of how many, and how many of those are doubtful."""
    total, used = len(side.launches), side.used
    count = texts.plural(used, "launch") if used == total else f"{used} of {total} launches"
    doubtful = sum(one.is_used and one.standing == "doubtful" for one in side.launches)
    if doubtful:
        count += f" ({'doubtful' if doubtful == used else f'{doubtful} doubtful'})"
    return count


def table_of(case: schema.CaseComparison) -> doc.Table:
    """Return the metrics of a case as rows."""
    return doc.Table(COLUMNS, [_cells(metric) for metric in case.metrics], indent=2)


def _cells(metric: schema.MetricComparison) -> tuple[doc.Cell | str, ...]:
    return (
        COMPARABLES[metric.metric].label,
        say_value(metric.metric, metric.base.value),
        say_value(metric.metric, metric.cand.value),
        say_ratio(metric.ratio),
        texts.say_or_unknown(
            metric.ratio.least_change, lambda least: f"±{units.say_percent(least)}"
        ),
        doc.Cell(say_verdict(metric), VERDICT_STYLES.get(metric.verdict)),
    )


def _say_seconds(value: float) -> str:
    for scale, unit in ((1.0, "s"), (1e3, "ms")):
        if value * scale >= 1:
            return f"{value * scale:.4g} {unit}"
    return f"{value * 1e6:.4g} µs"


_SAY: Mapping[Unit, Callable[[float], str]] = {
    "tokens_per_second": units.say_rate,
    "seconds": _say_seconds,
    "bytes": units.say_bytes,
    "ratio": units.say_percent,
    "usd": units.say_usd,
    "tokens_per_usd": units.say_count,
    "tokens": units.say_count,
}


def say_value(metric: str, value: float | None) -> str:
    """Write a metric's figure with its unit, in four digits."""
    return texts.say_or_unknown(value, _SAY[COMPARABLES[metric].unit])


RATIO = texts.Writer("{:.4g}".format, units.say_interval)


def say_ratio(ratio: schema.Ratio) -> str:
    """Write a ratio with its interval."""
    return texts.say_estimate(ratio.value, ratio.low, ratio.high, RATIO, without=" [no interval]")


def say_verdict(metric: schema.MetricComparison) -> str:
    """Write a verdict with the size of the change."""
    value = metric.ratio.value
    if metric.verdict == "cannot_tell" or value is None:
        return "cannot tell"
    if metric.verdict == "same":
        return "same"
    if 0.5 <= value <= 2:
        return f"{metric.verdict} by {units.say_percent(abs(value - 1))}"
    return f"{metric.verdict}, {max(value, 1 / value):.3g} x"


# --- notes ----------------------------------------------------------------------------------------


def notes_of(case: schema.CaseComparison) -> list[str]:
    """Return what must be read beside a case's rows, each thing once."""
    return [
        *_differences("NOT THE SAME WORK, allowed", "allowed", case.differences),
        *_differences("differs", "setup", case.differences),
        *case.notes,
        *_reasons(case),
        *_break_even(case),
        *_target(case),
    ]


def _differences(
    start: str, kind: schema.DifferenceKind, differences: Iterable[schema.Difference]
) -> Iterator[str]:
    of_kind = [f"{one.key} {one.base} / {one.cand}" for one in differences if one.kind == kind]
    if of_kind:
        yield f"{start}: {'; '.join(of_kind)}"


def _reasons(case: schema.CaseComparison) -> Iterator[str]:
    """Say why there is no verdict and, unless training was wrong, how many launches give one."""
    labelled = [(metric, COMPARABLES[metric.metric].label) for metric in case.metrics]
    undecided = [each for each in labelled if each[0].verdict == "cannot_tell"]
    yield from texts.say_once(
        ((metric.reason, label) for metric, label in undecided), (label for _, label in labelled)
    )
    if any(one.standing == "invalid" for one in (*case.base.launches, *case.cand.launches)):
        return
    labels_by_count: dict[int | None, list[str]] = {}
    for metric, label in undecided:
        if metric.ratio.method is not None:
            labels_by_count.setdefault(metric.ratio.launches_needed, []).append(label)
    for count, labels in labels_by_count.items():
        many = "more than 1,000" if count is None else count
        change = f"{many} launches a side would show a change as large as the margin"
        yield f"{change}: {', '.join(labels)}"


def _break_even(case: schema.CaseComparison) -> Iterator[str]:
    even = case.break_even
    if even.usd_per_hour is not None:
        usd = texts.say_estimate(even.usd_per_hour, even.low, even.high, texts.USD)
        paid = f", and ${case.cand.price.usd_per_hour} is paid" if case.cand.price else ""
        instance = case.cand.instance or "CAND's instance"
        yield f"a token costs the same on both sides if {instance} costs {usd} an hour{paid}"
    if even.tokens_per_second is not None:
        ends = even.tokens_per_second_low, even.tokens_per_second_high
        speed = texts.say_estimate(even.tokens_per_second, *ends, texts.RATE)
        yield f"at the prices paid a token costs the same if CAND reaches {speed} tokens/s"


def _target(case: schema.CaseComparison) -> Iterator[str]:
    """Say how many steps each side took to learn, beside what its tokens cost."""
    target = case.target
    is_shown = any(each.metric.endswith("_to_target_loss") for each in case.metrics)
    if is_shown and target.base_steps is not None and target.cand_steps is not None:
        yield (
            f"loss: within {target.excess_nats:g} nat of the best possible, after "
            f"{target.base_steps:.1f} steps on BASE and {target.cand_steps:.1f} on CAND"
        )


CORRECTIONS = {"holm": "Holm", "bh": "Benjamini and Hochberg", "none": "nothing"}


def general_notes(comparison: schema.Comparison) -> list[str]:
    """Return what holds for the whole comparison: its rules, and what could not be compared."""
    notes = []
    if comparison.base and comparison.cand:
        base, cand = ", ".join(comparison.base), ", ".join(comparison.cand)
        notes.append(f"BASE is {base}; CAND is {cand}")
    notes += comparison.notes
    notes += [_unmatched(case) for case in comparison.unmatched]
    if comparison.first_look:
        first = (
            f"{one.gate} on {one.case}: {STATES[one.state].text}" for one in comparison.first_look
        )
        notes.append(f"measured again before judging; at the first look: {'; '.join(first)}")
    if any(m.ratio.method == "assumed" for case in comparison.cases for m in case.metrics):
        notes.append(
            "too few launches to see how they differ: intervals allow for 2.1 % between launches, "
            "the most seen in public logs; three launches a side measure it instead"
        )
    corrected = (
        f"{comparison.comparisons} comparisons, corrected by {CORRECTIONS[comparison.correction]}; "
        if comparison.comparisons > 1
        else ""
    )
    return [*notes, f"{corrected}margin {100 * comparison.margin:g} %"]


def _unmatched(case: schema.Unmatched) -> str:
    side, other = ("BASE", "CAND") if case.side == "base" else ("CAND", "BASE")
    start = f"{other}'s {case.nearest}; BASE / CAND"
    beside = "".join(f" ({text})" for text in _differences(start, "work", case.differences))
    return f"not compared: {side}'s {case.name}: {case.reason}{beside}"
