"""Rankings: like with like, the best first, and a job under what it may take."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as s

from tests.builders import CORES, job_results
from trnbench.analysis.idle import idle_note
from trnbench.analysis.metrics import exactly, reciprocal, scaled
from trnbench.catalog.published import published_results
from trnbench.cost.ranked_runs import RankedRun, ranked_publication, ranked_run
from trnbench.cost.ranking import Constraint, Ranking, rank
from trnbench.cost.training import Reliability, TrainingJob
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue

UNFAILING = Reliability(
    failures_per_instance_day=0.0, checkpoint_seconds=0.0, checkpoint_interval_seconds=1.0
)
BILLION = TrainingJob(tokens=1e9, reliability=UNFAILING)


def run(
    name: str, speed: float, usd: str | None, instances: int = 1, **changes: object
) -> RankedRun:
    price = usd and Price(
        usd_per_hour=Decimal(usd), instance="a", option="on_demand", region="r",
        date=date(2026, 10, 1), source="a page",
    )  # fmt: skip
    metrics = {"tokens_per_second": exactly(speed)}
    none = MetricValue(value=None, reason="no price is known")
    metrics |= {"usd_per_million_tokens": none, "tokens_per_usd": none}
    if usd:
        a_second = float(usd) * instances / 3600
        metrics["usd_per_million_tokens"] = reciprocal(exactly(speed), a_second * 1e6)
        metrics["tokens_per_usd"] = scaled(exactly(speed), 1 / a_second)
    made = RankedRun(
        origin="measured", name=name, source="run r", day=date(2026, 10, 2), model="llama3-8b",
        sequence_length=8192, is_adapter_training=False, precision="bf16", machine=name,
        instances=instances, metrics=metrics, price=price or None,
        price_reason=None if usd else "no price is known", objection=None, doubt=None,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def names(ranking: Ranking) -> list[str]:
    return [row.run.name for row in ranking.rows]


def test_the_cheapest_is_first_by_cost_and_the_fastest_by_speed() -> None:
    both = [run("slow", 1000, "1"), run("fast", 3000, "4")]
    (by_cost,) = rank(both, "usd_per_million_tokens")
    (by_speed,) = rank(both, "tokens_per_second")
    (by_worth,) = rank(both, "tokens_per_usd")
    assert names(by_cost) == names(by_worth) == ["slow", "fast"]
    assert names(by_speed) == ["fast", "slow"]


def test_only_like_work_stands_in_one_ranking() -> None:
    made = [
        run("a", 1, "1"),
        run("b", 1, "1", sequence_length=4096),
        run("c", 1, "1", model="Llama3 8B"),
        run("d", 1, "1", is_adapter_training=True),
    ]
    assert [names(r) for r in rank(made, "tokens_per_second")] == [["a", "c"], ["b"], ["d"]]


def test_a_part_of_a_machine_never_stands_beside_whole_ones() -> None:
    made = [
        run("whole", 1000, "8"),
        run("part", 9000, "8", idle="7 of 8 chips are idle"),
        run("other part", 100, "1", idle="3 of 4 devices are idle"),
    ]
    whole, part = rank(made, "usd_per_million_tokens")
    assert names(whole) == ["whole"]
    assert names(part) == ["part", "other part"]
    assert part.work == f"{whole.work}, on a part of the machine that is paid for"


def test_a_result_says_what_it_leaves_idle_and_where_it_ran() -> None:
    job, alone, core = map(ranked_run, job_results())
    assert [each.machine for each in (job, alone, core)] == [
        "8 x h100-sxm", "1 x h100-sxm", "1 of 64 devices of 16 x trainium2",
    ]  # fmt: skip
    assert (job.idle, alone.idle) == (None, None)
    assert (job.layout, alone.layout, core.layout) == ("shard 8", None, None)
    assert core.idle == idle_note(CORES)


def test_a_published_run_on_some_chips_of_its_instance_is_apart_too() -> None:
    published = next(each for each in published_results() if each.accelerators == 8)
    known = ranked_publication(published, "p5.48xlarge", None, "none")
    part = ranked_publication(replace(published, accelerators=2), "p5.48xlarge", None, "none")
    assert known.idle is None
    assert (part.idle or "").startswith("6 of 8 ")


@pytest.mark.parametrize("metric", ["hfu", "mfu_used_devices", "tokens_per_second_per_instance"])
def test_of_what_is_better_when_higher_the_highest_is_first(metric: str) -> None:
    made = [
        run(name, 1, "1", metrics={**run(name, 1, "1").metrics, metric: exactly(value)})
        for name, value in (("low", 0.2), ("high", 0.5))
    ]
    (ranking,) = rank(made, metric)
    assert names(ranking) == ["high", "low"]


def test_what_cannot_be_ranked_is_told_with_its_reason() -> None:
    made = [
        run("free", 1, None),
        run("wrong", 1, "1", objection="invalid: learning"),
        run("right", 1, "1"),
    ]
    (ranking,) = rank(made, "usd_per_million_tokens")
    assert names(ranking) == ["right"]
    assert {c.name: why for c, why in ranking.left_out} == {
        "free": "no price is known",
        "wrong": "invalid: learning",
    }


def test_pareto_are_those_that_no_other_beats_in_both() -> None:
    made = [
        run("cheap", 1000, "1"),
        run("fast", 4000, "8"),
        run("beaten", 900, "1"),
    ]
    (ranking,) = rank(made, "usd_per_million_tokens")
    assert {r.run.name for r in ranking.rows if r.is_pareto} == {"cheap", "fast"}


def test_break_even_is_the_price_at_which_it_costs_what_the_first_does() -> None:
    (ranking,) = rank(
        [run("first", 1000, "1"), run("second", 4000, "3", instances=2)],
        "usd_per_million_tokens",
    )
    # 6 $/h at four times the speed: equal at 4 $/h for both instances; the first's equal is 1.50.
    assert [row.break_even_usd_per_hour for row in ranking.rows] == [1.5, 2.0]


def test_the_worked_job_costs_hours_times_rate() -> None:
    (ranking,) = rank([run("a", 1e6, "36")], "train_usd", Constraint(job=BILLION))
    (row,) = ranking.rows
    assert row.value.value == pytest.approx(1e9 / 1e6 / 3600 * 36)
    assert row.trained is not None
    assert row.trained.cost.total_seconds == pytest.approx(1000.0)


def test_under_a_deadline_the_fewest_machines_that_keep_it_are_taken() -> None:
    one = run("a", 1e6, "36")
    kept = Constraint(job=BILLION, deadline_seconds=300.0, scaling_efficiency=0.8)
    (ranking,) = rank([one], "train_usd", kept)
    (row,) = ranking.rows
    assert row.trained is not None
    assert row.trained.copies == 5  # 1000 / (5 x 0.8) = 250; four need 312
    (unscaled,) = rank([one], "train_usd", replace(kept, scaling_efficiency=None))
    ((_, reason),) = unscaled.left_out
    assert "as it was run; `--scaling-efficiency`" in reason


def test_under_a_budget_the_fastest_that_it_pays_for_is_taken() -> None:
    one = run("a", 1e6, "36")
    paid = Constraint(job=BILLION, budget_usd=12.6, scaling_efficiency=0.8)
    (ranking,) = rank([one], "train_seconds", paid)
    (row,) = ranking.rows
    assert row.trained is not None
    assert row.trained.copies == 10_000  # each copy costs 12.50 in all, however many there are
    (poor,) = rank([one], "train_seconds", replace(paid, budget_usd=5.0))
    assert poor.left_out[0][1] == "it costs $10"


@given(
    s.floats(1e2, 1e7),
    s.floats(1.0, 30.0),
    s.floats(0.5, 1.0),
    s.integers(1, 500),
)
def test_a_deadline_is_kept_or_the_candidate_is_left_out(
    speed: float, days: float, efficiency: float, most: int
) -> None:
    constraint = Constraint(
        job=TrainingJob(tokens=1e12),
        deadline_seconds=days * 86_400,
        scaling_efficiency=efficiency,
        max_copies=most,
    )
    (ranking,) = rank([run("a", speed, "10")], "train_usd", constraint)
    for row in ranking.rows:
        assert row.trained is not None
        assert row.trained.cost.total_seconds <= days * 86_400
        assert row.trained.copies <= most
    assert len(ranking.rows) + len(ranking.left_out) == 1
