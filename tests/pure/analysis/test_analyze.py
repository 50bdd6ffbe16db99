"""From records to a result, and from a result to one at another price."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import (
    WEIGHT_UPDATE,
    make_blocks,
    make_measurement,
    make_plan,
    make_result,
    steady_times,
)
from trnbench.analysis.analyze import recost, recount, rederived
from trnbench.analysis.pooling import pool
from trnbench.schema.price import Price


def test_a_finished_case_has_all_its_parts() -> None:
    result = make_result()
    assert result.outcome.status == "finished"
    assert result.standing == "sound"
    assert result.timing.measured_steps == 60
    assert result.timing.warmup_steps == 8
    assert result.timing.stopped_because == "precise: enough"
    assert result.timing.rules == "stats-v2"
    assert result.utilization.convention == "matmul-causal-v1"
    assert result.learning.entropy == pytest.approx(0.7295, abs=5e-5)
    assert result.learning.initial_loss == pytest.approx(7.65)
    assert result.learning.final_excess_loss == pytest.approx(0.0087, abs=0.01)
    assert result.threads == 2


def test_a_file_without_an_end_was_cut_off() -> None:
    plan = make_plan()
    result = make_result(plan, make_measurement(plan, status=None))
    assert result.outcome.status == "cut_off"
    assert result.standing == "doubtful"
    assert result.metrics["tokens_per_second"].value is not None
    assert result.timing.total_seconds > 3


def test_a_case_that_never_trained_failed_and_says_why_everywhere() -> None:
    plan = make_plan()
    result = make_result(plan, make_measurement(plan, blocks=[], status="out_of_memory"))
    assert result.standing == "failed"
    assert result.metrics["tokens_per_second"].reason == "the worker came to out_of_memory"
    assert result.learning.initial_loss is None
    assert result.timing.interval_method is None


def test_a_case_that_died_late_keeps_its_figure_with_a_doubt() -> None:
    plan = make_plan()
    result = make_result(plan, make_measurement(plan, status="died"))
    assert result.standing == "doubtful"
    assert result.metrics["tokens_per_second"].value is not None


def test_recosting_changes_what_follows_from_the_price_and_nothing_else() -> None:
    result = make_result()
    price = Price(
        usd_per_hour=Decimal("7.2"), instance=None, option="user", region=None,
        date="2026-11-23", source="a test",  # type: ignore[arg-type]
    )  # fmt: skip
    dear = recost(result, price, None)
    changed = {k for k in result.metrics if result.metrics[k] != dear.metrics[k]}
    assert changed == {
        "usd_per_million_tokens",
        "tokens_per_usd",
        "usd_per_model_exaflop",
        "usd_per_peak_petaflop_hour",
        "case_usd",
        "case_billed_usd",
    }
    one, two = (r.metrics["usd_per_million_tokens"].value for r in (result, dear))
    assert one is not None
    assert two == pytest.approx(2 * one)
    same = {"metrics", "price", "price_reason"}
    assert dear.model_dump(exclude=same) == result.model_dump(exclude=same)
    free = recost(result, None, "nobody knows")
    assert free.metrics["case_usd"].reason == "nobody knows"
    assert free.price is None


def test_recounting_changes_the_mfu_and_judges_it_again() -> None:
    plan = make_plan()
    blocks = make_blocks(steady_times())
    causal = make_result(plan, make_measurement(plan, blocks=blocks))
    full = recount(causal, "matmul-full-v1")
    assert full.metrics["mfu"] == causal.metrics["mfu_full"]
    assert full.metrics["tokens_per_second"] == causal.metrics["tokens_per_second"]
    with pytest.raises(KeyError):
        recount(causal, "somebody's own")


def test_only_a_count_of_what_the_mask_leaves_voids_a_result_above_the_peak() -> None:
    plan = make_plan()
    # 20,480 tokens/s of 3.98 MFLOP is 81.6 GFLOP/s by the causal count and 85.6 by the full one.
    close = make_result(plan, make_measurement(plan, ceiling=[8.3e10] * 3))
    assert close.metrics["mfu"].value is not None
    assert close.metrics["mfu_full"].value is None
    assert close.standing == "sound"
    assert make_result(plan, make_measurement(plan, ceiling=[8.1e10] * 3)).standing == "invalid"


def test_an_invalid_result_has_no_dollars_per_token_that_a_sum_would_take() -> None:
    plan = make_plan({"price.usd_per_hour": "2"})
    sound = make_result(plan, make_measurement(plan))
    void = make_result(
        plan, make_measurement(plan, movement=replace(WEIGHT_UPDATE, still=["norm.weight"]))
    )
    assert (sound.standing, void.standing) == ("sound", "invalid")
    for name in ("usd_per_million_tokens", "tokens_per_usd", "usd_per_model_exaflop"):
        assert sound.metrics[name].value is not None
        assert void.metrics[name].value is None
        assert void.metrics[name].reason == "the result is invalid: movement"
    for name in ("case_usd", "usd_per_chip_hour"):  # what was paid, and what is asked
        assert void.metrics[name].value == sound.metrics[name].value
    assert recost(void, sound.price, None).metrics["tokens_per_usd"].value is None


@pytest.mark.parametrize("lacking", [(), ("hfu",), ("mfu_used_devices", "usd_per_chip_hour")])
def test_recosting_is_deriving_anew_whatever_an_older_version_left_out(
    lacking: tuple[str, ...],
) -> None:
    result = make_result(make_plan({"price": "{}"}))
    old = result.model_copy(
        update={"metrics": {k: v for k, v in result.metrics.items() if k not in lacking}}
    )
    price = Price(
        usd_per_hour=Decimal("7.2"), instance=None, option="user", region=None,
        date="2026-11-23", source="a test",  # type: ignore[arg-type]
    )  # fmt: skip
    anew = rederived(old, old.utilization, price, None)
    assert recost(old, price, None) == anew
    assert set(lacking) <= set(anew.metrics)


def test_what_the_gate_took_is_a_figure_and_of_several_launches_their_sum() -> None:
    plan = make_plan()
    launches = [make_result(plan), make_result(plan)]
    assert launches[0].timing.gate_seconds == 0.5
    assert launches[0].timing.gate_share == 0.5 / launches[0].timing.total_seconds
    whole = pool(plan, launches)
    assert whole.timing.gate_seconds == 1.0
    assert whole.timing.gate_share == launches[0].timing.gate_share


def test_without_a_gate_nothing_is_said_of_what_it_took() -> None:
    plan = make_plan()
    result = make_result(plan, make_measurement(plan, parity=None))
    assert result.timing.gate_seconds is None
    assert result.timing.gate_share is None
