"""The gate's judgement: tolerances by precision, what is no number, what nobody looked at."""

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.builders import PARITY, WEIGHT_UPDATE, make_measurement, make_plan, make_result
from trnbench.analysis.checks.parity import TOLERANCES, find_faults
from trnbench.schema.result import CheckOutcome

POINT = PARITY.points[0]


def check(name: str, overrides: dict[str, str] | None = None, **changes: Any) -> CheckOutcome:
    plan = make_plan(overrides)
    result = make_result(plan, make_measurement(plan, **changes))
    (found,) = [c for c in result.checks if c.name == name]
    return found


def faults(precision: Any = "fp32", **changes: Any) -> list[str]:
    parity = replace(PARITY, points=[replace(POINT, **changes)])
    return list(find_faults(parity, TOLERANCES[precision]))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([6.0, 7.0, 6.0, 7.0], None),
        ([6.0002, 7.0, 6.0, 7.0], "the loss of llama is 6.0002 on the CPU, and 6.0 elsewhere"),
        ([6.0, 7.001, 6.0, 7.0], "the gradient of llama is 7.001 on the CPU, and 7.0 elsewhere"),
        ([None, 7.0, 6.0, 7.0], "the loss of llama is not finite"),
    ],
)
def test_what_other_code_knows_is_a_fault_of_ours(
    found: list[float | None], said: str | None
) -> None:
    parity = replace(PARITY, known_answers={"llama": found})
    faults = list(find_faults(parity, TOLERANCES["fp32"]))
    assert [fault[: len(said or "")] for fault in faults] == ([] if said is None else [said])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"worst_distance": 1.1e-4}, "the gradient of blocks.0.mlp.up.weight is off by 0.00011"),
        ({"worst_distance": None}, "is off by not finite"),
        ({"least_cosine": 0.9999}, "points elsewhere (cosine 0.9999)"),
        ({"least_cosine": None}, "cosine not finite"),
        ({"gradient_norm": 1.50016}, "the norm of all gradients is 1.50016 for 1.5"),
        ({"gradient_norm": None}, "the norm of all gradients is not finite"),
        ({"loss": 7.6252}, "the loss is 7.6252 for 7.625"),
        ({"loss": None}, "the loss is not finite"),
    ],
)
def test_each_figure_is_held_against_its_tolerance(changes: Any, said: str) -> None:
    (fault,) = faults(**changes)
    assert fault.startswith("from production weights ")
    assert said in fault


def test_what_bf16_is_allowed_is_a_fault_in_fp32() -> None:
    as_bf16 = {"worst_distance": 2e-2, "least_cosine": 0.9995, "gradient_norm": 1.503}
    assert len(faults("fp32", **as_bf16)) == 3
    assert faults("bf16", **as_bf16) == faults("pure_bf16", **as_bf16) == []


@pytest.mark.parametrize(
    ("precision", "seen", "is_fault"),
    [
        ("bf16", 5e-7, True),
        ("bf16", 8e-3, False),
        ("pure_bf16", 5e-7, True),
        ("bf16_master", 5e-7, True),
        ("fp8", 2.7e-2, True),
        ("fp8", 0.12, False),
        ("fp32", 0.0, False),
    ],
)
def test_gradients_nearer_to_fp32_than_roundings_allow_are_of_another_precision(
    precision: Any, seen: float, is_fault: bool
) -> None:
    found = faults(precision, worst_distance=seen)
    assert [("more precise was computed" in fault) for fault in found] == [True] * is_fault


def test_the_tighter_the_precision_the_tighter_every_tolerance() -> None:
    loosest, looser, tight = (TOLERANCES[p] for p in ("pure_bf16", "bf16", "fp32"))
    for field in fields(tight):
        order = [getattr(t, field.name) for t in (tight, looser, loosest)]
        assert order == sorted(order, reverse=field.name == "cosine"), field.name


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([7.625, 7.5, 7.258], "the loss of step 3 is 7.258 for 7.25"),
        ([7.625, None, 7.25], "the loss of step 2 is not finite for 7.5"),
        ([7.625, 7.5], "2 losses of 3 steps"),
    ],
)
def test_each_step_s_loss_is_held_against_the_reference_s(losses: Any, said: str) -> None:
    assert said in list(find_faults(replace(PARITY, losses=losses), TOLERANCES["fp32"]))


def test_late_steps_may_part_further_than_early_ones() -> None:
    expected = [7.0] * 10
    early = replace(PARITY, losses=[7.0, 7.004, *expected[2:]], reference_losses=expected)
    late = replace(PARITY, losses=[*expected[:9], 7.004], reference_losses=expected)
    assert list(find_faults(early, TOLERANCES["fp32"]))
    assert not list(find_faults(late, TOLERANCES["fp32"]))


def test_a_fault_voids_the_result_and_says_where_to_look() -> None:
    found = check("parity", parity=replace(PARITY, points=[replace(POINT, worst_distance=0.4)]))
    assert found.verdict == "invalid"
    assert "blocks.0.mlp.up.weight is off by 0.4" in found.evidence
    assert "eager" in (found.advice or "")


def test_a_good_gate_says_how_near_and_what_it_cost() -> None:
    found = check("parity")
    assert found.verdict == "sound"
    assert "within 2.0e-07 of fp32" in found.evidence
    assert "500 ms, 10.2% of the case" in found.evidence


def test_a_gate_that_was_turned_off_is_a_doubt_and_one_that_never_came_is_not_judged() -> None:
    off = check("parity", {"measure.gate": "false"}, parity=None)
    assert (off.verdict, off.advice) == ("doubtful", "leave measure.gate at true")
    assert check("parity", parity=None).verdict == "not_judged"
    assert check("movement", movement=None).verdict == "not_judged"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"still": ["norm.weight"]}, "norm.weight did not move in the first 1 steps"),
        ({"still": ["a", "b", "c"]}, "a and 2 more did not move"),
        ({"least": 9e-8}, "embedding.weight moved by 9.0e-08 of its norm alone"),
        ({"most": 0.51}, "norm.weight moved by 0.51 of its norm"),
        ({"most": None}, "norm.weight moved by not finite of its norm"),
    ],
)
def test_weights_must_move_and_none_may_leap(changes: Any, said: str) -> None:
    found = check("movement", movement=replace(WEIGHT_UPDATE, **changes))
    assert found.verdict == "invalid"
    assert said in found.evidence


def test_several_steps_may_move_as_much_further() -> None:
    assert check("movement", movement=replace(WEIGHT_UPDATE, steps=4, most=1.9)).verdict == "sound"


def test_weights_that_all_began_as_zeros_need_only_move() -> None:
    none = replace(WEIGHT_UPDATE, least_tensor=None, least=None, most_tensor=None, most=None)
    assert check("movement", movement=none).verdict == "sound"


def test_a_gate_that_compared_no_gradient_voids_the_result() -> None:
    found = list(find_faults(replace(PARITY, points=[]), TOLERANCES["fp32"]))
    assert found == ["no gradient was compared"]


def test_weights_whose_format_rounds_an_update_away_are_named_and_no_fault() -> None:
    plan = make_plan()
    made = make_measurement(plan)
    made.movement = replace(WEIGHT_UPDATE, rounded=["blocks.0.norm.weight", "norm.weight"])
    (found,) = [each for each in make_result(plan, made).checks if each.name == "movement"]
    assert found.verdict == "sound"
    assert f"{WEIGHT_UPDATE.tensors - 2} weights moved" in found.evidence
    assert "; blocks.0.norm.weight and 1 more cannot at this learning rate" in found.evidence
