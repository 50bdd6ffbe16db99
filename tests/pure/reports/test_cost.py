"""A cost sheet: what it says of a result, and when it says that it cannot."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import CORES, job_results, make_result
from tests.pure.analysis.test_energy import gpus, readings, result
from trnbench.analysis.analyze import recost
from trnbench.analysis.energy import Site
from trnbench.analysis.idle import idle_note
from trnbench.cost.training import CostSheet, Reliability, TrainingJob, make_cost_sheet
from trnbench.reports import render
from trnbench.reports.cost import REPORT, facts_of
from trnbench.reports.document import Page
from trnbench.schema.price import Price
from trnbench.schema.rent import PriceOption
from trnbench.schema.result import MetricValue, Result

ROOM = Site(pue=1.15, pue_source="a room", grams_co2e_per_kwh=418.0, grid_source="a grid")
JOB = TrainingJob(tokens=1e9)


def price(option: PriceOption = "on_demand") -> Price:
    return Price(
        usd_per_hour=Decimal("55.04"), instance="p5.48xlarge", option=option, region="us-east-1",
        date=date(2026, 9, 10), source="a page",
    )  # fmt: skip


def metered(option: PriceOption = "on_demand") -> Result:
    return recost(result(readings("nvml", watts=600.0), gpus()), price(option), None)


def sheet(of: Result | None = None, job: TrainingJob = JOB, room: Site = ROOM) -> CostSheet:
    made = make_cost_sheet(of or metered(), job, room)
    assert isinstance(made, CostSheet), made
    return made


def record(made: CostSheet) -> Any:
    (document,) = json.loads(render(REPORT, [(made.result, made)], "json", Page()))["costs"]
    return document


def text(*arguments: Any) -> str:
    return "\n".join(f"{label:<16}{line}" for label, line in facts_of(sheet(*arguments)))


def test_it_looks_as_it_did(check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/cost-sheet.txt", text() + "\n")


def test_a_job_of_ages_is_one_without_an_end_and_no_figure_has_more_digits_than_it_knows() -> None:
    hopeless = Reliability(failures_per_instance_day=3, checkpoint_interval_seconds=30 * 86_400)
    said = text(None, TrainingJob(tokens=1e9, reliability=hopeless))
    assert "never finishes" in said
    assert max(len(number) for number in re.findall(r"\$([\d,.]+)", said)) < 20
    often = text(
        None, TrainingJob(tokens=1e9, reliability=Reliability(failures_per_instance_day=24))
    )
    assert "a failure in 60 min an instance" in often
    assert re.search(r"\d\.\d years on 1 instance", text(None, TrainingJob(tokens=2e12)))


def test_a_doubt_of_the_result_stands_beside_its_money() -> None:
    doubtful = metered().model_copy(update={"standing": "doubtful"})
    said = dict(facts_of(sheet(doubtful)))["result"]
    assert said.startswith("doubtful: ")
    assert record(sheet(doubtful))["standing"] == "doubtful"
    assert "result" not in dict(facts_of(sheet()))


def test_the_expected_cost_is_tokens_times_price_over_speed_and_goodput() -> None:
    made = sheet()
    speed = made.result.metrics["tokens_per_second"].value
    assert speed is not None
    plain = 1e9 / speed * 55.04 / 3600
    expected = made.range.expected
    assert expected.usd == pytest.approx(plain / expected.goodput)
    assert made.range.best.usd < expected.usd < made.range.worst.usd


def test_idle_devices_are_said_with_what_they_cost() -> None:
    job, _, core = job_results()
    made = sheet(core)
    facts = dict(facts_of(made))
    assert facts["idle"] == record(made)["idle"] == idle_note(CORES)
    assert facts["$ per M at MFU"].endswith(" (of all chips that are billed)")
    assert "idle" not in dict(facts_of(sheet(job)))
    assert record(sheet(job))["idle"] is None


def test_a_capacity_block_is_billed_in_whole_days() -> None:
    made = sheet(metered("capacity_block"), TrainingJob(tokens=1e6))
    assert made.billed_usd == pytest.approx(55.04 * 24)
    assert "sold in whole days" in text(metered("capacity_block"), TrainingJob(tokens=1e6))
    assert "sold in whole days" not in text()


def test_everything_around_the_training_is_shown() -> None:
    job = replace(
        JOB, start_seconds=600, compile_seconds=1200, evaluation_seconds=300, idle_seconds=1500
    )
    assert "10 min to start, 20 min to compile, 5 min to evaluate, 25 min idle" in text(None, job)
    calm = replace(JOB, reliability=Reliability(failures_per_instance_day=0))
    assert "no failures" in text(None, calm)


def test_a_job_that_never_ends_is_shown_and_is_no_number() -> None:
    hopeless = replace(
        JOB, reliability=Reliability(failures_per_instance_day=1e6, restart_seconds=1e5)
    )
    made = sheet(None, hopeless)
    assert "never finishes" in text(None, hopeless)
    document = record(made)
    assert document["to_train"]["expected"]["usd"] is None


def test_emissions_need_a_grid() -> None:
    nowhere = replace(ROOM, grams_co2e_per_kwh=None, grid_source="no grid is known of here")
    assert "no emissions: no grid is known of here" in text(None, JOB, nowhere)
    assert "kWh with PUE 1.15 (a room)" in text(None, JOB, nowhere)
    outside = replace(nowhere, pue=None, pue_source="no room is known")
    assert "kWh; no emissions: no room is known; no grid is known" in text(None, JOB, outside)
    assert "kg CO2e (a grid)" in text()
    document = record(sheet())
    assert document["energy"]["grams_co2e"] == pytest.approx(
        document["energy"]["kwh_it"] * 1.15 * 418
    )


def test_unmetered_energy_is_not_known_and_a_rating_is_a_bound() -> None:
    unmetered = recost(result([], gpus()), price(), None)
    shown = text(unmetered)
    assert "not known: no energy was read from nvml" in shown
    assert "at most 5,600 W of the chips alone by their rating, which is no measurement" in shown
    assert record(sheet(unmetered))["energy"] is None
    old = unmetered.model_copy(update={"energy": None})
    assert "did not measure it" in text(old)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"standing": "invalid"}, "the result is invalid"),
        ({"standing": "failed"}, "the result is failed"),
        ({"price": None, "price_reason": "no rate is known"}, "no rate is known"),
        ({"price": None, "price_reason": None}, "no price is known"),
    ],
)
def test_what_cannot_be_costed_says_why(changes: dict[str, Any], said: str) -> None:
    made = make_cost_sheet(make_result().model_copy(update=changes), JOB, ROOM)
    assert isinstance(made, str)
    assert said in made


def test_a_speed_without_bounds_has_the_range_of_the_failures_alone() -> None:
    bare = metered()
    metrics = {**bare.metrics, "tokens_per_second": MetricValue(value=20_000.0)}
    bare = bare.model_copy(update={"metrics": metrics})
    made = sheet(bare)
    assert not made.has_interval
    assert made.range.best.productive_seconds == made.range.worst.productive_seconds
    assert "(from the speed as it is, half to twice the failures" in text(bare)
    none = {**bare.metrics, "tokens_per_second": MetricValue(value=None, reason="too few")}
    assert make_cost_sheet(bare.model_copy(update={"metrics": none}), JOB, ROOM) == "too few"


def test_without_a_peak_there_is_no_ladder() -> None:
    of = metered()
    blind = of.utilization.model_copy(update={"peak_flops_per_second": None})
    assert sheet(of.model_copy(update={"utilization": blind})).mfu_ladder == []
