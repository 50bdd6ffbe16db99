"""What is said of results and plans in words: where figures are from, what they lack and why."""

from dataclasses import replace

from tests.builders import as_external, make_blocks, make_measurement, make_plan, make_result
from trnbench.cost.ranked_runs import ranked_run
from trnbench.reports import plans, render
from trnbench.reports.document import Cell, Page
from trnbench.reports.results import cells_of, notes_of
from trnbench.schema.plan import Plan

MIXTURE = {"model": "tiny-moe"}


def notes(plan: Plan) -> list[str]:
    return notes_of([make_result(plan, make_measurement(plan))])


def line(plan: Plan, name: str) -> str | None:
    """Return one line of a dry run, by its name."""
    lines = [
        text.split(maxsplit=1)
        for text in render(plans.REPORT, [plan], "terminal", Page(width=1000)).splitlines()
        if text
    ]
    return next((rest for first, rest in lines if first == name), None)


def test_an_external_models_operations_are_shown_with_where_they_are_from() -> None:
    known = notes(as_external(make_plan(), is_known=True))
    assert "its FLOPs: by the formula, from its config, of a known family" in known
    counted = notes(as_external(make_plan(), is_known=False))
    said = "by torch's counter, over all keys: not comparable with MFU by matmul-causal-v1"
    assert f"its FLOPs: {said}" in counted


def test_nothing_is_said_of_it_for_our_own_models_or_where_nothing_was_counted() -> None:
    uncounted = as_external(make_plan(), is_known=False, flops_reason="an operator of its own")
    assert "no MFU: an operator of its own" in notes(uncounted)
    for plan in (make_plan(), uncounted):
        assert not any("its FLOPs" in note for note in notes(plan))


def test_a_mixtures_weights_that_a_token_uses_are_shown_with_or_without_its_imbalance() -> None:
    plan, met = make_plan(MIXTURE), "a token uses 896 k of 1.71 M weights"
    assert met in notes(plan)
    assert not any("a token uses" in note for note in notes(make_plan()))
    blocks = [replace(b, expert_imbalances=[1.5]) for b in make_blocks([0.05] * 8)]
    shown = notes_of([make_result(plan, make_measurement(plan, blocks=blocks))])
    assert met in shown
    assert "the fullest expert has 1.50 times its share of the tokens" in shown


def test_a_dry_run_shows_a_mixtures_weights_that_a_token_uses() -> None:
    assert "1,706,624 (1.71 M, 896 k active) weights" in (line(make_plan(MIXTURE), "model") or "")
    assert "(894 k) weights" in (line(make_plan(), "model") or "")


def test_a_dry_run_says_where_there_is_no_parity_gate() -> None:
    plan = as_external(make_plan(), is_known=False)
    assert line(plan, "gate") is None
    without = plan.model_copy(update={"order": replace(plan.order, gate=None)})
    assert line(without, "gate") == (
        "none: no small model of this kind is known that a CPU could train; say under "
        "`model.small` what of `model.config` makes it small"
    )
    assert line(make_plan({"measure.gate": "false"}), "gate") == "none: measure.gate is false"


def test_an_older_case_that_finished_without_a_figure_did_not_fail_for_having_finished() -> None:
    plan = make_plan()
    result = make_result(plan, make_measurement(plan, blocks=make_blocks([])))
    assert (result.standing, result.outcome.status) == ("failed", "finished")
    assert ranked_run(result).objection == "failed: too few samples"
    assert cells_of(result)[-1] == Cell("failed: too few samples", "bad")
