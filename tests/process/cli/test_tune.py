"""`trnbench tune` end to end, with steps that are scripted: nothing is trained."""

import json
from pathlib import Path

import pytest

from tests.command import in_process
from tests.fake_python import fake_python

CONFIG = """\
model: tiny-llama
workload: {sequence_length: 128, global_batch_size: 8, execution: eager}
measure: {min_samples: 8, max_samples: 12, min_seconds: 0, gate: false, telemetry: false}
price: {usd_per_hour: 3.6}
"""

PACE = {8: None, 4: 1.0, 2: 1.5, 1: 3.0}
"""Of a step by the size of its passes: the whole batch does not fit, and 4 is the fastest."""


def test_a_study_finds_the_best_resumes_and_writes_it(tmp_path: Path) -> None:
    config, study, best = tmp_path / "one.yaml", tmp_path / "study", tmp_path / "best.yaml"
    config.write_text(CONFIG)
    python = fake_python(tmp_path, pace_of_size=PACE)
    fixed = ("--set", "workload.activation_checkpointing=none", "--python", python)
    first = in_process("tune", config, "-o", study, "--trials", "2", *fixed)
    assert first.code == 0, first.err
    assert "trial 2: " in first.err
    done = in_process("tune", config, "-o", study, *fixed, "--json", "--write", best)
    assert done.code == 0, done.err
    assert "trial 2: " not in done.err
    assert "trial 3: " in done.err
    page = json.loads(done.out)
    states = {row["micro_batch_size"]: row["state"] for row in page["trials"]}
    assert states == {8: "out_of_memory", 4: "measured", 2: "pruned", 1: "pruned"}
    assert page["ended"] == "all 4 ways are tried"
    assert [row["is_frontier"] for row in page["trials"]] == [1, 0, 0, 0]
    # Each trial is a result like any other.
    stored = in_process("report", study, "--json")
    assert {row["case_id"] for row in json.loads(stored.out)["results"]} == {
        row["case_id"] for row in page["trials"]
    }
    # The best is a config of its own, of the same work.
    planned = in_process("run", best, "--dry-run", "--python", python, "--json")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["plans"][0]["case_id"] == page["best"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny-llama"], "tune takes one config; it was given"),
        (["--set", "sweep={model: [tiny-llama, tiny-gpt2]}"], "sweep.model: tune cannot search it"),
        (
            ["--set", "sweep={workload.precision: [fp32, bf16]}"],
            "sweep.workload.precision: the parity gate decides",
        ),
        (["--max-usd", "0.01", "--usd-per-hour", "100"], "--max-usd 0.01 affords no trial"),
        (["--max-minutes", "0.1"], "--max-minutes 0.1 affords no trial"),
        (
            [
                "--set", "workload.micro_batch_size=1",
                "--set", "workload.activation_checkpointing=none",
            ],
            "there is nothing to search",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    config = tmp_path / "one.yaml"
    config.write_text(CONFIG)
    done = in_process("tune", config, *arguments, "--python", fake_python(tmp_path))
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert not (tmp_path / "results").exists()
    if "tune" in said or "gate" in said:  # the config alone says it
        assert "looking for devices" not in done.err


def test_a_dry_run_says_which_ways_come_first(tmp_path: Path) -> None:
    config = tmp_path / "one.yaml"
    config.write_text(CONFIG)
    done = in_process("tune", config, "--dry-run", "--python", fake_python(tmp_path))
    assert done.code == 0, done.err
    assert "12 ways; a step's seconds are guessed" in done.out
    assert "1  micro_batch_size=8, activation_checkpointing=none" in done.out
    done = in_process("tune", config, "--dry-run", "--json", "--python", fake_python(tmp_path))
    assert len(json.loads(done.out)["plans"]) == 12
