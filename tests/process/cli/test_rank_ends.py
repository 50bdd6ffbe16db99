"""However a job of several ranks ends: the outcome names the rank, and none is left."""

import json
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.command import (
    COMMAND,
    heed_signals,
    in_process,
    only_case,
    processes_named,
    records_of,
)
from tests.fake_python import Behaviour, fake_python
from tests.process.run.processes import are_gone
from tests.profiles import ENVIRONMENT, keep_peak
from trnbench.run import meeting as meetings

# A quarter of a second is said for each step, so that samples are single steps.
CONFIG = """
name: ranks
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 3, threads: 1, learning_rate: 0.003}
parallel: {data_parallel_replicate_size: 3}
measure: {relative_precision: 0.02, min_seconds: 0, min_samples: 50, gate: false}
"""


def run(folder: Path, python: str, *settings: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Run a job of three ranks; return the exit code, what was printed, and the records."""
    config = folder / "ranks.yaml"
    config.write_text(CONFIG)
    options = [option for setting in settings for option in ("--set", setting)]
    done = in_process("run", config, "-o", folder / "run", "--python", python, *options)
    assert "Traceback" not in done.err
    assert processes_named(str(folder)) == []
    return done.code, done.err, records_of(only_case(folder / "run"))


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == kind]


def test_the_ranks_of_a_job_are_written_as_one(tmp_path: Path) -> None:
    code, words, records = run(tmp_path, fake_python(tmp_path))
    assert code == 0, words
    blocks = of_kind(records, "block")
    assert len(blocks) > 50
    for block in blocks:
        first, second, third = block["rank_seconds"]
        assert first < second < third == block["seconds"]
    assert [block["first_step"] for block in blocks] == list(range(len(blocks)))
    assert of_kind(records, "environment")[0]["device_count"] == 3
    assert [seat["rank"] for seat in of_kind(records, "seated")] == [0, 1, 2]
    (memory,) = of_kind(records, "memory")
    assert memory["rank_peak_bytes"] == [123456789] * 3
    assert len(of_kind(records, "replica")) == 3
    assert of_kind(records, "rank_fault") == []
    assert records[-1]["status"] == "finished"
    # The mean of the three ranks' losses, which differ by a thousandth from one to the next.
    own = 0.73 + 6.95
    assert blocks[0]["losses"] == pytest.approx([own + 0.001])


def test_a_rank_that_crashes_after_its_last_record_has_done_its_work(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "crashes_after_its_last_record", at_rank=2)
    code, words, records = run(tmp_path, python)
    assert code == 0, words
    assert records[-1]["status"] == "finished"


def test_a_rank_that_dies_in_the_steps_under_the_profiler_spoils_nothing(tmp_path: Path) -> None:
    code, words, records = run(
        tmp_path, fake_python(tmp_path, "dies_under_the_profiler", at_rank=1)
    )
    assert code == 0, words
    assert records[-1]["status"] == "finished"
    said = r"samples in .*; its communication is not known: rank 1 of 3: .*exit code 7"
    assert re.search(said, records[-1]["reason"])


def test_an_all_reduce_far_below_the_measured_peak_is_a_doubt_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = replace(ENVIRONMENT, device_name="a processor")
    keep_peak(tmp_path / "peaks", 3, 0.01, ranks=3, environment=environment)
    run(tmp_path, fake_python(tmp_path))
    result = json.loads((only_case(tmp_path / "run") / "result.json").read_text())
    (found,) = [check for check in result["checks"] if check["name"] == "all_reduce"]
    assert found["verdict"] == "doubtful"
    assert "5% of the 1.12 GB/s that torch measured in peaks/3 (2026-11-03T" in found["evidence"]


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        ("dies", "died", r"rank 1 of 3: .*exit code 7.*something went wrong"),
        ("is_killed", "died", r"rank 1 of 3: .*signal 9"),
        ("garbage", "garbage", r"rank 1 of 3: .*no record.*Segmentation fault"),
        ("endless_line", "garbage", r"rank 1 of 3: .*line without an end"),
        ("out_of_memory", "out_of_memory", r"rank 1 of 3: no room for 9 GiB"),
        ("hangs", "hung", r"rank 1 of 3 sent less than the others, in <module>"),
        ("is_stopped", "hung", r"rank 1 of 3 is stopped by a signal"),
        ("has_no_seat", "garbage", r"rank 1 of 3: .*without a seat"),
        ("has_another_program", "bug", r"rank 1 of 3 built another program than rank 0"),
        ("old_protocol", "wrong_order", r"has version 1 of the protocol"),
    ],
)
def test_the_rank_that_fails_is_named(
    behaviour: Behaviour, status: str, reason: str, tmp_path: Path
) -> None:
    python = fake_python(tmp_path, behaviour, at_rank=1)
    code, words, records = run(tmp_path, python, "measure.hang_seconds=2")
    assert code == 4, words
    assert records[-1]["status"] == status
    assert re.search(reason, records[-1]["reason"])
    if status == "hung":
        assert "ranks 0, 2, innermost call first:\n  File" in records[-1]["detail"]
        assert "in <module>" in records[-1]["detail"]


def test_a_rank_that_contradicts_the_others_is_recorded_once_for_each_kind(tmp_path: Path) -> None:
    _, _, records = run(tmp_path, fake_python(tmp_path, "contradicts", at_rank=1))
    faults = of_kind(records, "rank_fault")
    expected = {
        "device": ([0, 1], "ranks 0-1 drive one device"),
        "process_group": ([1], "is 'mpi' and not 'gloo'"),
        "losses": ([0, 1], "the same tokens"),
        "gradient_norms": ([1], "in step 12 the norm .* is 1 .* 1.01 on"),
        "steps": ([1], "rank 1 ran 1 steps from step 12 on"),
        "weights": ([1], "the weights of rank 1 are not those"),
    }
    assert sorted(fault["what"] for fault in faults) == sorted(expected)
    for fault in faults:
        ranks, evidence = expected[fault["what"]]
        assert fault["ranks"] == ranks
        assert re.search(evidence, fault["evidence"])


def test_the_limit_of_time_is_the_job_s_and_a_second_run_continues(tmp_path: Path) -> None:
    python = fake_python(tmp_path)
    run(tmp_path, python, "measure.launches=2")
    (case,) = (tmp_path / "run").glob("*/plan.json")
    assert len(list(case.parent.glob("measurement*.jsonl"))) == 2
    done = in_process(
        "run", tmp_path / "ranks.yaml", "-o", tmp_path / "run", "--python", python,
        "--set", "measure.launches=2", "--format", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    (result,) = json.loads(done.out)["results"]
    assert result["launches"] == 2
    assert len(list(case.parent.glob("measurement*.jsonl"))) == 2


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGKILL, -9, None)],
)
def test_stopped_from_outside_no_rank_is_left(
    number: signal.Signals, code: int, status: str | None, tmp_path: Path
) -> None:
    config = tmp_path / "ranks.yaml"
    config.write_text(CONFIG)
    python = fake_python(tmp_path, "hangs", at_rank=1)
    with subprocess.Popen(
        [*COMMAND, "run", str(config), "-o", str(tmp_path / "run"), "--python", python],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "measuring" in line:
                break
        left = processes_named(str(tmp_path))
        assert len(left) >= 4, "the parent and its three ranks"
        process.send_signal(number)
        words = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert "Traceback" not in words
    assert are_gone(each.pid for each in left)
    records = records_of(only_case(tmp_path / "run"))
    assert sum(record["kind"] == "block" for record in records) >= 9
    assert records[-1].get("status") == status


def test_without_a_port_to_meet_at_the_case_is_recorded_as_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meetings, "LOOPBACK", "192.0.2.1")  # of no interface (RFC 5737)
    code, words, records = run(tmp_path, fake_python(tmp_path))
    assert code == 4
    assert [record["kind"] for record in records] == ["header", "outcome"]
    assert records[-1]["status"] == "unavailable"
    assert "have no port on 192.0.2.1 to meet at" in words
