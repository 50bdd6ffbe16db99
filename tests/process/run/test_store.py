"""Result files: written whole or by line, held by one process, and read back as they were."""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from benchmarks.faulting.power import Recorder, read_disk
from tests.pure.run.plans import plan_case
from tests.pure.run.records import make_header, make_outcome, make_result, write_case
from trnbench.errors import ConfigError, RunError
from trnbench.protocol.records import Finished, Phase
from trnbench.run.disk import MeasurementFile, StorageFull, write_whole
from trnbench.run.store import (
    MEASUREMENT_FILE,
    PLAN_FILE,
    RESULT_FILE,
    CaseFolder,
    RunFolder,
    read_plan,
    read_records,
)
from trnbench.schema.result import RunCase, RunDocument

HOLDS = """
import sys
from pathlib import Path
from trnbench.run.store import RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
folder.close()
"""


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def another_process_holding(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", HOLDS, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder


# --- whole files --------------------------------------------------------------------------------


def test_a_whole_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_whole(path, "old")
    write_whole(path, "new … text")
    assert path.read_text(encoding="utf-8") == "new … text"
    assert files_in(tmp_path) == {"plan.json"}


def test_a_reader_of_the_old_file_keeps_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_whole(path, "old" * 100_000)
    with path.open(encoding="utf-8") as reader:
        assert reader.read(3) == "old"
        write_whole(path, "new")
        assert reader.read() == "old" * 99_999


def test_a_file_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.mkdir()
    with pytest.raises(StorageFull, match="directory"):
        write_whole(path, "text")
    assert files_in(tmp_path) == {"plan.json"}


# --- the run's folder ---------------------------------------------------------------------------


def test_a_folder_is_made_held_with_a_reserve_and_given_back_clean(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path / "results" / "a-run")
    assert files_in(folder.path) == {".lock", ".reserve"}
    assert (folder.path / ".reserve").stat().st_size >= 64 * 1024
    folder.release_reserve()
    assert files_in(folder.path) == {".lock"}
    folder.close()
    assert files_in(folder.path) == set()


def test_a_folder_that_another_process_holds_is_refused_until_it_is_given_back(
    tmp_path: Path,
) -> None:
    with another_process_holding(tmp_path):
        with pytest.raises(RunError, match="another trnbench is measuring") as refused:
            RunFolder.open(tmp_path)
        assert "-o" in refused.value.problems[0].hint
        assert (tmp_path / ".lock").exists(), "a refused process took the holder's lock away"
    RunFolder.open(tmp_path).close()


def test_a_folder_whose_holder_was_killed_is_free(tmp_path: Path) -> None:
    with another_process_holding(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert files_in(tmp_path) == {".lock", ".reserve"}
        RunFolder.open(tmp_path).close()
    assert files_in(tmp_path) == set()


def test_a_lock_that_its_holder_has_just_removed_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between our opening the file and our locking it, its holder gives the folder back: a third
    # process would now make, and hold, a file of its own.
    really_lock = fcntl.flock

    def lock_too_late(descriptor: int, how: int) -> None:
        (tmp_path / ".lock").unlink()
        really_lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with pytest.raises(RunError, match="another trnbench"):
        RunFolder.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_fault_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written") as refused:
        RunFolder.open(tmp_path / "file" / "run")
    assert "-o" in refused.value.problems[0].hint


def make_document() -> RunDocument:
    return RunDocument(
        trnbench_version="1",
        run_id="a-run",
        suites=["a suite"],
        started_at="2026-08-01T12:00:00+00:00",
        ended_at=None,
        state="running",
        machine={},
        devices=[],
        versions={},
        cases=[RunCase(case_id="x", status="waiting")],
    )


def test_the_run_s_document_is_written_whole(tmp_path: Path) -> None:
    document = make_document()
    folder = RunFolder.open(tmp_path)
    folder.write_document(document)
    folder.close()
    assert RunDocument.model_validate_json((tmp_path / "run.json").read_bytes()) == document


# --- a case's folder ----------------------------------------------------------------------------


def test_beginning_writes_the_plan_and_tells_the_hash_of_what_is_on_disk(tmp_path: Path) -> None:
    plan = plan_case()
    case = RunFolder(tmp_path, -1).case(plan.case_id)
    told = case.begin(plan)
    assert case.plan_path == tmp_path / plan.case_id / PLAN_FILE
    assert told == hashlib.sha256(case.plan_path.read_bytes()).hexdigest()
    assert read_plan(case.path) == plan


def test_beginning_again_sets_every_unfinished_measurement_aside(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case", "died")
    first = (case.path / MEASUREMENT_FILE).read_bytes()
    write_case(case.path, "hung")
    write_case(case.path, None)
    assert (case.path / "measurement.unfinished-1.jsonl").read_bytes() == first
    assert b'"hung"' in (case.path / "measurement.unfinished-2.jsonl").read_bytes()
    assert files_in(case.path) == {
        PLAN_FILE,
        MEASUREMENT_FILE,
        "measurement.unfinished-1.jsonl",
        "measurement.unfinished-2.jsonl",
    }


def test_beginning_again_takes_the_earlier_result_away_before_its_records(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case", "died")
    (case.path / RESULT_FILE).write_text("{}")
    case.plan_path.unlink()
    case.plan_path.mkdir()  # so that beginning fails where a full disk would make it fail
    with pytest.raises(StorageFull, match="directory"):
        case.begin(plan_case())
    assert RESULT_FILE not in files_in(case.path)


@pytest.mark.parametrize(
    ("status", "seconds"),
    [("finished", [9.0]), ("died", []), ("interrupted", []), (None, [])],
)
def test_only_a_case_that_finished_is_measured(
    tmp_path: Path, status: Any, seconds: list[float]
) -> None:
    assert write_case(tmp_path / "case", status).launches_measured(plan_case()) == seconds


def test_a_case_that_was_never_begun_or_is_damaged_is_not_measured(tmp_path: Path) -> None:
    assert not CaseFolder(tmp_path / "none").launches_measured(plan_case())
    case = write_case(tmp_path / "case")
    lines = (case.path / MEASUREMENT_FILE).read_bytes()
    (case.path / MEASUREMENT_FILE).write_bytes(b"garbage\n" + lines)
    assert not case.launches_measured(plan_case())


def write_launch(case: CaseFolder, launch: int) -> None:
    plan = plan_case()
    sha256 = case.begin(plan, launch)
    records = case.open_measurement(launch)
    records.append(make_header(plan, sha256))
    records.append(make_outcome())
    records.close()


@pytest.mark.parametrize("damage", ["deleted", "emptied", "cut"])
def test_a_plan_that_was_lost_is_put_back_if_it_is_the_one_of_the_records(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = write_case(tmp_path / "case")
    before = case.plan_path.read_bytes()
    case.plan_path.write_bytes({"emptied": b"", "cut": before[:999]}.get(damage, b""))
    if damage == "deleted":
        case.plan_path.unlink()
    assert not case.launches_measured(plan_case({"workload.seed": "1"})), "another plan"
    assert case.launches_measured(plan_case()) == [9.0]
    assert case.plan_path.read_bytes() == before
    assert "plan.json: was damaged or lost; it is written again" in caplog.text


def test_without_its_plan_a_case_counts_as_long_as_its_result_is_whole(tmp_path: Path) -> None:
    case, other = write_case(tmp_path / "case"), plan_case({"workload.seed": "1"})
    case.write_result(make_result((case.path / MEASUREMENT_FILE).stat().st_size))
    case.plan_path.write_text("damaged")
    assert case.launches_measured(other) == [9.0]
    result = (case.path / RESULT_FILE).read_bytes()
    (case.path / RESULT_FILE).write_bytes(result.replace(b'"reason"', b'"Reason"', 1))
    assert case.launches_measured(other) == []


def test_a_damaged_first_launch_is_made_again_and_the_second_one_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = write_case(tmp_path / "case")
    write_launch(case, 2)
    second = (case.path / "measurement.2.jsonl").read_bytes()
    damaged = b"garbage\n" + (case.path / MEASUREMENT_FILE).read_bytes()
    (case.path / MEASUREMENT_FILE).write_bytes(damaged)
    assert case.launches_measured(plan_case()) == []
    write_launch(case, 1)
    assert case.launches_measured(plan_case()) == [9.0, 9.0]
    assert (case.path / "measurement.2.jsonl").read_bytes() == second
    assert (case.path / "measurement.unfinished-1.jsonl").read_bytes() == damaged
    assert "line 1: not a line of JSON" in caplog.text
    assert "set aside as measurement.unfinished-1.jsonl" in caplog.text


def test_what_was_measured_is_there_after_a_loss_of_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that keeps nothing but the content and the names that were synced."""
    disk = tmp_path / "disk"
    disk.mkdir()
    recorder = Recorder(tmp_path / "journal", die_at=0, dies_before=False)
    monkeypatch.setattr(os, "fsync", recorder.record)
    run = RunFolder.open(disk / "results" / "run")
    run.write_document(make_document())
    case = write_case(run.path / "case")
    case.write_result(make_result((case.path / MEASUREMENT_FILE).stat().st_size))
    before = {path: path.read_bytes() for path in run.path.rglob("*.json*")}
    assert len(before) == 4
    lost = read_disk(disk, tmp_path / "journal", {})
    lost.restore(disk, tmp_path / "after", Random(0), is_strict=True)
    for path, content in before.items():
        assert (tmp_path / "after" / path.relative_to(disk)).read_bytes() == content
    run.close()
    recorder.close()


# --- the measurement ----------------------------------------------------------------------------


def test_a_record_is_on_the_file_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / MEASUREMENT_FILE
    records, seen = MeasurementFile(path), []
    for record in (make_header(plan_case()), Phase(at_seconds=1.0, name="build"), make_outcome()):
        records.append(record)
        seen.append(path.read_bytes().count(b"\n"))
    records.close()
    assert seen == [1, 2, 3]


def test_a_measurement_is_never_written_over(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    before = (case.path / MEASUREMENT_FILE).read_bytes()
    with pytest.raises(StorageFull, match="File exists"):
        case.open_measurement()
    assert (case.path / MEASUREMENT_FILE).read_bytes() == before


def test_what_was_written_is_read_back_the_same(tmp_path: Path) -> None:
    measurement = read_records(write_case(tmp_path / "case").path / MEASUREMENT_FILE)
    assert measurement.header.case_id == plan_case().case_id
    assert measurement.phases == [Phase(at_seconds=0.5, name="probe")]
    assert measurement.outcome == make_outcome()
    assert measurement.torn_line is None


def test_a_torn_last_line_is_tolerated_and_told(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case", None)
    with (case.path / MEASUREMENT_FILE).open("ab") as file:
        file.write(b'{"kind":"outcome","at_sec')
    measurement = read_records(case.path / MEASUREMENT_FILE)
    assert measurement.torn_line == '{"kind":"outcome","at_sec'
    assert measurement.outcome is None
    assert len(measurement.phases) == 1


def test_a_record_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / MEASUREMENT_FILE
    records = MeasurementFile(path)
    records.append(make_header(plan_case()))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        records.append(Finished(at_seconds=float("nan"), steps=1))
    records.append(make_outcome())
    records.close()
    assert path.read_bytes().startswith(before)
    assert path.read_bytes().count(b"\n") == 2


def test_closing_gives_the_descriptor_back(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    write_case(tmp_path / "case")
    RunFolder.open(tmp_path).close()
    assert psutil.Process().num_fds() == before


def test_a_folder_is_not_given_to_another_suite(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path)
    run.require_same_suite(["mine"])  # nothing is there yet
    run.write_document(make_document())
    run.require_same_suite(make_document().suites)
    with pytest.raises(ConfigError, match="holds a run of a suite, and this one is of other"):
        run.require_same_suite(["other"])
    run.close()
