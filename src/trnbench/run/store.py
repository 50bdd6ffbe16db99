"""The only home of result files: what is written stays readable, whatever happens next.

    results/<run>/run.json                   the suite, the machine, how it ended
    results/<run>/<case>/plan.json             everything resolved, before the first step
                         measurement.jsonl     raw records, appended as they come
                         measurement.2.jsonl   the same of a second launch, and so on
                         result.json           derived from these, can be deleted

Whole files are written beside their place and renamed; records are appended, one write each. A
small reserve on the same disk makes room for a case's last record when the disk is full.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, TypeVar

import pydantic

from trnbench.errors import ConfigError, DataError, RunError
from trnbench.protocol.codec import encode
from trnbench.schema.measurement import Measurement, StepTaker, parse_measurement
from trnbench.schema.older import UPGRADES
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result, RunDocument

RUN_FILE = "run.json"
PLAN_FILE = "plan.json"
MEASUREMENT_FILE = "measurement.jsonl"
RESULT_FILE = "result.json"
IMPORT_FILE = "import.json"
_LOCK_FILE = ".lock"
_RESERVE_FILE = ".reserve"
_RESERVE_BYTES = 256 * 1024

_LATER_LAUNCH = re.compile(r"measurement\.([2-9]|[1-9]\d+)\.jsonl", re.ASCII)

_NO_SEAL = "0" * 64
_SEAL = re.compile(rb'"seal":\s*"([0-9a-f]{64})"')

Seal = Literal["whole", "broken", "none"]
"""Of a stored result: as it was written, changed since, or written by a version without seals."""

Model = TypeVar("Model", bound=pydantic.BaseModel)


class StorageFull(Exception):  # noqa: N818 - a state of the disk, which the session acts on
    """The disk is full or failing; a file of records ends with the last whole one."""


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
        """Free the reserve, so that the last records fit."""
        (self.path / _RESERVE_FILE).unlink(missing_ok=True)

    def case(self, case_id: str) -> "CaseFolder":
        """Return a case's folder."""
        return CaseFolder(self.path / case_id)

    def write_document(self, document: RunDocument) -> None:
        """Write run.json."""
        write_whole(self.path / RUN_FILE, document.model_dump_json(indent=1))

    def require_same_suite(self, suites: list[str]) -> None:
        """Refuse a folder that holds the run of another suite, whose run.json would be lost.

        Raises:
            ConfigError: it does.
        """
        try:
            earlier = read_model(self.path / RUN_FILE, RunDocument).suites
        except DataError:
            return  # none, or none that anybody could still read
        if set(earlier).isdisjoint(suites):
            raise ConfigError(
                f"{self.path}: holds a run of {', '.join(earlier)}, and this one is of "
                f"{', '.join(suites)}",
                hint="name another folder with `-o`",
            )


def is_held(run: Path) -> bool:
    """Tell whether a process measures into a run's folder now, as far as Linux says it.

    The lock is not tried: a run that begins at this moment would find it taken.
    """
    try:
        inode = (run / _LOCK_FILE).stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(" FLOCK " in line and f":{inode} " in line for line in locks)


class CaseFolder:
    """One case's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_path = path / PLAN_FILE

    def launches_measured(self) -> list[float]:
        """Return the seconds of the launches that finished, up to the first that did not."""
        seconds: list[float] = []
        while True:
            try:
                measurement = read_records(self.path / measurement_name(len(seconds) + 1))
            except DataError:
                return seconds
            if measurement.outcome is None or measurement.outcome.status != "finished":
                return seconds
            seconds.append(measurement.outcome.at_seconds)

    def begin(self, plan: Plan, launch: int = 1) -> str:
        """Make room for a launch, and return the hash of the plan, which the first one writes.

        The result is deleted, which must not outlive its records. Unfinished records are set aside:
        those of the launch, and where it is the first, all.
        """
        with _full_disk_raised():
            self.path.mkdir(parents=True, exist_ok=True)
        (self.path / RESULT_FILE).unlink(missing_ok=True)
        for path in measurement_paths(self.path):
            if launch > 1 and path.name != measurement_name(launch):
                continue
            number = 1
            while (aside := self.path / f"measurement.unfinished-{number}.jsonl").exists():
                number += 1
            path.rename(aside)
        if launch == 1:
            write_whole(self.plan_path, plan.model_dump_json(indent=1))
        return plan_sha256(self.path)

    def open_measurement(self, launch: int = 1) -> "MeasurementFile":
        """Create the measurement file of a launch."""
        return MeasurementFile(self.path / measurement_name(launch))

    def write_result(self, result: Result) -> None:
        """Write result.json, sealed with the hash of its own text."""
        text = result.model_copy(update={"seal": _NO_SEAL}).model_dump_json(indent=1)
        digest = hashlib.sha256(text.encode()).hexdigest()
        write_whole(self.path / RESULT_FILE, text.replace(_NO_SEAL, digest))


class MeasurementFile:
    """An append-only file of records; each is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        with _full_disk_raised():
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
            with _full_disk_raised():
                while written < len(line):  # a short write is followed by the error that says why
                    written += os.write(self._descriptor, line[written:])
        except StorageFull:
            os.ftruncate(self._descriptor, self._length)
            raise
        self._length += written

    def sync(self) -> None:
        """Wait until the disk has it: then it survives a loss of power."""
        with contextlib.suppress(OSError):  # `append` raises on a full disk
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Sync and close the file."""
        self.sync()
        os.close(self._descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new, never a part.

    Raises:
        StorageFull: the disk is full; the old file is kept.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with _full_disk_raised():
            with beside.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def _full_disk_raised() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            raise
        raise StorageFull(os.strerror(error.errno)) from error


# --- reading ------------------------------------------------------------------------------------
# What is missing, damaged, or written by a newer version raises a DataError.


def measurement_name(launch: int) -> str:
    """Return the name of the file of a launch's records; launches count from 1."""
    return MEASUREMENT_FILE if launch == 1 else f"measurement.{launch}.jsonl"


def is_result_file(name: str) -> bool:
    """Tell whether a file of this name belongs to a case's results."""
    return name in (PLAN_FILE, MEASUREMENT_FILE, RESULT_FILE, IMPORT_FILE) or bool(
        _LATER_LAUNCH.fullmatch(name)
    )


def measurement_paths(case: Path) -> list[Path]:
    """Return the files with a case's records, one a launch, in the order of launches."""
    numbers = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(case):  # noqa: PTH208 - a thousand cases are listed
            if name == MEASUREMENT_FILE:
                numbers.append(1)
            elif found := _LATER_LAUNCH.fullmatch(name):
                numbers.append(int(found[1]))
    return [case / measurement_name(number) for number in sorted(numbers)]


def read_records(path: Path, steps: StepTaker | None = None) -> Measurement:
    """Read the raw records of a launch; each block keeps its steps unless `steps` takes them in."""
    try:
        with _open(path) as lines:
            return parse_measurement(lines, str(path), steps)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}", hint="was this case ever started?"
        ) from error


def read_run(run: Path) -> RunDocument | None:
    """Read what a run says of itself; None if it says nothing."""
    path = run / RUN_FILE
    return read_model(path, RunDocument) if path.exists() else None


def read_plan(case: Path) -> Plan:
    """Read a case's plan."""
    return read_model(case / PLAN_FILE, Plan)


def plan_sha256(case: Path) -> str:
    """Return the hash of a plan's file."""
    return hashlib.sha256((case / PLAN_FILE).read_bytes()).hexdigest()


def read_result(case: Path) -> Result | None:
    """Read a case's result; None if there is none."""
    path = case / RESULT_FILE
    if not path.exists():
        return None
    result = read_model(path, Result)
    return result.model_copy(update={"seal": None})


def find_seal(case: Path) -> Seal:
    """Tell whether a stored result is as it was written; only format 1 may have no seal."""
    text = (case / RESULT_FILE).read_bytes()
    seals = _SEAL.findall(text)
    if not seals:
        return "none" if format_of(text) == 1 else "broken"
    unsealed = text.replace(seals[-1], _NO_SEAL.encode())
    return "whole" if hashlib.sha256(unsealed).hexdigest().encode() == seals[-1] else "broken"


def measurement_bytes(case: Path) -> int:
    """Return the length of a case's records; 0 if there are none."""
    return sum(path.stat().st_size for path in measurement_paths(case))


def _open(path: Path) -> BinaryIO:
    """Open a regular file; a pipe would be waited for without an end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path}: is not a file", hint="take it out of the folder of results")
    return path.open("rb")


def read_model(path: Path, model: type[Model]) -> Model:
    """Read a JSON file as a model; a `DataError` if it cannot be read."""
    try:
        with _open(path) as file:
            text = file.read()
        with contextlib.suppress(pydantic.ValidationError):
            return model.model_validate_json(text)
        return model.model_validate_json(_upgraded(text, model))
    except OSError as error:
        is_gone = isinstance(error, FileNotFoundError)
        raise DataError(
            f"{path}: cannot be read: {error.strerror}",
            hint="put it back: a case's records cannot be read without it"
            if is_gone
            else "check its permissions",
        ) from error
    except pydantic.ValidationError as error:
        raise DataError(
            f"{path}: {first_fault(error)}",
            hint="the file is damaged, or a newer trnbench wrote it",
        ) from error


def first_fault(error: pydantic.ValidationError) -> str:
    """Say where a file first departs from its model, and how."""
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"


def format_of(text: bytes) -> int | None:
    """Return the `schema_version` of a file; None where it has none."""
    try:
        version = json.loads(text)["schema_version"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return version if isinstance(version, int) else None


def _upgraded(text: bytes, model: type[Model]) -> bytes:
    """Return a file of an older format as it is written today; any other as it is."""
    upgrade, newest = UPGRADES.get(model.__name__), model.model_fields["schema_version"].default
    if upgrade is None or (format_of(text) or newest) >= newest:
        return text
    try:
        return json.dumps(upgrade(json.loads(text))).encode()
    except (LookupError, TypeError, AttributeError):
        return text  # damaged: reading it says how
