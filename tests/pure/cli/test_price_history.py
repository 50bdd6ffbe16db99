"""`trnbench prices INSTANCE --history` as a user sees it."""

import json
from pathlib import Path

import pytest

from tests.command import in_process


def test_the_past_of_an_instance_is_a_table_and_on_a_page_a_chart() -> None:
    done = in_process(
        "prices", "p5en.48xlarge", "--history", "--region", "us-east-1", COLUMNS="100"
    )
    assert done.code == 0, done.err
    assert "capacity_block  us-east-1    54.92  +32.0%  2026-07-22" in done.out
    assert "capacity_block  us-east-1    63.16  +15.0%  2026-10-07" in done.out
    assert "on_demand       us-east-1   63.296  -25.4%  2025-06-23  2026-08-06" in done.out
    assert "3 changes in 11 days of the bundled table" in done.out
    assert "\x1b" not in done.out
    page = in_process("prices", "p5en.48xlarge", "--history", "--format", "html")
    assert "Price of p5en.48xlarge over time" in page.out


def test_one_option_is_drawn_alone() -> None:
    done = in_process(
        "prices", "p5en.48xlarge", "--history", "--price-option", "on_demand", COLUMNS="80"
    )
    assert "\non_demand " in done.out
    assert "capacity_block" not in done.out


def test_a_table_that_knows_one_day_only_says_so_and_draws_nothing() -> None:
    done = in_process("prices", "trn2.3xlarge", "--history", "--region", "sa-east-1")
    assert done.code == 0, done.err
    assert "2.235" in done.out
    assert "has rates of one day only, 2026-07-22, which is no history" in done.out
    page = in_process(
        "prices", "trn2.3xlarge", "--history", "--region", "sa-east-1", "--format", "html"
    )
    assert "<figure>" not in page.out


def test_an_instance_whose_rates_are_all_doubted_has_no_history() -> None:
    done = in_process("prices", "inf1.24xlarge", "--history")
    assert done.code == 0, done.err
    assert "no history" in done.out
    assert "Left out: rows that their own source doubts" in done.out


def test_programs_get_every_row_behind_a_step() -> None:
    done = in_process("prices", "p5en.48xlarge", "--history", "--region", "us-east-1", "--json")
    told = json.loads(done.out)
    assert told["instance"] == "p5en.48xlarge"
    (block,) = [each for each in told["history"] if each["option"] == "capacity_block"]
    assert [step["usd_per_hour"] for step in block["steps"]] == ["41.612", "54.92", "63.16"]
    assert [len(step["rows"]) for step in block["steps"]] == [2, 1, 1]
    assert all(row["source"] for step in block["steps"] for row in step["rows"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--history"], "needs one instance of the bundled table"),
        (["p5en.48xlarge", "--history", "--live"], "no --live, which shows current rates"),
        (["p5en.48xlarg", "--history"], "did you mean p5en.48xlarge"),
        (["p5en.48xlarge", "--history", "--region", "mars-1"], "mars-1: the bundled price table"),
        (["p5en.48xlarge", "--history", "--price-option", "reserved_1y"], "has no such rate"),
    ],
)
def test_a_past_that_is_not_there_is_told(arguments: list[str], said: str) -> None:
    done = in_process("prices", *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


def test_a_regions_list_has_the_newer_rate_for_all_regions_that_counts_there() -> None:
    listed = in_process("prices", "p5en.48xlarge", "--region", "us-east-1")
    assert "capacity_block  all-commercial    63.16  2026-10-07" in listed.out
    assert "eu-north-1" not in listed.out
    elsewhere = in_process("prices", "p5en.48xlarge", "--region", "eu-central-1")
    assert elsewhere.code == 2, "it is not sold there, whatever holds in all regions"
    everywhere = in_process("prices", "p5en.48xlarge", "--region", "all-commercial", "--json")
    assert len(json.loads(everywhere.out)["prices"]) == 1


def test_a_list_of_rates_has_no_figure_to_plot(tmp_path: Path) -> None:
    done = in_process("prices", "p5en.48xlarge", "--plots", tmp_path / "plots")
    assert done.code == 2
    assert "add --history" in done.err


def test_the_history_is_plotted(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="needs the extra `plots`: make test-plots")
    folder = tmp_path / "plots"
    done = in_process("prices", "p5en.48xlarge", "--history", "--plots", folder)
    assert done.code == 0
    assert done.err == f"plots: {folder}: 2 files of 1 figure\n"
    assert {path.suffix for path in folder.iterdir()} == {".svg", ".png"}
