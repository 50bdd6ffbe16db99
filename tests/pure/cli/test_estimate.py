"""`trnbench estimate` as a user types it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import in_process
from tests.comparisons import write_launch


def estimates(*words: str) -> dict[str, Any]:
    done = in_process("estimate", *words, "--format", "json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_model_alone_has_a_row_for_every_chip_with_an_instance() -> None:
    found = estimates("llama3-8b")
    chips = {row["chip"] for row in found["estimates"]}
    assert {"trainium1", "trainium2", "h100-sxm", "h200", "b200"} <= chips
    assert found["compute_optimal_tokens"] == 20 * 8_030_261_248
    for row in found["estimates"]:
        assert row["memory_verdict"] != "does_not_fit"
        assert row["basis"]


def test_machines_are_named_with_their_number_and_all_ways_of_renting() -> None:
    found = estimates("llama3-8b", "--tokens", "2T", "--on", "trn2.48xlarge:64,p5.48xlarge:32")
    rows = {row["instance"]: row for row in found["estimates"]}
    assert rows["trn2.48xlarge"]["chips"] == 64 * 16
    assert rows["p5.48xlarge"]["instances"] == 32
    options = [each["option"] for each in rows["p5.48xlarge"]["ways_of_renting"]]
    assert len(options) == len(set(options)) >= 3
    assert sum(rows["p5.48xlarge"]["parts_seconds"].values()) > 0


def test_a_deadline_that_nothing_keeps_is_refused_after_the_table() -> None:
    done = in_process("estimate", "llama3-8b", "--on", "p5.48xlarge:2", "--within", "1min")
    assert done.code == 2
    assert "late" in done.out
    assert "--within 1min: no machine here trains 1e+12 tokens in that time" in done.err
    assert "the nearest is 2 x p5.48xlarge" in done.err


def test_what_does_not_fit_says_how_many_would() -> None:
    done = in_process("estimate", "llama3.1-405b", "--on", "p5.48xlarge:1")
    assert done.code == 0
    assert "does not fit" in done.out
    assert "it does not fit p5.48xlarge as counted here; 16 x p5.48xlarge do" in " ".join(
        done.out.split()
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("lama3-8b",), ("lama3-8b: is not a known model", "llama3-8b")),
        (("llama3-8b", "--on", "p5.48xlrge"), ("p5.48xlrge is not a known", "p5.48xlarge")),
        (("llama3-8b", "--on", "p5.48xlarge:0"), ("0 is no number", "p5.48xlarge:8")),
        (("llama3-8b", "--on", "p5.48xlarge:"), ("nothing is no number",)),
        (("llama3-8b", "--on", "c7i.large"), ("c7i.large",)),
        (("llama3-8b", "--tokens", "0"), ("--tokens 0",)),
        (("llama3-8b", "--tokens", "1e20"), ("more than 10^18", "15T")),
        (("llama3-8b", "--within", "soon"), ("--within soon", "30d")),
        (("gpt2-124m", "--sequence-length", "4096"), ("1024 positions",)),
        (
            ("llama3-8b", "--on", "p5.48xlarge:3", "--global-batch-size", "7"),
            ("7 sequences a step", "24 devices", "multiple of 24"),
        ),
        (("llama3-8b", "--calibrate", "nowhere"), ("nowhere",)),
    ],
)
def test_wrong_input_is_named_with_what_to_do(
    words: tuple[str, ...], told: tuple[str, ...]
) -> None:
    done = in_process("estimate", *words)
    assert done.code in (2, 5)
    assert done.out == ""
    for text in told:
        assert text in done.err


def test_results_of_no_known_chip_do_not_calibrate(tmp_path: Path) -> None:
    write_launch(tmp_path / "run")
    done = in_process("estimate", "llama3-8b", "--calibrate", tmp_path / "run")
    assert done.code == 5
    assert "is no chip of the catalog" in done.err


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "html"])
def test_every_format_has_the_machine(form: str) -> None:
    done = in_process("estimate", "llama3-8b", "--on", "p5en.48xlarge:4", "--format", form)
    assert done.code == 0, done.err
    assert "p5en.48xlarge" in done.out
