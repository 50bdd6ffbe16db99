"""Two sides of launches to a comparison: match cases, find ratios, correct p-values, read gates."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from trnbench import __version__
from trnbench.compare.cases import (
    Measured,
    Pair,
    describe_case,
    make_pair,
    unique_names,
)
from trnbench.compare.gates import CASE_KEY, Gate, Terms, judge_gate
from trnbench.compare.launches import Launch
from trnbench.compare.matching import group_launches, match_groups, refusal
from trnbench.compare.ratio import LogDifference, adjust, needed
from trnbench.errors import ConfigError
from trnbench.schema.comparison import (
    CaseComparison,
    Comparison,
    Correction,
    GateOutcome,
    GateState,
    Unmatched,
)
from trnbench.units import say_change

Hypothesis = tuple[str, str, float, float]
"""Case, statistic, ratio of the rates, reference: equal ones are one comparison, as a loss of speed
and the rise of cost that is the same thing."""

DISTURBANCES = {
    "foreign_load": "other work held the processors while it was measured",
    "throttling": "a device was throttled or faulty while it was measured",
}
"""Checks that a gate must not pass beside: the machine may be what made the difference."""

TO_CONFIRM = ("failed", "undecided")


def compare(
    base: Sequence[Launch],
    cand: Sequence[Launch],
    terms: Terms,
    *,
    base_sources: Sequence[str] = (),
    cand_sources: Sequence[str] = (),
) -> Comparison:
    """Compare CAND with BASE, case by case; the sources are where their launches were read.

    Raises:
        ConfigError: no case of one side has the work of a case of the other; or sides that are to
            be paired have not as many launches.
    """
    base, base_notes = _without_copies(base, "BASE")
    cand, cand_notes = _without_copies(cand, "CAND")
    matching = match_groups(group_launches(base), group_launches(cand), terms.allowed)
    if not matching.pairs:
        raise refusal(matching.unmatched)
    for first, second in matching.pairs:
        counts = len(first.launches), len(second.launches)
        if terms.is_paired and counts[0] != counts[1]:
            raise ConfigError(
                f"--paired: {second.name} has {counts[0]} launches in BASE and {counts[1]} in CAND",
                hint="pairs need as many launches on both sides; leave --paired out",
            )
    pairs = [make_pair(*groups, terms) for groups in matching.pairs]
    named = dict(zip(unique_names(pairs), pairs, strict=True))
    p_values = _corrected(
        [(name, found, 0.0) for name, pair in named.items() for found in pair.measured.values()],
        terms.correction,
    )
    notes = [*base_notes, *cand_notes]
    if {launch.digest for launch in base} & {launch.digest for launch in cand}:
        notes.append("the same measurement is on both sides")
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
                    metric: p_values.get(_hypothesis(name, found, 0.0))
                    for metric, found in pair.measured.items()
                },
            )
            for name, pair in named.items()
        ),
        unmatched=matching.unmatched,
        gates=_gates(named, matching.unmatched, terms),
        notes=tuple(notes),
    )


def _without_copies(launches: Sequence[Launch], label: str) -> tuple[list[Launch], list[str]]:
    """Count a measurement once, however often it was named: copies show nothing of the noise."""
    kept = list({launch.digest: launch for launch in launches}.values())
    copies = len(launches) - len(kept)
    if not copies:
        return kept, []
    return kept, [f"{label}: {copies} of {len(launches)} results are copies, and count once"]


def _hypothesis(name: str, found: Measured, reference: float) -> Hypothesis:
    return (name, found.comparable.statistic, round(found.rate_ratio, 12), reference)


def _corrected(
    family: Sequence[tuple[str, Measured, float]], correction: Correction
) -> Mapping[Hypothesis, float]:
    """Correct the p-values of a family of comparisons, each with its case and its reference."""
    p_values = {
        _hypothesis(name, found, reference): found.difference.p_value(math.log1p(reference))
        for name, found, reference in family
        if found.difference is not None
    }
    adjusted = adjust(list(p_values.values()), correction)
    return dict(zip(p_values, adjusted, strict=True))


def _gates(
    named: Mapping[str, Pair], unmatched: Sequence[Unmatched], terms: Terms
) -> tuple[GateOutcome, ...]:
    """Read every gate on every case; the gates are a family of comparisons of their own."""
    read = [(gate, name, pair) for gate in terms.gates for name, pair in named.items()]
    corrected = _corrected(
        [(name, pair.measured[gate.metric], gate.reference) for gate, name, pair in read],
        terms.correction,
    )
    outcomes = []
    for gate, name, pair in read:
        found = pair.measured[gate.metric]
        p_adjusted = corrected.get(_hypothesis(name, found, gate.reference))
        outcomes.append(_read_gate(gate, pair, name, found, p_adjusted))
    if CASE_KEY not in terms.allowed:
        outcomes += [
            _outcome_of(gate, case.name)(
                evidence=f"CAND has no such case: {case.reason}",
                advice=f"measure it, or accept that it is gone: --allow {CASE_KEY}",
            )
            for gate in terms.gates
            for case in unmatched
            if case.side == "base"
        ]
    return tuple(outcomes)


def _read_gate(
    gate: Gate, pair: Pair, name: str, found: Measured, p_adjusted: float | None
) -> GateOutcome:
    doubts = tuple({**pair.base.doubts, **pair.cand.doubts})
    outcome = partial(_outcome_of(gate, name), doubts=doubts)
    unusable = pair.cand.unusable
    if unusable:
        last = unusable[-1]
        return outcome(
            evidence=f"{len(unusable)} of CAND's {len(pair.cand.group.launches)} launches "
            f"are {last.result.standing}: {last.why_not}",
            advice="correct what is wrong, or leave those results out, and compare again",
        )
    if found.ratio is None:
        return outcome(evidence=f"there is no figure: {found.reason}")
    if found.difference is None:
        change = found.ratio - 1
        return outcome(
            state="undecided",
            change=change,
            evidence=f"{say_change(change)} without an interval: {found.reason}",
            advice="measure more launches a side",
        )
    p_value = 1.0 if p_adjusted is None else p_adjusted
    change, low, high = (ratio - 1 for ratio in found.difference.ratios())
    state, why, advice = _decide(gate, found.difference, p_value, (low, high))
    disturbed = [name for name in doubts if name in DISTURBANCES]
    if state == "passed" and disturbed:
        state, why = "undecided", f"{why}, but {DISTURBANCES[disturbed[0]]}"
        advice = "measure again on a quiet machine, or let `--confirm` do it"
    return outcome(
        state=state,
        change=change,
        change_low=low,
        change_high=high,
        p_adjusted=p_value,
        evidence=f"{say_change(change)} [{say_change(low)}, {say_change(high)}]: {why}",
        advice=advice,
    )


def _decide(
    gate: Gate, difference: LogDifference, p_adjusted: float, ends: tuple[float, float]
) -> tuple[GateState, str, str | None]:
    """Return the gate's state, why, and what to do about it."""
    state = judge_gate(gate, difference, p_adjusted)
    if state == "passed":
        return state, "the whole interval keeps the limit", None
    if state == "failed":
        is_beyond = ends[1] < gate.limit if gate.is_lower_bound else ends[0] > gate.limit
        if is_beyond:
            return state, "the whole interval breaks the limit", None
        return state, "the change is real, and may be past the limit", None
    count = needed(difference, abs(gate.limit))
    advice = f"measure {count} launches a side"
    if count is None:
        advice = "no number of launches decides this on so noisy a machine; choose a wider limit"
    return state, "the interval is too wide to say", advice


def _outcome_of(gate: Gate, case: str) -> partial[GateOutcome]:
    """Return what makes the gate's outcome, which is not judged unless the call says otherwise."""
    return partial(
        GateOutcome,
        gate=gate.text,
        metric=gate.metric,
        relation=gate.relation,
        limit=gate.limit,
        case=case,
        state="not_judged",
        change=None,
        change_low=None,
        change_high=None,
        p_adjusted=None,
    )


def cases_to_confirm(comparison: Comparison) -> list[CaseComparison]:
    """Return the cases of which a gate failed or is undecided."""
    names = {gate.case for gate in comparison.gates if gate.state in TO_CONFIRM}
    return [case for case in comparison.cases if case.name in names]


def launches_of(case: CaseComparison, launches: Sequence[Launch], *, is_base: bool) -> list[Launch]:
    """Return the launches that one side of a case used."""
    side = case.base if is_base else case.cand
    used = {(one.run_id, one.case_id, one.started_at) for one in side.launches if one.is_used}
    return [
        launch
        for launch in launches
        if (launch.result.run_id, launch.result.case_id, launch.result.started_at) in used
    ]


def with_second_look(first: Comparison, second: Comparison, names: Mapping[str, str]) -> Comparison:
    """Let a second comparison, of cases measured again, decide the gates that did not pass.

    Fresh launches alone count there, so two looks raise no more false alarms than one. `names` has
    each such case's name in `first` by the case id of CAND's.
    """
    renamed = {
        case.name: names[launch.case_id]
        for case in second.cases
        for launch in case.cand.launches[:1]
        if launch.case_id in names
    }
    cases = {
        name: case.model_copy(update={"name": name})
        for case in second.cases
        if (name := renamed.get(case.name)) is not None
    }
    later = {
        (gate.gate, name): gate.model_copy(update={"case": name})
        for gate in second.gates
        if (name := renamed.get(gate.case)) is not None
    }
    first_look = [
        gate for gate in first.gates if gate.state in TO_CONFIRM and (gate.gate, gate.case) in later
    ]
    gates = [later[gate.gate, gate.case] if gate in first_look else gate for gate in first.gates]
    return first.model_copy(
        update={
            "cases": tuple(cases.get(case.name, case) for case in first.cases),
            "gates": tuple(gates),
            "first_look": tuple(first_look),
            "notes": (*first.notes, *second.notes),
        }
    )
