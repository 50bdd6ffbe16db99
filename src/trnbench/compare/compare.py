"""Two sides of launches to a comparison: counterparts found, ratios told, gates read.

A second look at cases that were measured again decides the gates that the first did not see pass:
fresh launches alone count there, so two looks raise no more false alarms than one.
"""

import math
from collections.abc import Mapping, Sequence

from trnbench import __version__
from trnbench.analysis.statistics import exp_of
from trnbench.compare.cases import (
    Measured,
    Pair,
    describe_case,
    make_pair,
    needed,
    unique_names,
)
from trnbench.compare.gates import CASE_KEY, Gate, Terms, judge_gate
from trnbench.compare.launches import Launch
from trnbench.compare.matching import group_launches, match_groups
from trnbench.compare.ratio import LogDifference, adjust
from trnbench.compare.sides import doubts_of, why_not
from trnbench.errors import ConfigError, Problem
from trnbench.schema.comparison import (
    CaseComparison,
    Comparison,
    Correction,
    GateOutcome,
    Unmatched,
)
from trnbench.units import say_change

Hypothesis = tuple[str, str, float, float]
"""Case, statistic, ratio of the rates, reference: equal ones are one comparison."""

TO_CONFIRM = ("failed", "undecided")


def compare(
    base: Sequence[Launch],
    cand: Sequence[Launch],
    terms: Terms,
    *,
    base_sources: Sequence[str] = (),
    cand_sources: Sequence[str] = (),
) -> Comparison:
    """Compare two sides, case by case.

    Args:
        base: launches of the side that is compared with, of one or more cases.
        cand: launches of the side that is compared.
        terms: margin, gates and what else was asked for.
        base_sources: where BASE's launches came from, as it was asked for.
        cand_sources: where CAND's launches came from.

    Raises:
        ConfigError: no case of one side has the work of a case of the other; or sides that are to
            be paired have not as many launches.
    """
    base, base_notes = _without_copies(base, "BASE")
    cand, cand_notes = _without_copies(cand, "CAND")
    matching = match_groups(group_launches(base), group_launches(cand), terms.allowed)
    if not matching.pairs:
        raise _unlike(matching.unmatched)
    if terms.is_paired:
        _check_pairs([(len(b.launches), len(c.launches), c.name) for b, c in matching.pairs])
    pairs = [make_pair(*groups, terms) for groups in matching.pairs]
    names = unique_names(pairs)
    p_values = _family(pairs, names, terms)
    notes = [*base_notes, *cand_notes]
    if {launch.digest for launch in base} & {launch.digest for launch in cand}:
        notes.append("the same measurement stands on both sides")
    return Comparison(
        trnbench_version=__version__,
        base=tuple(base_sources),
        cand=tuple(cand_sources),
        margin=terms.margin,
        correction=terms.correction,
        comparisons=len(p_values),
        is_paired=terms.is_paired,
        allowed=terms.allowed,
        cases=tuple(
            describe_case(
                pair,
                name,
                terms,
                {
                    metric: p_values.get(_hypothesis(name, found))
                    for metric, found in pair.measured.items()
                },
            )
            for pair, name in zip(pairs, names, strict=True)
        ),
        unmatched=matching.unmatched,
        gates=_gates(pairs, names, matching.unmatched, terms),
        notes=tuple(notes),
    )


def _without_copies(launches: Sequence[Launch], label: str) -> tuple[list[Launch], list[str]]:
    """Count a measurement once, however often it was named: copies tell nothing of the spread."""
    kept = list({launch.digest: launch for launch in launches}.values())
    copies = len(launches) - len(kept)
    if not copies:
        return kept, []
    return kept, [f"{label}: {copies} of {len(launches)} results are copies, and count once"]


def _unlike(unmatched: Sequence[Unmatched]) -> ConfigError:
    """Refuse to compare unlike work, with all in which it differs."""
    problems = []
    for case in unmatched:
        if case.side == "base" or case.nearest is None:
            continue
        keys = [d.key for d in case.differences if d.kind == "work"]
        told = "; ".join(
            f"{d.key}: BASE {d.base}, CAND {d.cand}" for d in case.differences if d.kind == "work"
        )
        allow = " ".join(f"--allow {key}" for key in keys)
        problems.append(
            Problem(
                f"{case.name}: is not the work of any case of BASE; nearest {case.nearest}: "
                f"{told or case.reason}",
                f"measure the same work on both sides, or overrule: {allow}"
                if keys
                else "name one of those results alone",
            )
        )
    return ConfigError.of(
        problems or [Problem("nothing can be compared: a side has no result", "name other results")]
    )


def _check_pairs(counts: Sequence[tuple[int, int, str]]) -> None:
    for base, cand, name in counts:
        if base != cand:
            raise ConfigError(
                f"--paired: {name} has {base} launches in BASE and {cand} in CAND",
                hint="pairs need as many launches on both sides; leave --paired out",
            )


def _hypothesis(name: str, found: Measured, reference: float = 0.0) -> Hypothesis:
    return (name, found.comparable.statistic, round(found.rate_ratio, 12), reference)


def _family(
    pairs: Sequence[Pair], names: Sequence[str], terms: Terms
) -> Mapping[Hypothesis, float]:
    """Return the corrected p-value of each separate comparison with no change."""
    p_values = {
        _hypothesis(name, found): found.difference.p_value()
        for pair, name in zip(pairs, names, strict=True)
        for found in pair.measured.values()
        if found.difference is not None
    }
    return _corrected(p_values, terms.correction)


def _corrected(
    p_values: Mapping[Hypothesis, float], correction: Correction
) -> Mapping[Hypothesis, float]:
    adjusted = adjust(list(p_values.values()), correction)
    return dict(zip(p_values, adjusted, strict=True))


def _gates(
    pairs: Sequence[Pair],
    names: Sequence[str],
    unmatched: Sequence[Unmatched],
    terms: Terms,
) -> tuple[GateOutcome, ...]:
    """Read every gate on every case; the gates are a family of comparisons of their own."""
    read = [
        (gate, pair, name, pair.measured[gate.metric])
        for gate in terms.gates
        for pair, name in zip(pairs, names, strict=True)
    ]
    p_values = {
        _gate_hypothesis(gate, name, found): found.difference.p_value(math.log1p(gate.reference))
        for gate, _, name, found in read
        if found.difference is not None
    }
    corrected = _corrected(p_values, terms.correction)
    outcomes = [
        _read_gate(gate, pair, name, found, corrected.get(_gate_hypothesis(gate, name, found)))
        for gate, pair, name, found in read
    ]
    if CASE_KEY not in terms.allowed:
        outcomes += [
            _no_counterpart(gate, case)
            for gate in terms.gates
            for case in unmatched
            if case.side == "base"
        ]
    return tuple(outcomes)


def _gate_hypothesis(gate: Gate, name: str, found: Measured) -> Hypothesis:
    """A loss of speed and the rise of cost that is the same thing are one comparison."""
    return _hypothesis(name, found, gate.reference)


def _read_gate(
    gate: Gate, pair: Pair, name: str, found: Measured, p_adjusted: float | None
) -> GateOutcome:
    outcome = GateOutcome(
        gate=gate.text,
        metric=gate.metric,
        relation=gate.relation,
        limit=gate.limit,
        case=name,
        state="not_judged",
        change=None,
        change_low=None,
        change_high=None,
        p_adjusted=None,
        evidence="",
        doubts=doubts_of((pair.base, pair.cand)),
    )
    unusable = [launch for launch in pair.cand.group.launches if not launch.is_usable]
    if unusable:
        result = unusable[-1].result
        return outcome.model_copy(
            update={
                "evidence": f"{len(unusable)} of CAND's {len(pair.cand.group.launches)} launches "
                f"came out {result.standing}: {why_not(unusable[-1])}",
                "advice": "mend what is wrong, or leave those results out, and compare again",
            }
        )
    if found.ratio is None:
        return outcome.model_copy(update={"evidence": f"there is no figure: {found.reason}"})
    if found.difference is None:
        change = found.ratio - 1
        return outcome.model_copy(
            update={
                "state": "undecided",
                "change": change,
                "evidence": f"{say_change(change)} without an interval: {found.reason}",
                "advice": "measure more launches a side",
            }
        )
    return _judged(outcome, gate, found.difference, 1.0 if p_adjusted is None else p_adjusted)


def _judged(
    outcome: GateOutcome, gate: Gate, difference: LogDifference, p_adjusted: float
) -> GateOutcome:
    ends = (difference.value, difference.low(), difference.high())
    change, low, high = (exp_of(end) - 1 for end in ends)
    state = judge_gate(gate, difference, p_adjusted)
    seen = f"{say_change(change)} [{say_change(low)}, {say_change(high)}]"
    advice = None
    if state == "passed":
        evidence = f"{seen}: the whole interval keeps the limit"
    elif state == "failed":
        is_beyond = (high < gate.limit) if gate.is_lower_bound else (low > gate.limit)
        how = "the whole interval breaks" if is_beyond else "the change is real, and may be past"
        evidence = f"{seen}: {how} the limit"
    else:
        evidence = f"{seen}: the interval is too wide to say"
        count = needed(difference, gate.size)
        advice = (
            f"measure {count} launches a side"
            if count is not None
            else "no number of launches decides this on so noisy a machine; choose a wider limit"
        )
    return outcome.model_copy(
        update={
            "state": state,
            "change": change,
            "change_low": low,
            "change_high": high,
            "p_adjusted": p_adjusted,
            "evidence": evidence,
            "advice": advice,
        }
    )


def _no_counterpart(gate: Gate, case: Unmatched) -> GateOutcome:
    return GateOutcome(
        gate=gate.text,
        metric=gate.metric,
        relation=gate.relation,
        limit=gate.limit,
        case=case.name,
        state="not_judged",
        change=None,
        change_low=None,
        change_high=None,
        p_adjusted=None,
        evidence=f"CAND has no such case: {case.reason}",
        advice=f"measure it, or accept that it is gone: --allow {CASE_KEY}",
    )


def cases_to_confirm(comparison: Comparison) -> list[CaseComparison]:
    """Return the cases of which a gate failed or is undecided."""
    names = {gate.case for gate in comparison.gates if gate.state in TO_CONFIRM}
    return [case for case in comparison.cases if case.name in names]


def launches_of(case: CaseComparison, launches: Sequence[Launch], *, is_base: bool) -> list[Launch]:
    """Return the launches that one side of a case used."""
    side = case.base if is_base else case.cand
    used = {
        (launch.run_id, launch.case_id, launch.started_at)
        for launch in side.launches
        if launch.is_used
    }
    return [
        launch
        for launch in launches
        if (launch.result.run_id, launch.result.case_id, launch.result.started_at) in used
    ]


def with_second_look(first: Comparison, second: Comparison, names: Mapping[str, str]) -> Comparison:
    """Let a second comparison decide the gates that the first one did not see pass.

    Args:
        first: the comparison that was made first.
        second: the comparison of what was measured again.
        names: of each case that was measured again, its name in `first` by the case id of CAND's.
    """
    renamed = {
        case.name: names[launch.case_id]
        for case in second.cases
        for launch in case.cand.launches[:1]
        if launch.case_id in names
    }
    cases = {
        renamed[case.name]: case.model_copy(update={"name": renamed[case.name]})
        for case in second.cases
        if case.name in renamed
    }
    later = {(gate.gate, renamed.get(gate.case)): gate for gate in second.gates}
    gates: list[GateOutcome] = []
    first_look: list[GateOutcome] = []
    for gate in first.gates:
        fresh = later.get((gate.gate, gate.case))
        if gate.state in TO_CONFIRM and fresh is not None:
            first_look.append(gate)
            gates.append(fresh.model_copy(update={"case": gate.case}))
        else:
            gates.append(gate)
    return first.model_copy(
        update={
            "cases": tuple(cases.get(case.name, case) for case in first.cases),
            "gates": tuple(gates),
            "first_look": tuple(first_look),
            "notes": (*first.notes, *second.notes),
        }
    )
