"""`micro_batch_size: max` end to end: out of memory is an answer, and nothing is tried twice."""

import json
from pathlib import Path

from tests.command import in_process, only_case
from tests.fake_python import fake_python

CONFIG = """\
model: tiny-llama
workload: {sequence_length: 128, global_batch_size: 8, micro_batch_size: max}
measure: {min_samples: 8, max_samples: 8, min_seconds: 0, gate: false, telemetry: false}
"""


def test_sizes_are_tried_until_one_fits_and_the_result_says_so(tmp_path: Path) -> None:
    config, run = tmp_path / "largest.yaml", tmp_path / "run"
    config.write_text(CONFIG)
    python = fake_python(tmp_path, pace_of_size={8: None, 4: None})
    arguments = ("run", config, "-o", run, "--python", python)
    done = in_process(*arguments)
    assert done.code == 0, done.err
    said = (
        "micro_batch_size max: 8 out_of_memory (no room for 9 GiB); 4 out_of_memory (no room "
        "for 9 GiB); 1 fits; 2 fits: 2 is taken, the global batch stays"
    )
    assert "micro_batch_size 8: out_of_memory: no room for 9 GiB" in done.err
    assert said in " ".join(done.out.split())
    workload = json.loads((only_case(run) / "result.json").read_text())["workload"]
    assert (workload["micro_batch_size"], workload["global_batch_size"]) == (2, 8)
    assert workload["search"]["taken"] == 2
    again = in_process(*arguments)
    assert again.code == 0, again.err
    assert "was measured before" in again.err
    assert "[trial]" not in again.err
    assert said in " ".join(again.out.split())


def test_what_makes_no_trials_refuses_max(tmp_path: Path) -> None:
    config = tmp_path / "largest.yaml"
    config.write_text(CONFIG)
    for command in (("noise", config), ("profile", config)):
        done = in_process(*command, "--python", fake_python(tmp_path), "-o", tmp_path / "out")
        assert done.code == 2
        assert "largest: workload.micro_batch_size: max is found by trials" in done.err
