"""Rankings as they are shown."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from tests.builders import CORES, WEIGHT_UPDATE, make_measurement, make_plan, make_result
from tests.pure.cost.test_ranking import BILLION, run
from trnbench.analysis.idle import idle_note
from trnbench.analysis.metrics import unknown
from trnbench.cost.ranked_runs import ranked_run
from trnbench.cost.ranking import Constraint, Ranking, rank
from trnbench.reports import render, text_formats
from trnbench.reports.document import Page
from trnbench.reports.ranking import REPORT, Ranked
from trnbench.schema.result import MetricValue

STILL = replace(WEIGHT_UPDATE, still=["norm.weight"])
PAGE = Page(width=140, today=date(2026, 11, 23))


def write(form: str, rankings: list[Ranking], metric: str, page: Page) -> str:
    return render(REPORT, Ranked(rankings, metric), form, page)


def rankings() -> list[Ranking]:
    sure = run("trn2", 120_000, "35.76")
    sure.metrics["usd_per_million_tokens"] = MetricValue(value=0.0828, low=0.0820, high=0.0836)
    return rank(
        [
            sure,
            run(
                "h100", 115_608, "55.04", origin="published", source="a page, read 2026-11",
                precision="fp8",
            ),
            run("slow", 9_000, "8.11", instances=2, doubt="doubtful: tail"),
            run("bare", 1, None),
            run("=cmd", 500, "1", sequence_length=4096),
            run("1 of 64 devices of 16 x trn2", 1_900, "35.76", idle=idle_note(CORES)),
        ],
        "usd_per_million_tokens",
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
def test_the_terminal_shows_it_as_it_did(
    width: int, check_golden: Callable[[str, str], None]
) -> None:
    page = Page(width=width, today=PAGE.today)
    text = write("terminal", rankings(), "usd_per_million_tokens", page)
    check_golden(f"reports/ranking-{width}.txt", text)


def test_markdown_is_as_it_was(check_golden: Callable[[str, str], None]) -> None:
    text = write("markdown", rankings(), "usd_per_million_tokens", PAGE)
    check_golden("reports/ranking-markdown.txt", text)


def test_csv_has_a_row_for_each_and_no_formula() -> None:
    text = write("csv", rankings(), "usd_per_million_tokens", PAGE)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["place"] for row in rows] == ["1", "2", "3", "", "1", "1"]
    assert [bool(row["idle"]) for row in rows] == [False] * 5 + [True]
    assert rows[0]["ci95_low"] == "0.082"
    assert rows[3]["reason"] == "no price is known"
    assert rows[4]["machine"] == "'=cmd"


def test_layouts_on_one_machine_are_told_apart() -> None:
    made = rank(
        [run("8 x h100", 2.0, "1", layout="shard 8"), run("8 x h100", 1.0, "1", layout="tensor 8")],
        "tokens_per_second",
    )
    text = write("terminal", made, "tokens_per_second", PAGE)
    assert "8 x h100, shard 8" in text
    rows = csv.DictReader(io.StringIO(write("csv", made, "tokens_per_second", PAGE)))
    assert [row["layout"] for row in rows] == ["shard 8", "tensor 8"]


def test_json_says_what_a_job_comes_to() -> None:
    made = rank([run("a", 1e6, "36")], "train_seconds", Constraint(job=BILLION))
    document = json.loads(write("json", made, "train_seconds", PAGE))
    (ranked,) = document["ranked"]
    assert (ranked["place"], ranked["copies"]) == (1, 1)
    assert ranked["train_usd"] == pytest.approx(10.0)
    assert ranked["value"] == ranked["train_seconds"] == pytest.approx(1000.0)


@pytest.mark.parametrize("name", sorted(text_formats()))
def test_sound_doubtful_and_invalid_are_three_states_in_every_format(name: str) -> None:
    metric = "usd_per_million_tokens"
    texts = {}
    for standing in ("sound", "doubtful", "invalid"):
        plan = make_plan()
        changes = {"doubtful": {"foreign_cpu_share": 0.5}, "invalid": {"movement": STILL}}
        measurement = make_measurement(plan, **changes.get(standing, {}))  # type: ignore[arg-type]
        result = make_result(plan, measurement)
        assert result.standing == standing
        texts[standing] = write(name, rank([ranked_run(result)], metric), metric, PAGE)
    assert len(set(texts.values())) == 3
    assert "doubtful: foreign_load" in texts["doubtful"].replace("\\_", "_")
    assert "invalid: movement" in texts["invalid"]
    assert "doubtful" not in texts["sound"] + texts["invalid"]
    assert "invalid" not in texts["sound"] + texts["doubtful"]


def test_a_metric_is_said_in_its_own_unit() -> None:
    one = run("a", 1000, "1")
    one.metrics["mfu"] = MetricValue(value=0.512)
    one.metrics["step_time_mean_seconds"] = MetricValue(value=0.05)
    for metric, said in (("mfu", "51.2 %"), ("step_time_mean_seconds", "50 ms")):
        assert said in write("terminal", rank([one], metric), metric, PAGE)
    one.metrics["mfu"] = unknown("no peak")
    assert "no peak" in write("terminal", rank([one], "mfu"), "mfu", PAGE)
