"""`trnbench check-claim` as a user types it."""

import json
from pathlib import Path

import pytest

from tests.command import in_process

AWS = "30-40 % better price-performance than P5en"


def test_aws_s_claim_of_trainium2_cannot_be_told_and_says_what_it_needs() -> None:
    done = in_process("check-claim", AWS, "--of", "trn2.48xlarge", "--json")
    assert done.code == 6
    document = json.loads(done.out)
    assert document["verdict"] == "cannot tell"
    assert all(row["is"] == "need" for row in document["rows"])
    (need,) = (
        row
        for row in document["rows"]
        if row["precision"] == "bf16" and row["sequence_length"] == 8192
    )
    rent = need["than_usd_per_hour"] / 8 / (need["of_usd_per_hour"] / 16)
    needed = 1.3 * need["than_tokens_per_second_per_chip"] / rent
    assert need["needed_tokens_per_second_per_chip"] == pytest.approx(needed)
    assert 0.1 < need["needed_mfu"] < 0.6
    assert all(need[f"{each}_price_source"] for each in ("of", "than"))
    assert document["no_evidence"]
    assert "cannot tell" in done.err


def test_a_claim_that_is_supported_ends_with_0() -> None:
    done = in_process(
        "check-claim", "2 % better price-performance than p4de", "--of", "trn1.32xlarge",
        "--price-option", "capacity_block", "--region", "us-east-1", "--model", "llama3-8b",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "supported" in done.out
    assert not done.err


def test_ones_own_log_decides_what_nothing_published_does(tmp_path: Path) -> None:
    """16 chips at 4,096 tokens/s each, where 3,296 would be 30 % better."""
    rows = [f"{step},1,{16 * 4096 + step % 3}" for step in range(1, 30)]
    (tmp_path / "steps.csv").write_text("\n".join(["step,step_time_seconds,tokens", *rows]))
    out = tmp_path / "out"
    done = in_process(
        "import", tmp_path / "steps.csv", "--on", "trn2.48xlarge", "--model", "llama3.1-8b",
        "--sequence-length", 8192, "--precision", "bf16", "-o", out,
    )  # fmt: skip
    assert done.code == 0, done.err
    done = in_process("check-claim", AWS, "--of", "trn2.48xlarge", "--results", out, "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["rows"]
    assert (row["of_origin"], row["than_origin"]) == ("imported", "published")
    assert row["of_tokens_per_second_per_chip"] == pytest.approx(4096, rel=1e-3)
    shown = in_process("check-claim", AWS, "--of", "trn2.48xlarge", "--results", out).out
    assert "imported: run out" in " ".join(shown.split())


def test_results_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    done = in_process("check-claim", AWS, "--of", "trn2.48xlarge", "--results", tmp_path / "none")
    assert done.code == 5
    assert "none" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["great", "--of", "trn2.48xlarge"], "is not of the form"),
        (["100 % cheaper than P5en", "--of", "trn2.48xlarge"], "nothing is 100 % cheaper"),
        ([AWS.replace("P5en", "P5"), "--of", "trn2.48xlarge"], "p5.48xlarge"),
        ([AWS, "--of", "trn2.48xlarg"], "did you mean trn2.48xlarge"),
        ([AWS, "--of", "c7a.16xlarge"], "has no chip"),
        ([AWS, "--of", "p5en"], "is the instance that the claim compares with"),
        ([AWS, "--of", "trn2.48xlarge", "--region", "eu-west-2"], "it has rates in us-east-2"),
        ([AWS, "--of", "trn2.48xlarge", "--region", "us-east-9"], "did you mean us-east-"),
        ([AWS, "--of", "trn2.48xlarge", "--as-of", "2126-01-01"], "is after today"),
        ([AWS, "--of", "trn2.48xlarge", "--as-of", "2020-01-01"], "its first is dated"),
        ([AWS, "--of", "trn2.48xlarge", "--model", "llama3-8c"], "did you mean llama3-8b"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_sentence(arguments: list[str], told: str) -> None:
    done = in_process("check-claim", *arguments)
    assert done.code == 2, done.err
    assert told in done.err
    assert "Traceback" not in done.err
