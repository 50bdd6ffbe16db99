"""Results of cases on disk.

A result whose seal is whole and whose records are those that it was derived from is read. Any other
is derived again from its records, with a note. Without records, one with a broken seal is refused.
"""

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trnbench.errors import DataError, Problem
from trnbench.run import store
from trnbench.run.finding import find_cases
from trnbench.run.store import IMPORT_FILE, MEASUREMENT_FILE, PLAN_FILE, RESULT_FILE
from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

if TYPE_CHECKING:
    from trnbench.analysis.traces import Trace
    from trnbench.run.index import RunIndex

log = logging.getLogger(__name__)

AGAIN = ": its figures were derived again from its records"

SAME = 1e-6
"""Relative difference up to which two figures are one, rounded differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A case, derived from its records."""

    plan: Plan
    paths: list[Path]
    """Of the records, one file a launch."""
    measurements: list[Measurement]
    """One a launch."""
    launches: list[Result]
    """One a launch."""
    result: Result
    """All launches as one."""
    note: str | None
    """Why the stored result was not used, if there was one."""


def load_result(case: Path, run_id: str | None = None) -> Result:
    """Return a case's result; the folder above names the run where `run_id` does not.

    Raises:
        DataError: neither a result nor records that one could be derived from can be read, or a
            result without records was changed.
    """
    paths = store.measurement_paths(case)
    if not paths and (case / IMPORT_FILE).exists():
        return load_imported(case, run_id)
    if not paths and (case / RESULT_FILE).exists():
        return load_stored(case)
    whole = load_whole(case)
    if whole is not None:
        return whole
    derived = derive(case, run_id)
    if derived.note is not None:
        log.warning("%s: %s", case, derived.note)
    return derived.result


def load_whole(case: Path) -> Result | None:
    """Return a stored result that is as it was written and of the records beside it, or None."""
    stored, note = _stored_beside(case)
    if stored is None or note is not None:
        return None
    written = (case / RESULT_FILE).stat().st_mtime_ns
    paths = store.measurement_paths(case)
    if all(path.stat().st_mtime_ns <= written for path in paths):
        return stored
    # A copy's dates tell nothing.
    return stored if stored.measurement_sha256 == _sha256(paths) else None


def load_imported(case: Path, run_id: str | None = None) -> Result:
    """Return an imported result; one that is not as it was written is made again from its log."""
    try:
        stored = store.read_result(case)
    except DataError:
        stored = None
    if stored is not None and store.find_seal(case) == "whole":
        return stored
    from trnbench.run.importing import derive_import

    if (case / RESULT_FILE).exists():
        log.warning("%s: its %s is not as it was written%s", case, RESULT_FILE, AGAIN)
    return derive_import(case, run_id)


Places = dict[tuple[str, str], Path]
"""The folder of each case, by its run's name and its own."""

DEFAULT_RESULTS = Path("results")
"""What is read where no path is named."""


def load_results(
    paths: Sequence[Path] | None, problems: list[Problem], places: Places | None = None
) -> Iterator[Result]:
    """Yield every result that can be read; add to `problems` what is wrong with the others.

    `places` takes in each one's folder. Of a large run those whose files are as they were when they
    were last read come from its index.
    """
    from trnbench.run.index import RunIndex

    indexes: dict[Path, RunIndex] = {}
    for path in [DEFAULT_RESULTS] if paths is None else paths:
        try:
            for case in find_cases([path]):
                run = case.parent
                index = indexes.get(run) or indexes.setdefault(run, RunIndex(run))
                try:
                    result = load_indexed(case, index)
                    if places is not None:
                        places[result.run_id, result.case_id] = case
                    yield result
                except DataError as error:
                    problems.extend(error.problems)
        except DataError as error:
            problems.extend(error.problems)
    for index in indexes.values():
        index.keep()


def load_indexed(case: Path, index: "RunIndex") -> Result:
    """Return a case's result from its run's index; if it is not there, tell the index of it.

    Raises:
        DataError: as `load_result` does.
    """
    from trnbench.run.index import look

    if (known := index.find(case)) is not None:
        return known
    before = look(case)
    whole = load_whole(case)
    if whole is None:
        return load_result(case)
    if before is not None:
        index.add(case, before, whole)
    return whole


LONGEST_TRACED = 2**26
"""Bytes of records that are read for a figure of every step; more would take seconds."""


def find_trace(places: Places, result: Result) -> "Trace | None":
    """Return what was recorded of a result, step by step; None, with a warning, where it is not."""
    case = places.get((result.run_id, result.case_id))
    paths = [] if case is None else store.measurement_paths(case)
    if case is None or not paths:
        return None
    if paths[0].stat().st_size > LONGEST_TRACED:
        log.warning("%s: is too long for figures of its steps", paths[0])
        return None
    from trnbench.analysis.traces import trace_of

    try:
        return trace_of(store.read_plan(case), store.read_records(paths[0]))
    except DataError as error:
        log.warning("%s: no figure of its steps: %s", case, error)
        return None


def load_stored(case: Path) -> Result:
    """Return a result whose records were not kept; raise a `DataError` if it was changed."""
    path = case / RESULT_FILE
    try:
        result = store.read_result(case)
    except DataError:
        known = Result.model_fields["schema_version"].default
        version = store.format_of(path.read_bytes())
        if version is None or version <= known:
            raise
        raise DataError(
            f"{path}: has format {version}, this version reads {known}",
            hint="read it with the newer trnbench that wrote it",
        ) from None
    if result is None:
        raise DataError(
            f"{case}: holds neither {MEASUREMENT_FILE} nor {RESULT_FILE}",
            hint="name a folder that `trnbench run` finished",
        )
    if store.find_seal(case) == "broken":
        raise DataError(
            f"{path}: was changed since it was written, and its records are not beside it to "
            "derive it again",
            hint=f"put {PLAN_FILE} and {MEASUREMENT_FILE} back, or measure again",
        )
    return result


def derive(case: Path, run_id: str | None = None, *, for_comparison: bool = False) -> Derived:
    """Derive a case from its records, at the price of its stored result.

    For a comparison the measurements keep each step's loss; else memory does not grow with the
    number of steps.

    Raises:
        DataError: plan or records cannot be read; or, for a comparison, the plan is not the one
            that the records were made by.
    """
    from trnbench.analysis.analyze import analyze, recost  # numpy: stored results need none
    from trnbench.analysis.pooling import pool
    from trnbench.analysis.records import StepDigest
    from trnbench.analysis.statistics import RULES

    plan = store.read_plan(case)
    paths = store.measurement_paths(case) or [case / MEASUREMENT_FILE]
    measurements = [
        store.read_records(path, None if for_comparison else StepDigest()) for path in paths
    ]
    planned = store.plan_sha256(case)
    if for_comparison and any(each.header.plan_sha256 != planned for each in measurements):
        raise DataError(
            f"{case / PLAN_FILE}: is not the plan that its measurement was made by",
            hint="put the old plan.json back, or measure again",
        )
    launches = [
        analyze(
            plan,
            measurement,
            plan_sha256=planned,
            run_id=run_id or case.resolve().parent.name,
            measurement_bytes=path.stat().st_size,
            is_going_on=measurement.outcome is None and store.is_held(case.parent),
        )
        for path, measurement in zip(paths, measurements, strict=True)
    ]
    result = pool(plan, launches).model_copy(update={"measurement_sha256": _sha256(paths)})
    stored, note = _stored_beside(case)
    if stored is not None:
        if stored.timing.rules != RULES:
            note = f"its figures by {stored.timing.rules} were derived again by {RULES}"
        elif not _is_same(stored, result):
            note = f"its records are not those of its {RESULT_FILE}{AGAIN}"
        result = recost(result, stored.price, stored.price_reason)
        result = result.model_copy(update={"run_id": stored.run_id})
    return Derived(
        plan=plan,
        paths=paths,
        measurements=measurements,
        launches=launches,
        result=result,
        note=note,
    )


def _sha256(paths: Sequence[Path]) -> str:
    """Return the hash of records, one launch after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(2**20):
                digest.update(part)
    return digest.hexdigest()


def _stored_beside(case: Path) -> tuple[Result | None, str | None]:
    """Return a stored result that is as it was written, and why its figures do not hold now."""
    try:
        stored = store.read_result(case)
    except DataError:
        return None, f"its {RESULT_FILE} cannot be read{AGAIN}"
    if stored is None:
        return None, None
    if store.find_seal(case) != "whole":
        return None, f"its {RESULT_FILE} is not as it was written{AGAIN}"
    if stored.measurement_bytes != store.measurement_bytes(case):
        return stored, f"its records are not those of its {RESULT_FILE}{AGAIN}"
    return stored, None


def _is_same(stored: Result, derived: Result) -> bool:
    """Tell whether two results have one throughput, but for rounding."""
    then, now = (result.metrics["tokens_per_second"].value for result in (stored, derived))
    if then is None or now is None:
        return then is now
    return math.isclose(then, now, rel_tol=SAME)
