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
        (["--published", "--model", "llama3-8b"], "can be ranked"),
        (["nowhere"], "nowhere"),
    ],
)
def test_where_nothing_is_left_the_reason_is_told(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    done = in_process("rank", *arguments, cwd=tmp_path)
    assert done.code == 5, done.err
    assert told in done.err
    assert "Traceback" not in done.err
