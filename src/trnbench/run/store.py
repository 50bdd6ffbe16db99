"""The only home of result files: what is written stays readable, whatever happens next.

    results/<run>/run.json                   the suite, the machine, how it ended
    results/<run>/<case>/plan.json           everything resolved, before the first step
                         measurement.jsonl   raw records, appended as they come
                         result.json         derived from the two, can be deleted

Whole files are written beside their place and renamed; records are appended, one write each. A
small reserve on the same disk makes room for a case's last record when the disk is full.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import pydantic

from trnbench.schema.errors import ConfigError, DataError, RunError
from trnbench.schema.measurement import Measurement, parse_measurement
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result
from trnbench.schema.run_document import RunDocument
from trnbench.wire import encode

RUN_FILE = "run.json"
PLAN_FILE = "plan.json"
MEASUREMENT_FILE = "measurement.jsonl"
RESULT_FILE = "result.json"
_LOCK_FILE = ".lock"
_RESERVE_FILE = ".reserve"
_RESERVE_BYTES = 256 * 1024

Model = TypeVar("Model", bound=pydantic.BaseModel)


class StorageFull(Exception):  # noqa: N818 - a state of the disk, which the session acts on
    """The disk did not take a record; the file ends with the last whole one."""


class RunFolder:
    """One run's folder, held by one process at a time."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make or reopen a run's folder and take it for this process.

        Raises:
            ConfigError: the folder cannot be made or written.
            RunError: another process is measuring into it.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be written: {error.strerror}",
                hint="name another folder with `-o`",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink == 0:
                raise BlockingIOError("its holder has just removed it: a new one may be held")
        except OSError as error:
            os.close(lock)
            raise RunError(
                f"{path}: another trnbench is measuring into this folder",
                hint="wait for it, or name another folder with `-o`",
            ) from error
        try:
            with (path / _RESERVE_FILE).open("wb") as reserve:
                reserve.write(b"\0" * _RESERVE_BYTES)
        except OSError as error:
            os.close(lock)
            raise RunError(
                f"{path}: has no room to begin: {error.strerror}",
                hint="free some disk, or name a folder on another one with `-o`",
            ) from error
        return cls(path, lock)

    def close(self) -> None:
        """Give the folder back."""
        (self.path / _RESERVE_FILE).unlink(missing_ok=True)
        (self.path / _LOCK_FILE).unlink(missing_ok=True)
        os.close(self._lock)

    def release_reserve(self) -> None:
        """Give the disk the little room that was kept for this moment."""
        (self.path / _RESERVE_FILE).unlink(missing_ok=True)

    def case(self, case_id: str) -> "CaseFolder":
        """Return a case's folder."""
        return CaseFolder(self.path / case_id)

    def write_document(self, document: RunDocument) -> None:
        """Write run.json."""
        write_whole(self.path / RUN_FILE, document.model_dump_json(indent=1))


class CaseFolder:
    """One case's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def plan_path(self) -> Path:
        """Where the worker finds its order."""
        return self.path / PLAN_FILE

    def is_measured(self) -> bool:
        """Tell whether this case was already measured to its end."""
        try:
            measurement = read_measurement(self.path)
        except DataError:
            return False
        return measurement.outcome is not None and measurement.outcome.status == "finished"

    def begin(self, plan: Plan) -> str:
        """Write the plan, set an unfinished measurement aside, and return the plan's hash."""
        with _full_disk_told():
            self.path.mkdir(parents=True, exist_ok=True)
        (self.path / RESULT_FILE).unlink(missing_ok=True)  # first: it must not outlive its records
        earlier = self.path / MEASUREMENT_FILE
        if earlier.exists():
            number = 1
            while (aside := self.path / f"measurement.unfinished-{number}.jsonl").exists():
                number += 1
            earlier.rename(aside)
        text = plan.model_dump_json(indent=1)
        write_whole(self.plan_path, text)
        return hashlib.sha256(text.encode()).hexdigest()

    def open_measurement(self) -> "MeasurementFile":
        """Create the measurement file."""
        return MeasurementFile(self.path / MEASUREMENT_FILE)

    def write_result(self, result: Result) -> None:
        """Write result.json."""
        write_whole(self.path / RESULT_FILE, result.model_dump_json(indent=1))


class MeasurementFile:
    """An append-only file of records; each is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        with _full_disk_told():
            self._descriptor = os.open(path, flags, 0o644)
        self._length = 0

    def append(self, record: Any) -> None:
        """Write one record as one line.

        Raises:
            StorageFull: the disk is full or failing; nothing of the record was kept.
        """
        line = encode(record).encode() + b"\n"
        written = 0
        try:
            with _full_disk_told():
                while written < len(line):  # a short write is followed by the error that says why
                    written += os.write(self._descriptor, line[written:])
        except StorageFull:
            os.ftruncate(self._descriptor, self._length)
            raise
        self._length += written

    def sync(self) -> None:
        """Wait until the disk has it: what is here survives a loss of power."""
        with contextlib.suppress(OSError):  # a full disk is told by append, not here
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        self.sync()
        os.close(self._descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new, never a part.

    Raises:
        StorageFull: the disk is full; the old file stands.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with _full_disk_told():
            with beside.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    """Turn the ways in which a disk refuses to take more into `StorageFull`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            raise
        raise StorageFull(os.strerror(error.errno)) from error


# --- reading ------------------------------------------------------------------------------------


def find_cases(paths: list[Path]) -> Iterator[Path]:
    """Return every case folder at or below the paths given, in order of name.

    Raises:
        DataError: a path does not exist, or holds no result.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such folder", hint="name a folder of `trnbench run`")
        folder = path if path.is_dir() else path.parent
        is_case = any((folder / name).exists() for name in (PLAN_FILE, RESULT_FILE))
        cases = [folder] if is_case else sorted(_below(folder))
        if not cases:
            raise DataError(
                f"{path}: holds no result", hint="name a folder that `trnbench run` wrote"
            )
        yield from cases


def _below(folder: Path) -> set[Path]:
    """Look two levels down: a run's cases, or the cases of a folder of runs."""
    names = (PLAN_FILE, RESULT_FILE)
    patterns = [f"{level}{name}" for level in ("*/", "*/*/") for name in names]
    return {path.parent for pattern in patterns for path in folder.glob(pattern)}


def read_measurement(case: Path) -> Measurement:
    """Read a case's raw records.

    Raises:
        DataError: there are none, or they are damaged.
    """
    path = case / MEASUREMENT_FILE
    try:
        with path.open("rb") as lines:
            return parse_measurement(lines, str(path))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}", hint="was this case ever started?"
        ) from error


def read_plan(case: Path) -> Plan:
    """Read a case's plan.

    Raises:
        DataError: there is none, it is damaged, or a newer version wrote it.
    """
    return _read_model(case / PLAN_FILE, Plan)


def read_plan_text(case: Path) -> bytes:
    """Read a plan as it was written, for its hash."""
    return (case / PLAN_FILE).read_bytes()


def read_result(case: Path) -> Result | None:
    """Read a case's result if it is up to date with its measurement, else return None.

    Raises:
        DataError: it is there and damaged.
    """
    path = case / RESULT_FILE
    if not path.exists():
        return None
    result = _read_model(path, Result)
    with contextlib.suppress(OSError):
        if (case / MEASUREMENT_FILE).stat().st_size != result.measurement_bytes:
            return None
    return result


def measurement_bytes(case: Path) -> int:
    """Return the length of a case's measurement, 0 if there is none."""
    path = case / MEASUREMENT_FILE
    return path.stat().st_size if path.exists() else 0


def _read_model(path: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(
            f"{path}: {key}: {first['msg']}",
            hint="the file is damaged, or a newer trnbench wrote it",
        ) from error
