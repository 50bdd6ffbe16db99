"""`trnbench rank` as a user types it."""

import json
from pathlib import Path

import pytest

from tests.command import in_process
from tests.comparisons import write_launch

ON = ("--on", "H100=p5.48xlarge", "--price-option", "on_demand", "--region", "us-east-1")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_launch(tmp_path / "run")
    return tmp_path / "run"


def test_measured_runs_are_ranked_at_a_rate_that_is_given(run: Path) -> None:
    done = in_process("rank", run, "--usd-per-hour", "2", "--format", "json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["ranked"]
    assert (row["origin"], row["place"], row["usd_per_hour"]) == ("measured", 1, 2.0)
    assert row["value"] == pytest.approx(2 / 3600 / row["tokens_per_second"] * 1e6)


def test_published_runs_are_marked_cited_and_priced_as_told(tmp_path: Path) -> None:
    done = in_process(
        "rank", "--published", "--model", "llama3-8b", *ON, "--format", "json", cwd=tmp_path
    )
    assert done.code == 0, done.err
    document = json.loads(done.out)
    ranked = [row for row in document["ranked"] if row["place"]]
    assert ranked
    assert all(row["origin"] == "published" and row["source"] for row in ranked)
    assert all(row["price_region"] == "us-east-1" for row in ranked)
    assert any("not measured by trnbench" in note for note in document["notes"])


def test_a_job_under_a_deadline_is_ranked_by_what_it_costs(tmp_path: Path) -> None:
    done = in_process(
        "rank", "--published", "--model", "llama3-8b", *ON, "--tokens", "1T", "--deadline", "30d",
        "--scaling-efficiency", "0.9", "--format", "json", cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    ranked = [row for row in json.loads(done.out)["ranked"] if row["place"] and row["copies"] > 1]
    assert ranked
    assert all(row["train_seconds"] <= 30 * 86_400 for row in ranked)
    assert all(row["metric"] == "train_usd" for row in ranked)


def test_a_model_alone_ranks_every_chip_that_has_a_figure(tmp_path: Path) -> None:
    done = in_process("rank", "Llama3 8B", "--format", "json", cwd=tmp_path)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    placed = [row for row in document["ranked"] if row["place"]]
    assert {"GB200", "B200", "H200", "H100", "A100", "Trainium1", "TPU v6e"} <= {
        row["chip"] for row in placed
    }
    for row in placed:
        assert all(row[each] for each in ("price_date", "instance", "source")), row
        assert row["value"] == pytest.approx(row["usd_per_million_tokens"])
    assert {row["instance"] for row in placed if row["chip"] == "H100"} == {"p5.48xlarge"}
    assert any("MI325X" in row["reason"] for row in document["ranked"] if row["chip"] == "MI325X")
    (trainium2,) = (row for row in placed if row["chip"] == "Trainium2")
    assert (trainium2["origin"], trainium2["instance"]) == ("estimated", "trn2.48xlarge")
    assert trainium2["range_high"] > 3 * trainium2["range_low"]  # three runs of one chip each
    assert any(
        note.startswith("no like run of Trainium2 is published") for note in document["notes"]
    )


def test_own_results_stand_in_the_field_of_their_model(run: Path, tmp_path: Path) -> None:
    done = in_process(
        "rank", "tiny-llama", run, "--usd-per-hour", "2", "--format", "json", cwd=tmp_path
    )
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["sequence_length"] == 128
    (own,) = (row for row in document["ranked"] if row["origin"] == "measured")
    assert own["place"]
    assert own["price_usd_per_hour"] == 2.0
    assert own["range_low"] < own["value"] < own["range_high"]


def test_the_published_form_needs_no_instance(tmp_path: Path) -> None:
    done = in_process(
        "rank", "--published", "--model", "llama3-8b", "--format", "json", cwd=tmp_path
    )
    assert done.code == 0, done.err
    assert sum(bool(row["place"]) for row in json.loads(done.out)["ranked"]) > 10


def test_a_folder_that_is_called_like_a_model_is_the_folder(tmp_path: Path) -> None:
    write_launch(tmp_path / "llama3-8b")
    done = in_process("rank", "llama3-8b", "--usd-per-hour", "2", "--format", "json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert [row["origin"] for row in json.loads(done.out)["ranked"]] == ["measured"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--by", "tokens_per_seconds"], "did you mean tokens_per_second"),
        (["--deadline", "30d"], "set its size: --tokens 1T"),
        (["--by", "train_usd"], "set its size: --tokens 1T"),
        (["--tokens", "many"], "--tokens many"),
        (["--on", "H100=p5.48xlarge"], "add --published"),
        (["--published", "--on", "H100"], "is not CHIP=INSTANCE"),
        (["--published", "--on", "H100=p5.48xlargo"], "did you mean p5.48xlarge"),
        (["llama3-8b", "--on", "H100=trn2.48xlarge"], "trn2.48xlarge has 16 x trainium2, no H100"),
        (["llama3-8b", "--on", "H101=p5.48xlarge"], "H101 is not a known chip"),
        (["llama3-8b", "--region", "us-east-9"], "did you mean us-east-"),
        (["llama3-8b", "--as-of", "2126-01-01"], "the newest rate of the table is of 2026-"),
        (["llama3-8b", "--as-of", "2020-01-01"], "nothing was published of llama3-8b by then"),
        (["llama3-8b", "--as-of", "soon"], "--as-of soon: is not a day"),
        (["Nemotron-4-15B", "--sequence-length", "900000"], "--sequence-length 4096"),
        (["llama3-8b", "--model", "llama3-8b"], "leave one of them out"),
        (["llama3-8b", "--all-options"], "one price for each chip"),
        (["llama3-8b", "gpt2-124m"], "are two models"),
        (["llama3-8b", "--usd-per-hour", "2"], "there is no result of llama3-8b here"),
        (["llama3-8c"], "did you mean llama3-8b"),
        (["nowhere"], "neither a folder of results nor a known model"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    done = in_process("rank", *arguments, cwd=tmp_path)
    assert done.code == 2, done.err
    assert told in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--published", "--model", "llama3-8c"], "did you mean"),
        (
            ["--published", "--model", "llama3-8b", "--price-option", "reserved_3y"],
            "can be ranked",
        ),
    ],
)
def test_where_nothing_is_left_the_reason_is_told(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    done = in_process("rank", *arguments, cwd=tmp_path)
    assert done.code == 5, done.err
    assert told in done.err
    assert "Traceback" not in done.err
