"""How a cost moves with what it rests on."""

from dataclasses import replace

import pytest

from trnbench.cost.training import (
    CostBasis,
    Reliability,
    mfu_ladder,
    tornado,
)

BASIS = CostBasis(
    usd_per_hour=20.0, tokens_per_second=60_000, low=58_000, high=62_000, instances=1,
    option="on_demand", reliability=Reliability(failures_per_instance_day=0.5),
)  # fmt: skip


def swing(basis: CostBasis, what: str) -> dict[str, float]:
    (found,) = [each for each in tornado(basis) if each.what.startswith(what)]
    return dict(found.settings)


def test_without_failures_it_is_the_plain_cost() -> None:
    still = replace(BASIS, reliability=Reliability(failures_per_instance_day=0))
    assert f"{still.usd_per_million_tokens:.4f}" == "0.0926"
    assert still.goodput == 1


def test_price_moves_it_in_step() -> None:
    base = BASIS.usd_per_million_tokens
    assert swing(BASIS, "price") == pytest.approx({"-30%": 0.7 * base, "+30%": 1.3 * base})


def test_the_speeds_interval_moves_it_the_other_way() -> None:
    base = BASIS.usd_per_million_tokens
    found = swing(BASIS, "tokens per second")
    assert found["62,000/s"] == pytest.approx(base * 60 / 62)
    assert found["58,000/s"] == pytest.approx(base * 60 / 58)


def test_five_points_of_goodput_and_twice_the_failures_cost() -> None:
    base, goodput = BASIS.usd_per_million_tokens, BASIS.goodput
    lost = swing(BASIS, "goodput")
    assert list(lost.values())[1] == pytest.approx(base * goodput / (goodput - 0.05))
    failures = swing(BASIS, "failures")
    assert failures["x0.5"] < base < failures["x2"]


def test_what_moves_it_most_comes_first() -> None:
    spans = [each.span for each in tornado(BASIS)]
    assert spans == sorted(spans, reverse=True)
    assert tornado(BASIS)[0].what == "price"


def test_a_commitment_costs_what_is_left_unused() -> None:
    plan = replace(BASIS, option="savings_plan_1y")
    base = plan.usd_per_million_tokens
    found = swing(plan, "part of the paid hours")
    assert found == pytest.approx({"100%": base, "75%": base / 0.75, "50%": base * 2})
    assert not [each for each in tornado(BASIS) if each.what.startswith("part")]


def test_a_speed_without_an_interval_is_left_out() -> None:
    bare = replace(BASIS, low=None, high=None)
    assert not [each for each in tornado(bare) if each.what.startswith("tokens")]


def test_at_the_measured_utilization_the_cost_is_the_measured_one() -> None:
    peak, flops = 16 * 667e12, 51_470_401_536.0
    mfu = 60_000 * flops / peak
    at_any = dict(mfu_ladder(usd_per_hour=20, peak_flops_per_second=peak, flops_per_token=flops))
    assert f"{at_any[0.2] * 0.2 / mfu:.4f}" == "0.0926"
    ladder = mfu_ladder(usd_per_hour=20, peak_flops_per_second=peak, flops_per_token=flops)
    costs = dict(ladder)
    assert costs[0.2] == pytest.approx(2 * costs[0.4])
    assert costs[0.3] == pytest.approx(2 * costs[0.6])
