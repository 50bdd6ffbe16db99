"""Results of cases on disk: read if they are what was written, else derived from the records.

A stored result that was changed since it was written, or whose records were, is held against what
the records give: where the figures differ, nobody knows which of the two is true.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from trnbench.run.store import (
    MEASUREMENT_FILE,
    PLAN_FILE,
    RESULT_FILE,
    Seal,
    find_seal,
    is_newer_than_result,
    measurement_paths,
    read_plan,
    read_plan_text,
    read_records,
    read_result,
    read_stored_result,
)
from trnbench.schema.errors import DataError
from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan
from trnbench.schema.result import MetricValue, Result

SAME = 1e-6
"""Relative difference up to which a stored figure is the derived one, rounded differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A case, derived from its records now."""

    plan: Plan
    paths: list[Path]
    """Of the records, one file a launch."""
    measurements: list[Measurement]
    launches: list[Result]
    """One for each of them."""
    result: Result
    """All of them as one."""
    note: str | None
    """What a reader must know of how it was read."""


def load_result(case: Path, run_id: str | None = None) -> Result:
    """Return a case's result.

    Args:
        case: the case's folder.
        run_id: the run that it belongs to; by default the name of the folder above.

    Raises:
        DataError: neither a result nor records that one could be derived from can be read, or the
            stored figures are not what the records give.
    """
    paths = measurement_paths(case)
    try:
        stored = read_result(case)
        seal = find_seal(case)
    except DataError:
        if not paths:
            raise
        stored = None  # derived data: the records are what counts
    if stored is not None:
        if not paths:
            return _unbroken(stored, seal, case)
        if seal == "whole" and not is_newer_than_result(paths, case):
            return stored
    return derive(case, run_id).result


def load_stored(case: Path) -> Result:
    """Return a result of which nothing but itself was kept.

    Raises:
        DataError: it is not there, cannot be read, is of a newer format, or was changed.
    """
    try:
        result = read_result(case)
    except DataError as error:
        raise _told_if_newer(error, case) from error
    if result is None:
        raise DataError(
            f"{case}: holds neither {MEASUREMENT_FILE} nor {RESULT_FILE}",
            hint="name a folder that `trnbench run` finished",
        )
    return _unbroken(result, find_seal(case), case)


def derive(case: Path, run_id: str | None = None, *, keeps_steps: bool = False) -> Derived:
    """Derive a case from its records, and take over the price that its result was given.

    Args:
        case: the case's folder.
        run_id: the run that it belongs to; by default the name of the folder above.
        keeps_steps: whether the measurements keep each step's loss, for those who ask for more
            than the result says; else as much memory is taken for any number of steps.

    Raises:
        DataError: plan or records cannot be read, or what is stored is not what they give.
    """
    from trnbench.analysis.analyze import analyze  # numpy, which stored results do not need
    from trnbench.analysis.pooling import pool
    from trnbench.analysis.records import StepDigest

    plan = read_plan(case)
    plan_sha256 = hashlib.sha256(read_plan_text(case)).hexdigest()
    paths = measurement_paths(case) or [case / MEASUREMENT_FILE]
    measurements = [read_records(path, None if keeps_steps else StepDigest()) for path in paths]
    launches = [
        analyze(
            plan,
            measurement,
            plan_sha256=plan_sha256,
            run_id=run_id or case.resolve().parent.name,
            measurement_bytes=path.stat().st_size,
        )
        for path, measurement in zip(paths, measurements, strict=True)
    ]
    result, note = _reconciled(pool(plan, launches), case)
    return Derived(
        plan=plan,
        paths=paths,
        measurements=measurements,
        launches=launches,
        result=result,
        note=note,
    )


def _reconciled(derived: Result, case: Path) -> tuple[Result, str | None]:
    """Hold what was derived now against what is stored, and take over the price that it was given.

    Raises:
        DataError: the stored figures are not what the records give.
    """
    from trnbench.analysis.analyze import recost
    from trnbench.analysis.statistics import RULES

    try:
        stored = read_stored_result(case)
    except DataError:
        return derived, f"its {RESULT_FILE} cannot be read: its figures were derived again"
    if stored is None:
        return derived, None
    if stored.timing.rules != RULES:
        return derived, f"its figures by {stored.timing.rules} were derived again by {RULES}"
    at_its_price = recost(derived, stored.price, stored.price_reason)
    for name, then in stored.metrics.items():
        now = at_its_price.metrics.get(name)
        if now is not None and (differs := _difference(then, now)) is not None:
            raise DataError(
                f"{case / RESULT_FILE}: says {name}{differs[0]} {_said(differs[1])}, but its "
                f"records give {_said(differs[2])}: one of the two was changed by hand",
                hint=f"put the {MEASUREMENT_FILE} back that it was derived from, or delete "
                f"{RESULT_FILE} to trust the records",
            )
    return at_its_price.model_copy(update={"run_id": stored.run_id}), None


def _difference(
    then: MetricValue, now: MetricValue
) -> tuple[str, float | None, float | None] | None:
    """Return where a stored figure is another than the derived one, and both."""
    for part, mine, yours in (
        ("", then.value, now.value),
        ("'s low end", then.low, now.low),
        ("'s high end", then.high, now.high),
    ):
        if not _is_same(mine, yours):
            return part, mine, yours
    return None


def _is_same(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return math.isclose(then, now, rel_tol=SAME)


def _said(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _unbroken(result: Result, seal: Seal, case: Path) -> Result:
    if seal != "broken":
        return result
    raise DataError(
        f"{case / RESULT_FILE}: was changed since it was written, and its records are not beside "
        "it to derive it again",
        hint=f"put {PLAN_FILE} and {MEASUREMENT_FILE} back, or measure again",
    )


def _told_if_newer(error: DataError, case: Path) -> DataError:
    """Say that a result is of a newer format, where that is all that is wrong with it."""
    try:
        document = json.loads((case / RESULT_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return error
    version = document.get("schema_version") if isinstance(document, dict) else None
    known = Result.model_fields["schema_version"].default
    if not isinstance(version, int) or version <= known:
        return error
    return DataError(
        f"{case / RESULT_FILE}: has format {version}, this version reads {known}",
        hint="read it with the newer trnbench that wrote it",
    )
