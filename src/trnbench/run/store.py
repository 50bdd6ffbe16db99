"""The only home of result files: what is written stays readable, whatever happens next.

    results/<run>/run.json                   the suite, the machine, how it ended
    results/<run>/<case>/plan.json             everything resolved, before the first step
                         measurement.jsonl     raw records, appended as they come
                         measurement.2.jsonl   the same of a second launch, and so on
                         result.json           derived from these, can be deleted

Whole files are written beside their place and renamed; records are appended, one write each. What
is reported as measured survives a loss of power: files and the folders that name them are synced. A
small reserve on the same disk makes room for a case's last record when the disk is full.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Literal, Self, TypeVar

import pydantic

from trnbench.errors import ConfigError, DataError, RunError
from trnbench.run.disk import MeasurementFile, full_disk_raised, make_folder, write_whole
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

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=pydantic.BaseModel)


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
            make_folder(path)
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
        """Give the folder back, whatever became of it."""
        self.release_reserve()
        with contextlib.suppress(OSError):
            (self.path / _LOCK_FILE).unlink(missing_ok=True)
        os.close(self._lock)

    def release_reserve(self) -> None:
        """Free the reserve, so that the last records fit."""
        with contextlib.suppress(OSError):  # read-only, or a folder that was taken away
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

    def launches_measured(self, plan: Plan) -> list[float]:
        """Return the seconds of the launches that finished, up to the first that did not.

        They need the plan that their records name. Where its file was damaged or lost, it is
        written again if `plan` is the same; else they count only as long as their result is whole.
        """
        seconds: list[float] = []
        while True:
            try:
                measurement = read_records(self.path / measurement_name(len(seconds) + 1))
            except DataError:
                return seconds
            if not _is_finished(measurement) or not self._has_plan_of(measurement, plan):
                return seconds
            seconds.append(measurement.outcome.at_seconds if measurement.outcome else 0.0)

    def has_plan(self, plan: Plan) -> bool:
        """Tell whether this very plan is written there."""
        try:
            return plan_sha256(self.path) == _sha256(_text_of(plan))
        except OSError:
            return False

    def _has_plan_of(self, measurement: Measurement, plan: Plan) -> bool:
        """Tell whether the plan of some records is there; put it back if it is the one given."""
        named = measurement.header.plan_sha256
        with contextlib.suppress(OSError):
            if plan_sha256(self.path) == named:
                return True
        if _sha256(_text_of(plan)) == named:
            log.warning("%s: was damaged or lost; it is written again", self.plan_path)
            write_whole(self.plan_path, _text_of(plan))
            return True
        try:
            result = read_result(self.path)
        except DataError:
            return False
        is_of_these = result and result.measurement_bytes == measurement_bytes(self.path)
        return bool(is_of_these) and find_seal(self.path) == "whole"

    def begin(self, plan: Plan, launch: int = 1) -> str:
        """Make room for a launch, and return the hash of the plan, which the first one writes.

        The result is deleted, which must not outlive its records. Records of the launch are set
        aside, and where it is the first, those of others that are unfinished or of another plan.

        Raises:
            StorageFull: the folder cannot be written.
        """
        text = _text_of(plan)
        with full_disk_raised():
            make_folder(self.path)
            (self.path / RESULT_FILE).unlink(missing_ok=True)
            for path in measurement_paths(self.path):
                is_own = path.name == measurement_name(launch)
                if is_own or (launch == 1 and not _is_finished_by(path, _sha256(text))):
                    self._set_aside(path)
        if launch == 1:
            write_whole(self.plan_path, text)
            return _sha256(text)
        return plan_sha256(self.path)

    def _set_aside(self, path: Path) -> None:
        number = 1
        while (aside := self.path / f"measurement.unfinished-{number}.jsonl").exists():
            number += 1
        try:
            if _is_finished(read_records(path)):
                log.warning("%s: is of another plan; set aside as %s", path, aside.name)
        except DataError as error:
            log.warning("%s; set aside as %s", error, aside.name)
        path.rename(aside)

    def open_measurement(self, launch: int = 1) -> MeasurementFile:
        """Create the measurement file of a launch."""
        return MeasurementFile(self.path / measurement_name(launch))

    def write_result(self, result: Result) -> None:
        """Write result.json, sealed with the hash of its own text."""
        text = result.model_copy(update={"seal": _NO_SEAL}).model_dump_json(indent=1)
        digest = hashlib.sha256(text.encode()).hexdigest()
        write_whole(self.path / RESULT_FILE, text.replace(_NO_SEAL, digest))


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


def _text_of(plan: Plan) -> str:
    return plan.model_dump_json(indent=1)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_finished(measurement: Measurement) -> bool:
    return measurement.outcome is not None and measurement.outcome.status == "finished"


def _is_finished_by(path: Path, plan: str) -> bool:
    """Tell whether records are of a finished launch by the plan of this hash."""
    try:
        measurement = read_records(path)
    except DataError:
        return False
    return _is_finished(measurement) and measurement.header.plan_sha256 == plan


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
