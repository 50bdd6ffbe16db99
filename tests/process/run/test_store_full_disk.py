"""A disk that takes no more: what is there stays whole, and there is room for a last word."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pure.run.plans import plan_case
from tests.pure.run.records import make_header, make_outcome
from trnbench.errors import ConfigError, RunError
from trnbench.protocol.records import Phase
from trnbench.run.disk import MeasurementFile, StorageFull, write_whole
from trnbench.run.store import MEASUREMENT_FILE, PLAN_FILE, RunFolder, read_records

# A limit on the size of a file refuses a write as a full disk does, for any user.
FILLS = """
import resource, sys
from pathlib import Path
from trnbench.run.disk import MeasurementFile, StorageFull, write_whole
from trnbench.protocol.records import Phase

folder = Path(sys.argv[1])
write_whole(folder / "plan.json", "the old plan")
records = MeasurementFile(folder / "measurement.jsonl")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
appended = 0
try:
    while True:
        records.append(Phase(at_seconds=0.123456789, name="train"))
        appended += 1
except StorageFull as full:
    print("append:", full, appended)
try:
    write_whole(folder / "plan.json", "x" * 2000)
except StorageFull as full:
    print("whole:", full)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
records.append(Phase(at_seconds=1.0, name="teardown"))
records.close()
"""


def test_a_write_that_is_cut_short_is_taken_back_and_told(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FILLS, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    line = b'{"kind":"phase","at_seconds":0.123456789,"name":"train"}\n'
    fitting = 1000 // len(line)
    assert ended.stdout == f"append: File too large {fitting}\nwhole: File too large\n"
    last = b'{"kind":"phase","at_seconds":1.0,"name":"teardown"}\n'
    # The part of a line that still fitted is gone, so the last word is a line of its own.
    assert (tmp_path / MEASUREMENT_FILE).read_bytes() == line * fitting + last
    assert (tmp_path / PLAN_FILE).read_text(encoding="utf-8") == "the old plan"
    assert {path.name for path in tmp_path.iterdir()} == {MEASUREMENT_FILE, PLAN_FILE}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    options = [*("-t", "tmpfs"), *("-o", "size=1m")]
    mounted = subprocess.run([mount, *options, "tmpfs", str(disk)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this system lets nobody mount a small disk: {mounted.stderr.strip()}")
    yield disk
    # Lazily: a test that failed may still hold a file open.
    subprocess.run([unmount, "-l", str(disk)], check=True)


def fill(disk: Path) -> None:
    """Fill a disk to its last byte."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"\0" * 4096)
        except OSError:
            return


def append_until_full(records: MeasurementFile) -> int:
    """Append until the disk refuses; the file's last page still has room for some."""
    appended = 0
    try:
        while True:
            records.append(Phase(at_seconds=1.0, name="train"))
            appended += 1
    except StorageFull:
        return appended


def test_a_full_disk_takes_no_record_and_the_reserve_makes_room_for_the_outcome(
    small_disk: Path,
) -> None:
    folder, plan = RunFolder.open(small_disk / "run"), plan_case()
    case = folder.case(plan.case_id)
    case.begin(plan)
    records = case.open_measurement()
    records.append(make_header(plan))
    fill(small_disk)
    appended = append_until_full(records)
    with pytest.raises(StorageFull, match="No space left"):
        write_whole(case.path / "result.json", "x" * 8192)
    folder.release_reserve()
    records.append(make_outcome("disk_full"))
    write_whole(case.path / "result.json", "x" * 8192)
    records.close()
    measurement = read_records(case.path / MEASUREMENT_FILE)
    assert measurement.outcome == make_outcome("disk_full")
    assert len(measurement.phases) == appended
    assert measurement.torn_line is None
    folder.close()


def test_on_a_full_disk_nothing_is_begun_and_the_earlier_plan_stands(small_disk: Path) -> None:
    folder, plan = RunFolder.open(small_disk / "run"), plan_case()
    case = folder.case("case")
    case.begin(plan)
    before = case.plan_path.read_bytes()
    fill(small_disk)
    with pytest.raises(StorageFull):
        case.begin(plan_case({"workload.seed": "1"}))
    with pytest.raises(StorageFull):
        folder.case("another").begin(plan)
    assert case.plan_path.read_bytes() == before
    folder.close()


def test_a_run_without_room_for_its_reserve_is_refused_and_the_lock_let_go(
    small_disk: Path,
) -> None:
    fill(small_disk)
    for _ in range(2):
        with pytest.raises((RunError, ConfigError), match=r"no room|No space") as refused:
            RunFolder.open(small_disk)
        assert "-o" in refused.value.problems[0].hint
    (small_disk / "ballast").unlink()
    RunFolder.open(small_disk).close()


def test_a_folder_that_was_taken_away_takes_no_more(tmp_path: Path) -> None:
    """A run ends by it as by a full disk: with what was written before, and a sentence."""
    with pytest.raises(StorageFull, match="No such file"):
        write_whole(tmp_path / "none" / "plan.json", "text")
    with pytest.raises(StorageFull, match="No such file"):
        MeasurementFile(tmp_path / "none" / MEASUREMENT_FILE)
    folder, plan = RunFolder.open(tmp_path / "run"), plan_case()
    case = folder.case("case")
    case.begin(plan)
    records = case.open_measurement()
    records.sync()
    shutil.rmtree(tmp_path / "run")
    records.append(make_header(plan))
    with pytest.raises(StorageFull, match="were deleted while they were written"):
        records.sync()
    records.close()
    folder.close()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.EACCES, errno.ESTALE])
def test_whatever_the_system_refuses_by_ends_the_records_with_a_whole_one(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    records = MeasurementFile(tmp_path / MEASUREMENT_FILE)
    with monkeypatch.context() as refusing:
        refusing.setattr(os, "write", refuse)
        refusing.setattr(os, "ftruncate", refuse)
        with pytest.raises(StorageFull, match=re.escape(os.strerror(number))):
            records.append(Phase(at_seconds=1.0, name="train"))
        refusing.setattr(os, "fsync", refuse)
        with pytest.raises(StorageFull):
            records.sync()
        records.close()
