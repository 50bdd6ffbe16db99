"""A second look decides what the first did not see pass, and nothing else."""

from tests.comparisons import base_side, cand_side, side
from trnbench.compare.compare import cases_to_confirm, compare, launches_of, with_second_look
from trnbench.compare.gates import Terms, parse_gates

TERMS = Terms(gates=parse_gates(["tokens_per_second > -2%", "peak_memory_bytes < +5%"]))
OTHER = {"workload.sequence_length": "64"}


def test_a_false_alarm_is_called_off_by_fresh_launches() -> None:
    base, cand = base_side(), cand_side()
    first = compare(base, cand, TERMS)
    assert [gate.state for gate in first.gates] == ["failed", "passed"]
    second = compare(base, base_side(start=40), TERMS)
    names = {cand[0].result.case_id: first.cases[0].name}
    both = with_second_look(first, second, names)
    assert [gate.state for gate in both.gates] == ["passed", "passed"]
    assert [gate.state for gate in both.first_look] == ["failed"]
    assert both.cases[0].cand.launches[0].started_at == "2026-08-01T12:40:00+00:00"


def test_a_real_loss_fails_twice() -> None:
    base, cand = base_side(), cand_side()
    first = compare(base, cand, TERMS)
    second = compare(base, cand_side(day=2), TERMS)
    both = with_second_look(first, second, {cand[0].result.case_id: first.cases[0].name})
    assert [gate.state for gate in both.gates] == ["failed", "passed"]


def test_cases_that_passed_are_not_looked_at_again() -> None:
    base = [*base_side(), *base_side(overrides=OTHER)]
    cand = [*cand_side(), *base_side(overrides=OTHER, start=20)]
    first = compare(base, cand, TERMS)
    (case,) = cases_to_confirm(first)
    assert "8x128" in case.name
    assert len(launches_of(case, base, is_base=True)) == 6
    fresh = side((1.0, 1.001, 0.999, 1.002), start=40)
    second = compare(launches_of(case, base, is_base=True), fresh, TERMS)
    both = with_second_look(first, second, {fresh[0].result.case_id: case.name})
    assert [one.name for one in both.cases] == [one.name for one in first.cases]
    assert both.cases[1] == first.cases[1]
    assert all(gate.state == "passed" for gate in both.gates)


def test_what_was_not_measured_again_stands() -> None:
    first = compare(base_side(), cand_side(), TERMS)
    assert with_second_look(first, first, {}).gates == first.gates
