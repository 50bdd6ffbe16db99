"""`trnbench published` as a user types it."""

import csv
import io
import json

import pytest

from tests.command import in_process
from trnbench.catalog.published import published_results


def test_all_are_listed_with_both_utilizations_and_their_source() -> None:
    done = in_process("published", "--format", "csv")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == len(published_results())
    assert all(row["source"] and row["date"] for row in rows)
    assert all(bool(row["mfu"]) != bool(row["mfu_reason"]) for row in rows)


def test_the_printed_count_stands_beside_ours() -> None:
    done = in_process("published", "--source", "adt-llama3-8b-h100-32-bf16", "--json")
    (row,) = json.loads(done.out)
    # torchtitan counts attention whole: 1.125 times ours at 8,192 tokens.
    assert row["mfu_percent_printed"] / 100 / row["mfu"] == pytest.approx(1.125, rel=0.01)


def test_filters_are_taken_together() -> None:
    done = in_process("published", "--model", "llama3-8b", "--chip", "trainium2", "--json")
    rows = json.loads(done.out)
    assert rows
    assert {(row["model"], row["accelerator"]) for row in rows} == {("Llama-3.1-8B", "Trainium2")}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--chip", "H300"], "did you mean H800 or H200 or H100?"),
        (["--model", "llama3-8c"], "did you mean Llama-3-8B"),
        (["--source", "zzz"], "publications: "),
        (["--source", "torchtitan", "--chip", "Gaudi2"], "leave one of them out"),
        (["--model", "MPT-7B", "--chip", "Gaudi2"], "leave one of them out"),
    ],
)
def test_what_nobody_published_is_refused_in_a_sentence(arguments: list[str], told: str) -> None:
    done = in_process("published", *arguments)
    assert done.code == 2, done.err
    assert told in done.err
