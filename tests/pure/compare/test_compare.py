"""Whole comparisons: what is told, what is refused, and that nothing is told from nothing."""

import dataclasses
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.comparisons import BASE, base_side, cand_side, launch, side, with_seed
from trnbench.compare.compare import compare
from trnbench.compare.gates import DEFAULT_METRICS, Terms, parse_gates
from trnbench.compare.launches import Launch
from trnbench.compare.metrics import COMPARABLES
from trnbench.errors import ConfigError
from trnbench.schema.comparison import Comparison, MetricComparison
from trnbench.schema.result import MetricValue, Validity

SPEED = "tokens_per_second > -2%"
SWAPPED = {"better": "worse", "worse": "better", "same": "same", "cannot_tell": "cannot_tell"}

factors = st.lists(st.floats(0.9, 2.0), min_size=1, max_size=5)


def terms(*gates: str, **changes: Any) -> Terms:
    return Terms(gates=parse_gates(gates), **changes)


def metric(comparison: Comparison, name: str, case: int = 0) -> MetricComparison:
    (found,) = [one for one in comparison.cases[case].metrics if one.metric == name]
    return found


def at_standing(one: Launch, standing: Validity, by: str = "learning") -> Launch:
    """Return a launch that came out so, with a check that says why."""
    verdict = "invalid" if standing == "failed" else standing
    checks = tuple(
        check.model_copy(update={"verdict": verdict, "evidence": "the loss did not fall"})
        if check.name == by
        else check
        for check in one.result.checks
    )
    result = one.result.model_copy(update={"standing": standing, "checks": checks})
    return dataclasses.replace(one, result=result, digest=f"{one.digest} {standing} {by}")


def test_two_sides_of_known_launches_have_the_known_ratio() -> None:
    comparison = compare(base_side(), cand_side(), terms(SPEED))
    speed = metric(comparison, "tokens_per_second")
    assert speed.verdict == "worse"
    assert speed.ratio.value == pytest.approx(1 / 1.021645928404, rel=1e-9)
    assert speed.ratio.low == pytest.approx(1 / 1.025893270346, rel=1e-9)
    assert speed.ratio.high == pytest.approx(1 / 1.017416171052, rel=1e-9)
    assert speed.ratio.method == "welch"
    assert speed.ratio.permutation_p == pytest.approx(2 / 924)
    (gate,) = comparison.gates
    assert gate.state == "failed"
    assert gate.change == pytest.approx(-0.0211873, abs=1e-6)


def test_every_default_metric_is_there_in_report_order() -> None:
    comparison = compare(base_side(), cand_side(), terms())
    assert tuple(one.metric for one in comparison.cases[0].metrics) == DEFAULT_METRICS
    assert {"tokens_per_second", "peak_memory_bytes", "compile_seconds"} <= set(DEFAULT_METRICS)


def test_a_gated_metric_is_compared_though_nobody_asked() -> None:
    asked = terms("mfu > -5%", metrics=("peak_memory_bytes",))
    comparison = compare(base_side(), cand_side(), asked)
    assert [one.metric for one in comparison.cases[0].metrics] == ["mfu", "peak_memory_bytes"]


def test_the_same_time_in_three_units_counts_as_one_comparison() -> None:
    names = ("tokens_per_second", "step_time_mean_seconds", "usd_per_million_tokens")
    assert compare(base_side(), cand_side(), terms(metrics=names)).comparisons == 1
    dearer = {"price.usd_per_hour": "4"}
    there = compare(base_side(), cand_side(overrides=dearer), terms(metrics=names))
    assert there.comparisons == 2, "at another rate a cost says something else than a speed"


def test_more_cases_make_a_verdict_harder() -> None:
    alone = compare(base_side(), cand_side(), terms())
    other = {"workload.sequence_length": "64"}
    both = compare(
        [*base_side(), *base_side(overrides=other)],
        [*cand_side(), *cand_side(overrides=other)],
        terms(),
    )
    lone, among = metric(alone, "tokens_per_second"), metric(both, "tokens_per_second")
    assert lone.ratio.p_value == among.ratio.p_value
    assert lone.ratio.p_adjusted is not None
    assert among.ratio.p_adjusted is not None
    assert lone.ratio.p_adjusted < among.ratio.p_adjusted
    assert both.comparisons == 2 * alone.comparisons


def test_a_single_launch_a_side_gives_no_verdict_on_two_percent() -> None:
    comparison = compare([launch(1.0)], [launch(1.02, number=1)], terms(SPEED))
    speed = metric(comparison, "tokens_per_second")
    assert (speed.verdict, speed.ratio.method) == ("cannot_tell", "assumed")
    assert speed.ratio.launches_needed == 4
    (gate,) = comparison.gates
    assert gate.state == "undecided"
    assert gate.advice == "measure 4 launches a side"


def test_a_single_launch_a_side_tells_what_no_noise_explains() -> None:
    comparison = compare([launch(1.0)], [launch(1.4, number=1)], terms(SPEED))
    assert metric(comparison, "tokens_per_second").verdict == "worse"
    assert comparison.gates[0].state == "failed"


# --- what has no figure ---------------------------------------------------------------------------


def test_unknown_figures_have_a_reason_and_no_verdict() -> None:
    free = {"price": "{}"}
    comparison = compare(base_side(overrides=free), cand_side(overrides=free), terms())
    for name in ("compile_seconds", "usd_per_million_tokens"):
        found = metric(comparison, name)
        assert found.ratio.value is None
        assert found.verdict == "cannot_tell"
        assert found.reason
        assert found.base.reason


def test_a_gate_without_a_figure_is_not_judged() -> None:
    free = {"price": "{}"}
    comparison = compare(
        base_side(overrides=free), cand_side(overrides=free), terms("usd_per_million_tokens < +1%")
    )
    (gate,) = comparison.gates
    assert gate.state == "not_judged"
    assert "the price of this machine is not known" in gate.evidence


def test_a_figure_without_an_interval_leaves_its_gate_undecided() -> None:
    gate = "peak_memory_bytes < +5%"
    (found,) = compare([launch(1.0)], [launch(1.0, number=1)], terms(gate)).gates
    assert (found.state, found.change, found.change_low) == ("undecided", 0.0, None)
    assert found.advice is not None


def test_a_side_of_which_one_launch_lacks_a_figure_has_none() -> None:
    poor = base_side()
    metrics = {**poor[2].result.metrics, "mfu": MetricValue(value=None, reason="no peak")}
    poor[2] = dataclasses.replace(
        poor[2], result=poor[2].result.model_copy(update={"metrics": metrics})
    )
    found = metric(compare(poor, cand_side(), terms(metrics=("mfu",))), "mfu")
    assert found.ratio.value is None
    assert found.reason == "BASE: no peak"


# --- what must not be used ------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["base", "cand"])
def test_an_invalid_launch_takes_every_verdict_away(label: str) -> None:
    base, cand = base_side(), cand_side()
    spoilt = base if label == "base" else cand
    spoilt[0] = at_standing(spoilt[0], "invalid")
    comparison = compare(base, cand, terms(SPEED))
    assert {one.verdict for one in comparison.cases[0].metrics} == {"cannot_tell"}
    assert "1 of" in metric(comparison, "tokens_per_second").reason
    assert "the loss did not fall" in metric(comparison, "tokens_per_second").reason
    (gate,) = comparison.gates
    assert gate.state == ("not_judged" if label == "cand" else "failed")


def test_a_side_of_invalid_launches_has_no_figures_at_all() -> None:
    cand = [at_standing(one, "invalid") for one in cand_side()]
    comparison = compare(base_side(), cand, terms(SPEED))
    speed = metric(comparison, "tokens_per_second")
    assert speed.cand.value is None
    assert speed.ratio.value is None
    assert comparison.cases[0].break_even.usd_per_hour is None
    assert comparison.gates[0].state == "not_judged"
    assert "6 of CAND's 6 launches are invalid" in comparison.gates[0].evidence


def test_a_failed_launch_is_left_out_and_told() -> None:
    base = [*base_side(), at_standing(launch(number=50), "failed")]
    comparison = compare(base, cand_side(), terms(SPEED))
    assert metric(comparison, "tokens_per_second").verdict == "worse"
    assert any("1 of 7 launches left out" in note for note in comparison.cases[0].notes)
    assert [one.is_used for one in comparison.cases[0].base.launches].count(False) == 1


@pytest.mark.parametrize("check", ["foreign_load", "throttling"])
def test_a_gate_does_not_pass_beside_a_disturbed_launch(check: str) -> None:
    """Twice as fast under 83 % of other load is nothing to let a build through for."""
    slow = [launch(1.2 * factor, number=30 + at) for at, factor in enumerate(BASE)]
    for quiet, state in ((cand_side(), "undecided"), (slow, "failed")):
        cand = [at_standing(quiet[0], "doubtful", check), *quiet[1:]]
        (gate,) = compare(base_side(), cand, terms("tokens_per_second > -5%")).gates
        assert (gate.state, gate.doubts) == (state, (check,))
    (gate,) = compare(base_side(), cand_side(), terms("tokens_per_second > -5%")).gates
    assert gate.state == "passed"


def test_doubts_are_carried_through() -> None:
    cand = [at_standing(one, "doubtful") for one in cand_side()]
    comparison = compare(base_side(), cand, terms(SPEED))
    assert metric(comparison, "tokens_per_second").verdict == "worse"
    assert comparison.gates[0].doubts == ("learning",)
    case = comparison.cases[0]
    assert "CAND: 6 of 6 launches are doubtful, learning: the loss did not fall" in case.notes
    assert case.cand.launches[0].doubts == ("doubtful, learning: the loss did not fall",)


def test_a_result_whose_records_were_not_kept_is_told() -> None:
    comparison = compare(base_side(has_records=False), cand_side(), terms())
    assert any("taken as stored" in note for note in comparison.cases[0].notes)
    assert not comparison.cases[0].base.launches[0].is_verified


# --- unlike work ----------------------------------------------------------------------------------


def test_unlike_work_is_refused_with_the_list_of_differences() -> None:
    unlike = {"workload.sequence_length": "64", "workload.precision": "bf16"}
    with pytest.raises(ConfigError) as raised:
        compare(base_side(), cand_side(overrides=unlike), terms())
    (problem,) = raised.value.problems
    assert "sequence_length: BASE 128, CAND 64; precision: BASE fp32, CAND bf16" in problem.message
    assert "--allow sequence_length --allow precision" in problem.hint


def test_allowed_differences_are_compared_and_shown() -> None:
    unlike = {"workload.precision": "bf16"}
    comparison = compare(base_side(), cand_side(overrides=unlike), terms(allowed=("precision",)))
    (difference,) = comparison.cases[0].differences
    assert (difference.key, difference.base, difference.cand, difference.kind) == (
        "precision", "fp32", "bf16", "allowed",
    )  # fmt: skip
    assert comparison.allowed == ("precision",)


def test_cases_that_may_mean_either_are_refused_with_the_reason() -> None:
    def sizes(*wanted: int) -> list[Launch]:
        return [
            launch(number=size, overrides={"workload.micro_batch_size": str(size)})
            for size in wanted
        ]

    with pytest.raises(ConfigError, match="in several ways") as raised:
        compare(sizes(1, 2), sizes(4, 8), terms())
    assert raised.value.problems[0].hint == "name one of those results alone"


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="a side has no result"):
        compare(base_side(), [], terms())
    with pytest.raises(ConfigError, match="a side has no result"):
        compare([], [], terms())


def test_a_case_that_is_gone_does_not_pass_a_gate() -> None:
    gone = base_side(overrides={"workload.sequence_length": "64"})
    comparison = compare([*base_side(), *gone], base_side(start=20), terms(SPEED))
    assert [gate.state for gate in comparison.gates] == ["passed", "not_judged"]
    assert "--allow case" in (comparison.gates[1].advice or "")
    allowed = compare([*base_side(), *gone], base_side(start=20), terms(SPEED, allowed=("case",)))
    assert [gate.state for gate in allowed.gates] == ["passed"]
    assert len(allowed.unmatched) == 1


def test_cases_of_one_work_have_names_that_tell_them_apart() -> None:
    def sweep(start: int) -> list[Launch]:
        return [
            launch(number=start + size, overrides={"workload.micro_batch_size": str(size)})
            for size in (2, 4)
        ]

    names = [case.name for case in compare(sweep(0), sweep(20), terms()).cases]
    assert len(set(names)) == 2
    assert "micro_batch_size 2" in names[0]


# --- copies, pairs, days --------------------------------------------------------------------------


def test_copies_of_one_measurement_tell_nothing_of_the_spread() -> None:
    copies = [launch(1.0)] * 5
    comparison = compare(copies, cand_side(), terms())
    assert metric(comparison, "tokens_per_second").ratio.method == "pooled"
    assert comparison.cases[0].base.used == 1
    assert comparison.notes == ("BASE: 4 of 5 results are copies, and count once",)


def test_a_side_against_itself_is_told_and_never_worse() -> None:
    comparison = compare(base_side(), base_side(), terms(SPEED))
    assert "the same measurement is on both sides" in comparison.notes
    assert metric(comparison, "tokens_per_second").verdict == "same"
    assert comparison.gates[0].state == "passed"


def test_pairs_are_taken_as_pairs() -> None:
    comparison = compare(base_side(), cand_side(), terms(is_paired=True))
    assert metric(comparison, "tokens_per_second").ratio.method == "paired"


def test_pairs_need_as_many_launches_on_both_sides() -> None:
    with pytest.raises(ConfigError, match="has 6 launches in BASE and 5 in CAND"):
        compare(base_side(), cand_side()[:5], terms(is_paired=True))


def test_pairs_are_given_up_where_a_launch_is_left_out() -> None:
    cand = cand_side()
    cand[1] = at_standing(cand[1], "failed")
    comparison = compare(base_side(), cand, terms(is_paired=True))
    assert metric(comparison, "tokens_per_second").ratio.method == "welch"
    assert any("not taken as pairs" in note for note in comparison.cases[0].notes)


@pytest.mark.parametrize(("day", "is_told"), [(1, False), (2, False), (20, True)])
def test_sides_that_lie_days_apart_say_so(day: int, is_told: bool) -> None:
    notes = compare(base_side(day=1), cand_side(day=day), terms()).cases[0].notes
    assert any("days lie between the two sides" in note for note in notes) == is_told


# --- money and loss -------------------------------------------------------------------------------


def test_unlike_prices_are_told_and_the_even_price_given() -> None:
    region = {"price.usd_per_hour": "4", "price.region": "us-east-1"}
    comparison = compare(base_side(), cand_side(overrides=region), terms())
    (case,) = comparison.cases
    assert case.notes == ("the prices differ (BASE / CAND): region none named / us-east-1",)
    assert case.break_even.usd_per_hour == pytest.approx(3.6 / 1.021645928404)
    cost = metric(comparison, "usd_per_million_tokens")
    assert cost.ratio.value == pytest.approx(1.021645928404 * 4 / 3.6)


def test_the_even_price_needs_no_price_of_cand() -> None:
    case = compare(base_side(), cand_side(overrides={"price": "{}"}), terms()).cases[0]
    assert case.break_even.usd_per_hour == pytest.approx(3.6 / 1.021645928404)
    assert case.cand.price is None


def test_the_steps_to_a_loss_need_seeds_to_be_judged() -> None:
    one_seed = metric(compare(base_side(), cand_side(), terms()), "usd_to_target_loss")
    assert one_seed.ratio.value == pytest.approx(1.021645928404)
    assert (one_seed.ratio.low, one_seed.cand.low, one_seed.verdict) == (None, None, "cannot_tell")
    assert "depends on the seed" in one_seed.reason
    seeds = compare(with_seed(base_side()), with_seed(cand_side()), terms())
    assert metric(seeds, "usd_to_target_loss").verdict == "worse"
    assert seeds.cases[0].target.base_steps == pytest.approx(seeds.cases[0].target.cand_steps)


def test_a_loss_that_one_side_never_reached_has_no_price() -> None:
    never = [dataclasses.replace(one, excess_losses=(1.0,) * 50) for one in cand_side()]
    comparison = compare(base_side(), never, terms())
    found = metric(comparison, "usd_to_target_loss")
    assert found.ratio.value is None
    assert "CAND: in 50 steps its loss did not come within 0.25 nat" in found.reason
    target = comparison.cases[0].target
    assert target.base_steps is not None
    assert target.cand_steps is None


# --- what must always hold ------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(factors, factors, st.floats(0, 0.2))
def test_swapping_the_sides_swaps_every_verdict(
    first: list[float], second: list[float], margin: float
) -> None:
    asked = terms(margin=margin, metrics=tuple(COMPARABLES))
    there = compare(side(first), side(second, start=20), asked)
    back = compare(side(second, start=20), side(first), asked)
    for one, other in zip(there.cases[0].metrics, back.cases[0].metrics, strict=True):
        assert one.verdict == SWAPPED[other.verdict]
        if one.ratio.value is not None and other.ratio.value is not None:
            assert one.ratio.value == pytest.approx(1 / other.ratio.value, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(factors)
def test_a_side_is_never_worse_than_itself(first: list[float]) -> None:
    comparison = compare(side(first), side(first), terms(SPEED, margin=0.0))
    for one in comparison.cases[0].metrics:
        assert one.verdict in ("same", "cannot_tell")
    assert comparison.gates[0].state in ("passed", "undecided")


def test_a_comparison_is_what_its_schema_says_and_is_read_back() -> None:
    comparison = compare(base_side(), cand_side(), terms(SPEED))
    text = comparison.model_dump_json()
    assert Comparison.model_validate_json(text) == comparison
    schema = Comparison.model_json_schema(mode="serialization")
    jsonschema.validate(json.loads(text), schema)


def test_the_record_holds_each_launch_of_each_side() -> None:
    speed = metric(compare(base_side(), cand_side(), terms()), "step_time_median_seconds")
    assert speed.base.launches == pytest.approx([0.05 * factor for factor in BASE], rel=1e-3)
