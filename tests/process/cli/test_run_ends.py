"""However a case ends: what was measured is readable, the outcome says why, nobody is left."""

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.command import (
    COMMAND,
    heed_signals,
    in_process,
    is_living,
    only_case,
    processes_named,
    records_of,
    trnbench,
    uncounted_environment,
)
from tests.fake_python import Behaviour, fake_python
from trnbench.run.stopping import BLOCK_MARGIN, ENDING_SECONDS

# One case; a quarter of a second is said for each step, so that samples are single steps.
CONFIG = """
name: ends
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 2, learning_rate: 0.003}
measure: {relative_precision: 0.02, min_seconds: 0, min_samples: 50, hang_seconds: 20}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ends.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        ("dies", "died", r"exit code 7.*something went wrong"),
        ("is_killed", "died", r"signal 9"),
        ("garbage", "garbage", r"no record.*Segmentation fault"),
        ("endless_line", "garbage", r"line without an end"),
        ("out_of_memory", "out_of_memory", r"no room for 9 GiB"),
        ("hangs", "hung", r"no record from the worker"),
        ("ignores_sigterm", "hung", r"no record from the worker"),
        ("leaves_a_grandchild", "hung", r"no record from the worker"),
    ],
)
def test_a_worker_that_fails_is_an_outcome_with_its_reason(
    behaviour: Behaviour, status: str, reason: str, config: Path, tmp_path: Path
) -> None:
    python = fake_python(tmp_path, behaviour)
    done = trnbench(
        "run", config, "-o", tmp_path / "run", "--python", python,
        "--set", "measure.hang_seconds=5",
    )  # fmt: skip
    assert done.code == 4, done.err
    assert "Traceback" not in done.err
    records = records_of(only_case(tmp_path / "run"))
    assert records[-1]["kind"] == "outcome"
    assert records[-1]["status"] == status
    assert re.search(reason, records[-1]["reason"])
    assert sum(record["kind"] == "block" for record in records) >= 12
    assert processes_named(str(tmp_path)) == []
    for grandchild in re.findall(r"grandchild (\d+)", records[-1]["detail"] or ""):
        assert not is_living(int(grandchild))
    report = trnbench("report", tmp_path / "run", "--format", "json")
    assert report.code == 0
    assert json.loads(report.out)["results"][0]["outcome"] == status


def test_an_outcome_tells_no_path_of_the_machine(config: Path, tmp_path: Path) -> None:
    trnbench("run", config, "-o", tmp_path / "run", "--python", fake_python(tmp_path, "dies"))
    written = (only_case(tmp_path / "run") / "measurement.jsonl").read_text()
    assert "lib.py" in written
    assert "somebody" not in written
    assert str(tmp_path) not in written


def test_a_worker_of_another_protocol_version_is_refused(config: Path, tmp_path: Path) -> None:
    python = fake_python(tmp_path, "old_protocol")
    done = trnbench("run", config, "-o", tmp_path / "run", "--python", python)
    assert done.code == 4
    assert records_of(only_case(tmp_path / "run"))[-1]["status"] == "wrong_order"


def test_training_that_is_wrong_is_kept_and_called_invalid(config: Path, tmp_path: Path) -> None:
    for behaviour, check in (("not_finite", "finite"), ("never_learns", "learning")):
        run = tmp_path / behaviour
        python = fake_python(tmp_path, behaviour)  # type: ignore[arg-type]
        done = trnbench("run", config, "-o", run, "--python", python, "--json")
        assert done.code == 4
        (result,) = json.loads(done.out)["results"]
        assert result["standing"] == "invalid"
        assert check in result["doubts"]


def test_a_worker_that_babbles_is_heard(config: Path, tmp_path: Path) -> None:
    python = fake_python(tmp_path, "babbles")
    done = trnbench("run", config, "-o", tmp_path / "run", "--python", python)
    assert done.code == 0, done.err


def test_a_case_that_fails_does_not_end_the_suite(config: Path, tmp_path: Path) -> None:
    python = fake_python(tmp_path, "dies")
    done = trnbench(
        "run", config, "-o", tmp_path / "run", "--python", python, "--json",
        "--set", "sweep={workload.global_batch_size: [2, 4]}",
    )  # fmt: skip
    assert done.code == 4
    assert [r["outcome"] for r in json.loads(done.out)["results"]] == ["died", "died"]
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert document["state"] == "failed"
    assert [case["status"] for case in document["cases"]] == ["died", "died"]


def test_a_run_is_completed_and_nothing_is_measured_twice(config: Path, tmp_path: Path) -> None:
    run, sweep = tmp_path / "run", "sweep={workload.global_batch_size: [2, 4]}"
    bad, good = fake_python(tmp_path, "dies"), fake_python(tmp_path, "good")
    assert trnbench("run", config, "-o", run, "--python", good).code == 0
    before = only_case(run) / "measurement.jsonl"
    measured = before.read_bytes()
    assert trnbench("run", config, "-o", run, "--python", bad, "--set", sweep).code == 4
    again = trnbench("run", config, "-o", run, "--python", good, "--set", sweep)
    assert again.code == 0, again.err
    assert "was measured before" in again.err
    assert before.read_bytes() == measured
    assert len(list(run.glob("*/measurement.unfinished-1.jsonl"))) == 1


def test_a_job_too_large_for_the_machine_is_not_started(config: Path, tmp_path: Path) -> None:
    done = trnbench(
        "run", config, "-o", tmp_path / "run", "--python", fake_python(tmp_path),
        "--set", "model=llama3.1-405b",
    )  # fmt: skip
    assert done.code == 4
    (header, outcome) = records_of(only_case(tmp_path / "run"))
    assert header["kind"] == "header"
    assert outcome["status"] == "does_not_fit"
    assert "GiB" in outcome["reason"]


def test_the_limit_in_dollars_ends_a_case_and_is_named(config: Path, tmp_path: Path) -> None:
    done = trnbench(
        "run", config, "-o", tmp_path / "run", "--python", fake_python(tmp_path, "good"), "--json",
        "--usd-per-hour", "3600", "--set", "measure.max_usd=3",
        "--set", "measure.relative_precision=0.0000001", "--set", "measure.max_samples=100000",
    )  # fmt: skip
    (result,) = json.loads(done.out)["results"]
    assert result["stopped_because"].startswith("max_usd")
    # A second is a dollar: one more block, even the longest, would not have ended in time.
    *records, outcome = records_of(only_case(tmp_path / "run"))
    longest = max((each["seconds"] for each in records if each["kind"] == "block"), default=0.0)
    assert outcome["at_seconds"] + BLOCK_MARGIN * longest + ENDING_SECONDS >= 3


def test_the_dollars_of_all_cases_leave_the_rest_unmeasured_until_there_are_more(
    config: Path, tmp_path: Path
) -> None:
    """A second is a dollar, and a case begins with 30 s or more."""
    command = (
        "run", config, "-o", tmp_path / "run", "--python", fake_python(tmp_path, "good"), "--json",
        "--set", "sweep.workload.global_batch_size=[8, 16]", "--usd-per-hour", "3600",
    )  # fmt: skip
    done = trnbench(*command, "--max-usd", "30")
    assert done.code == 4
    assert "for at most $30" in done.err
    assert "--max-usd: 1 case was not measured" in done.err
    assert len(json.loads(done.out)["results"]) == 1
    assert len(json.loads(trnbench(*command).out)["results"]) == 2
    refused = trnbench("run", config, "--max-usd", "1", "--python", fake_python(tmp_path, "good"))
    assert refused.code == 2
    assert "--max-usd 1 cannot be kept without a price" in refused.err


def test_a_limit_before_the_first_sample_is_told_as_that(config: Path, tmp_path: Path) -> None:
    done = trnbench(
        "run", config, "-o", tmp_path / "run", "--set", "measure.max_minutes=0.05",
        "--python", fake_python(tmp_path, step_seconds=60.0),
    )  # fmt: skip
    assert done.code == 4
    assert records_of(only_case(tmp_path / "run"))[-1]["status"] == "out_of_budget"
    assert "failed: out_of_budget" in done.out
    assert "measure.max_minutes was used up before a sample was timed" in done.err
    assert "allow more minutes by measure.max_minutes" in done.err
    assert "finished" not in done.out


def test_what_the_benchmark_costs_is_told_while_it_runs_and_in_the_result(
    config: Path, tmp_path: Path
) -> None:
    """Two cases of two launches at a dollar a second: dollars are seconds."""
    done = trnbench(
        "run", config, "-o", tmp_path / "run", "--python", fake_python(tmp_path), "--json",
        "--usd-per-hour", "3600", "--set", "measure.launches=2",
        "--set", "sweep={model: [tiny-llama, tiny-gpt2]}", "--set", "measure.gate=false",
    )  # fmt: skip
    results = {r["model"]: r for r in json.loads(done.out)["results"]}
    for name, result in results.items():
        assert result["launches"] == 2
        assert result["case_usd"] == pytest.approx(result["total_seconds"])
        told = re.findall(rf"{name} .* \$([\d.]+)(?:  \$[\d.]+ in all)?$", done.err, re.MULTILINE)
        dollars = [float(each) for each in told]
        assert dollars == sorted(dollars), "a second launch goes on from where the first ended"
        assert len(dollars) > 4
        assert dollars[-1] == pytest.approx(result["case_usd"], rel=1e-3)
    in_all = [float(each) for each in re.findall(r"\$([\d.]+) in all$", done.err, re.MULTILINE)]
    assert in_all == sorted(in_all)
    spent = sum(result["case_usd"] for result in results.values())
    assert 0.5 * spent < in_all[-1] <= spent * 1.001


# --- stopped from outside -------------------------------------------------------------------------


@pytest.fixture
def hanging(config: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run whose worker has trained 12 steps and then says nothing."""
    process = subprocess.Popen(
        [*COMMAND, "run", str(config), "-o", str(tmp_path / "run"),
         "--python", fake_python(tmp_path, "hangs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring" in line:
            break
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_keeps_what_was_measured(
    number: int, code: int, status: str, hanging: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    hanging.send_signal(number)
    out, err = hanging.communicate(timeout=60)
    assert hanging.returncode == code, err
    assert "Traceback" not in err
    assert status in out
    records = records_of(only_case(tmp_path / "run"))
    assert records[-1]["status"] == status
    assert 9 <= sum(record["kind"] == "block" for record in records) <= 12
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    assert processes_named(str(tmp_path)) == []


def test_a_killed_parent_leaves_no_process_and_readable_records(
    hanging: "subprocess.Popen[str]", config: Path, tmp_path: Path
) -> None:
    left = processes_named(str(tmp_path))
    assert left, "the worker is there before its parent is killed"
    hanging.kill()
    hanging.wait()
    _, alive = psutil.wait_procs([p for p in left if p.pid != hanging.pid], timeout=20)
    assert alive == []
    report = trnbench("report", tmp_path / "run", "--format", "json")
    assert report.code == 0, report.err
    (result,) = json.loads(report.out)["results"]
    assert result["outcome"] == "cut_off"
    again = trnbench("run", config, "-o", tmp_path / "run", "--python", fake_python(tmp_path))
    assert again.code == 0, again.err


def test_two_runs_in_one_folder_cannot_hurt_each_other(
    hanging: "subprocess.Popen[str]", config: Path, tmp_path: Path
) -> None:
    second = trnbench("run", config, "-o", tmp_path / "run", "--python", fake_python(tmp_path))
    assert second.code == 4
    assert "another trnbench" in second.err
    assert hanging.poll() is None


def test_a_run_goes_on_when_nobody_reads_of_its_progress(config: Path, tmp_path: Path) -> None:
    """As under `trnbench run … 2>&1 >results.txt | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "run", str(config), "-o", str(tmp_path / "run"), "--json"]
    done = subprocess.run(
        [*command, "--python", fake_python(tmp_path)], stdout=subprocess.PIPE, stderr=writer,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 0
    assert json.loads(done.stdout)["results"][0]["outcome"] == "finished"


# --- a folder that is taken away ------------------------------------------------------------------


def test_a_case_whose_files_were_taken_away_ends_as_that_and_the_next_one_is_measured(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    take = f"import glob, shutil; [shutil.rmtree(each) for each in glob.glob('{run}/*/')]"
    command = (
        "run", config, "-o", run, "--python", fake_python(tmp_path, act=take),
        "--set", "sweep={workload.global_batch_size: [2, 4]}",
    )  # fmt: skip
    done = in_process(*command)
    assert done.code == 4, done.err
    assert "plan.json: cannot be read: No such file or directory; what was measured" in done.err
    assert "run the same command with the same `-o`" in done.err
    cases = json.loads((run / "run.json").read_text())["cases"]
    assert [case["status"] for case in cases] == ["unreadable", "finished"]
    again = in_process(*command)
    assert again.code == 0, again.err
    assert again.err.count("was measured before") == 1


def test_a_plan_that_is_gone_before_the_second_launch_ends_its_case_alone(
    config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    take = f"import glob; [os.remove(each) for each in glob.glob('{run}/*/plan.json')[-1:]]"
    command = (
        "run", config, "-o", run, "--python", fake_python(tmp_path, act=take, at_launch=2),
        "--set", "sweep={workload.global_batch_size: [2, 4]}", "--launches", "2",
    )  # fmt: skip
    done = in_process(*command)
    assert done.code == 4, done.err
    cases = json.loads((run / "run.json").read_text())["cases"]
    assert sorted(case["status"] for case in cases) == ["finished", "unreadable"]
    again = in_process(*command)
    assert again.code == 0, again.err


def test_a_run_whose_folder_was_taken_away_ends_in_a_sentence(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    take = f"import shutil; shutil.rmtree({str(run)!r})"
    command = (
        "run", config, "-o", run, "--python", fake_python(tmp_path, act=take, at_launch=2),
        "--set", "sweep={workload.global_batch_size: [2, 4]}",
    )  # fmt: skip
    done = in_process(*command)
    assert done.code == 4, done.err
    assert "No such file or directory; the folder is gone" in done.err
    assert in_process(*command).code == 0


# --- a full disk ----------------------------------------------------------------------------------


def test_a_file_that_cannot_grow_ends_the_run_and_stays_readable(
    config: Path, tmp_path: Path
) -> None:
    run = [*COMMAND, "run", str(config), "-o", str(tmp_path / "run")]
    run += ["--python", fake_python(tmp_path, "good"), "--set", "measure.max_samples=5000"]
    run += ["--set", "measure.relative_precision=0.0000001"]
    # 300 KiB: room for the reserve, and for some hundred records.
    command = f"ulimit -f 600; exec {shlex.join(run)}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=uncounted_environment(),  # a count of lines is a file as well, and may be larger
    )
    assert done.returncode == 4, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    records = records_of(only_case(tmp_path / "run"))
    assert sum(record["kind"] == "block" for record in records) > 100
    assert trnbench("report", tmp_path / "run").code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 640 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_outcome_and_the_next_case_is_not_begun(
    config: Path, small_disk: Path, tmp_path: Path
) -> None:
    done = trnbench(
        "run", config, "-o", small_disk / "run", "--python", fake_python(tmp_path, "good"),
        "--set", "measure.max_samples=5000", "--set", "measure.relative_precision=0.0000001",
        "--set", "sweep={workload.global_batch_size: [2, 4]}",
    )  # fmt: skip
    assert done.code == 4, done.err
    assert "No space left on device" in done.err
    assert "Traceback" not in done.err
    assert "disk_full" in done.out
    outcome = records_of(only_case(small_disk / "run"))[-1]
    assert outcome["status"] == "disk_full"
    document = json.loads((small_disk / "run" / "run.json").read_text())
    assert document["state"] == "failed"
