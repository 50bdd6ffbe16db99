"""The results of a large run in one derived file, so that thousands are read within a second.

It lies in the user's folder of caches and can be deleted: reading makes it again. A case is taken
from it only where its folder and each of its files still have the inode, the length and the time of
change that they had when its result was read and found whole; any other is read as ever. Equal
parts of results are there once, and are one object when they are read.
"""

import contextlib
import functools
import gc
import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from trnbench import __version__
from trnbench.run.environment import user_cache_folder
from trnbench.run.store import is_result_file
from trnbench.schema.base import Strict
from trnbench.schema.result import CheckOutcome, MetricValue, Result

log = logging.getLogger(__name__)

FEW_CASES = 200
"""A run of fewer is read at once as it is."""

MOST_STALE = 0.02
"""Part of a run's cases that may be read from their own files before the index is made again."""

SETTLED_SECONDS = 2.0
"""A file that changed later than this before it was read is not taken in: its next change could
bear the same time."""

MOST_INDEXES = 32
"""That are kept, the newest."""

Signature = tuple[int, ...]
"""Of a case: inode and time of change of its folder, and the same with the length of each file."""

PARTED = ("metrics", "checks")
"""Fields of a result whose entries are shared, and not the whole field."""


@functools.cache
def _index_model() -> type[pydantic.BaseModel]:
    """Return what the file holds: each different value of every field, and who has which."""
    fields: dict[str, Any] = {
        name: (list[info.annotation], ...)  # type: ignore[name-defined]
        for name, info in Result.model_fields.items()
        if name not in PARTED
    }
    values = pydantic.create_model("Values", __base__=Strict, **fields)
    return pydantic.create_model(
        "Index",
        __base__=Strict,
        trnbench_version=(str, ...),
        cases=(dict[str, tuple[list[str], list[int]]], ...),
        values=(values, ...),
        at=(dict[str, list[int]], ...),
        metrics=(dict[str, list[MetricValue]], ...),
        metrics_at=(dict[str, list[int | None]], ...),
        checks=(list[CheckOutcome], ...),
        checks_at=(list[list[int]], ...),
    )


class _Entry(NamedTuple):
    """A case of an index."""

    files: Sequence[str]
    signature: Signature
    result: Result


class RunIndex:
    """The index of one run's folder, and what was read since."""

    def __init__(self, run: Path) -> None:
        """Read it, if there is one."""
        place = hashlib.sha256(os.fsencode(os.path.realpath(run))).hexdigest()[:32]
        self._path = user_cache_folder() / "trnbench" / "results" / f"{place}.json"
        self._entries = _read(self._path)
        self._taken: dict[str, _Entry] = {}
        self._missed = 0

    def find(self, case: Path) -> Result | None:
        """Return a case's result, unless one of its files has changed since."""
        entry = self._entries.get(case.name)
        if entry is None or _signature(str(case), entry.files) != entry.signature:
            self._missed += 1
            return None
        self._taken[case.name] = entry
        return entry.result

    def add(self, case: Path, before: tuple[Sequence[str], Signature], result: Result) -> None:
        """Take in a result that was found whole, and what `look` returned before it was read."""
        files, signature = before
        self._taken[case.name] = _Entry(files, signature, result)

    def keep(self) -> None:
        """Write the index, where the run is large and enough was not in it."""
        if len(self._taken) <= FEW_CASES or self._missed <= MOST_STALE * len(self._taken):
            return
        beside = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(_packed(self._taken), encoding="utf-8")
            beside.replace(self._path)
            indexes = sorted(
                self._path.parent.glob("*.json"), key=lambda path: path.stat().st_mtime
            )
            for old in indexes[:-MOST_INDEXES]:
                old.unlink(missing_ok=True)
        except OSError as error:  # a cache that cannot be written costs time, and nothing else
            log.debug("%s: not written: %s", self._path, error)
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)


def look(case: Path) -> tuple[Sequence[str], Signature] | None:
    """Return the files of a case and its signature; None where one has changed just now."""
    try:
        files = sorted(filter(is_result_file, os.listdir(case)))  # noqa: PTH208 - of thousands
    except OSError:
        return None
    signature = _signature(str(case), files)
    if signature is None or time.time() - max(signature[1::3]) / 1e9 < SETTLED_SECONDS:
        return None
    return files, signature


def _signature(case: str, files: Sequence[str]) -> Signature | None:
    """Return inode, time of change and length of a case's folder and of its files."""
    found: list[int] = []
    try:
        for path in (case, *(f"{case}/{name}" for name in files)):
            status = os.stat(path)  # noqa: PTH116 - thirty thousand in a report of ten thousand
            found += (status.st_ino, status.st_ctime_ns, status.st_size)
    except OSError:
        return None
    return tuple(found)


# --- the file -------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, _Entry]:
    """Return the cases of an index; none where it is not there, damaged, or of another version."""
    was_collecting = gc.isenabled()
    gc.disable()  # thousands of objects are made, and none of them is garbage
    try:
        text = path.read_bytes()
        index: Any = _index_model().model_validate_json(text)
        if index.trnbench_version != __version__:
            return {}
        results = _results_of(index)
        return {
            name: _Entry(files, tuple(signature), result)
            for (name, (files, signature)), result in zip(index.cases.items(), results, strict=True)
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError) as error:
        log.debug("%s: not used: %s", path, error)
        return {}
    finally:
        if was_collecting:
            gc.enable()


def _results_of(index: Any) -> list[Result]:
    names = list(index.at)
    columns = [[getattr(index.values, name)[at] for at in index.at[name]] for name in names]
    metric_names = list(index.metrics)
    metrics = [
        [None if at is None else index.metrics[name][at] for at in index.metrics_at[name]]
        for name in metric_names
    ]
    results = []
    for row, own_metrics, own_checks in zip(
        zip(*columns, strict=True), zip(*metrics, strict=True), index.checks_at, strict=True
    ):
        fields = dict(zip(names, row, strict=True))
        figures = zip(metric_names, own_metrics, strict=True)
        fields["metrics"] = {name: each for name, each in figures if each is not None}
        fields["checks"] = tuple([index.checks[at] for at in own_checks])
        results.append(Result.model_validate(fields))
    return results


class _Pool:
    """Different JSON texts, and the place of each."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place_of(self, value: Any) -> int:
        """Return the place of a value, which is added if it is new."""
        return self._places.setdefault(json.dumps(value), len(self._places))

    def __str__(self) -> str:
        return f"[{','.join(self._places)}]"


def _packed(entries: dict[str, _Entry]) -> str:
    """Return an index as JSON."""
    fields = {name: _Pool() for name in Result.model_fields if name not in PARTED}
    at: dict[str, list[int]] = {name: [] for name in fields}
    metrics: dict[str, _Pool] = {}
    metrics_at: dict[str, list[int | None]] = {}
    checks, checks_at = _Pool(), []
    for number, entry in enumerate(entries.values()):
        written = entry.result.model_dump(mode="json")
        for name, pool in fields.items():
            at[name].append(pool.place_of(written[name]))
        for name, metric in written["metrics"].items():
            places = metrics_at.setdefault(name, [])
            places += [None] * (number - len(places))
            places.append(metrics.setdefault(name, _Pool()).place_of(metric))
        checks_at.append([checks.place_of(check) for check in written["checks"]])
    for places in metrics_at.values():
        places += [None] * (len(entries) - len(places))
    parts = {
        "trnbench_version": json.dumps(__version__),
        "cases": json.dumps({name: (e.files, e.signature) for name, e in entries.items()}),
        "values": _object(fields),
        "at": json.dumps(at),
        "metrics": _object(metrics),
        "metrics_at": json.dumps(metrics_at),
        "checks": checks,
        "checks_at": json.dumps(checks_at),
    }
    return _object(parts)


def _object(parts: dict[str, Any]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{part}" for name, part in parts.items()) + "}"
