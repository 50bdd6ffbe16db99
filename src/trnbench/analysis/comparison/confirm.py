"""A comparison, and a second one of cases that were measured again, to one in which both count.

A gate that passed at the first look has passed. One that did not is decided by fresh launches
alone: what made the first ones look bad has no part in them, so two looks raise no more false
alarms than one.
"""

from collections.abc import Mapping, Sequence

from trnbench.analysis.comparison.launch import Launch
from trnbench.schema.comparison import CaseComparison, Comparison, GateOutcome

TO_CONFIRM = ("failed", "undecided")


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
