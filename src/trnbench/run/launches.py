"""Results on disk as launches for a comparison: derived again, and held against what is stored.

`report` shows a stored result; a comparison may fail a build, so it goes back to the raw records.
"""

import hashlib
import itertools
import math
from pathlib import Path

from trnbench.analysis.analyze import analyze, recost
from trnbench.analysis.comparison.launch import Launch, make_launch
from trnbench.analysis.statistics import RULES
from trnbench.run.store import (
    MEASUREMENT_FILE,
    PLAN_FILE,
    RESULT_FILE,
    measurement_bytes,
    read_measurement,
    read_plan,
    read_plan_text,
    read_result,
)
from trnbench.schema.errors import DataError
from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

SAME = 1e-6
"""Relative difference up to which a stored figure is the derived one, rounded differently."""

SHORTEST_STEP_SECONDS = 1e-9
LONGEST_BLOCK_SECONDS = 1e8
"""No step takes less than a clock's tick, no block more than three years."""


def load_launch(case: Path, run_id: str | None = None) -> Launch:
    """Return a case's launch.

    Args:
        case: the case's folder.
        run_id: the run that it belongs to; by default the name of the folder above.

    Raises:
        DataError: it cannot be read, its records cannot be, its plan is another one, or its stored
            figures are not those that its records give.
    """
    if not (case / MEASUREMENT_FILE).exists():
        return _load_stored(case)
    measurement, plan = read_measurement(case), read_plan(case)
    plan_sha256 = hashlib.sha256(read_plan_text(case)).hexdigest()
    if plan_sha256 != measurement.header.plan_sha256:
        raise DataError(
            f"{case / PLAN_FILE}: is not the plan that its measurement was made by",
            hint="put the old plan.json back, or measure again",
        )
    _check_blocks(measurement, case / MEASUREMENT_FILE)
    derived = analyze(
        plan,
        measurement,
        plan_sha256=plan_sha256,
        run_id=run_id or case.resolve().parent.name,
        measurement_bytes=measurement_bytes(case),
    )
    result, note = _reconciled(derived, case)
    with (case / MEASUREMENT_FILE).open("rb") as records:
        digest = hashlib.file_digest(records, "sha256").hexdigest()
    return make_launch(result, plan, measurement, digest=digest, note=note)


def _load_stored(case: Path) -> Launch:
    """Take a result as it stands, where nothing but it was kept."""
    try:
        result = read_result(case)
    except DataError as error:
        raise _told_if_newer(error, case) from error
    if result is None:
        raise DataError(
            f"{case}: holds neither {MEASUREMENT_FILE} nor {RESULT_FILE}",
            hint="name a folder that `trnbench run` finished",
        )
    plan: Plan | None = read_plan(case) if (case / PLAN_FILE).exists() else None
    digest = hashlib.sha256((case / RESULT_FILE).read_bytes()).hexdigest()
    return make_launch(result, plan, None, digest=digest)


def _told_if_newer(error: DataError, case: Path) -> DataError:
    """Say that a result is of a newer format, where that is all that is wrong with it."""
    import json

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


def _reconciled(derived: Result, case: Path) -> tuple[Result, str | None]:
    """Hold what was derived now against what is stored, and take over the price that it was given.

    Raises:
        DataError: the stored figures are not what the records give.
    """
    try:
        stored = _read_any_result(case)
    except DataError:
        return derived, "its result.json cannot be read: its figures were derived again"
    if stored is None:
        return derived, None
    if stored.timing.rules != RULES:
        return derived, f"its figures by {stored.timing.rules} were derived again by {RULES}"
    at_its_price = recost(derived, stored.price, stored.price_reason)
    for name, then in stored.metrics.items():
        now = at_its_price.metrics.get(name)
        if now is not None and not _is_same(then.value, now.value):
            raise DataError(
                f"{case / RESULT_FILE}: says {name} {_said(then.value)}, but its records give "
                f"{_said(now.value)}: one of the two was changed by hand",
                hint=f"put the {MEASUREMENT_FILE} back that it was derived from, or delete "
                f"{RESULT_FILE} to trust the records",
            )
    return at_its_price.model_copy(update={"run_id": stored.run_id}), None


def _read_any_result(case: Path) -> Result | None:
    """Read the stored result, up to date or not: one that is not was derived from other records."""
    path = case / RESULT_FILE
    if not path.exists():
        return None
    stored = read_result(case)
    if stored is not None:
        return stored
    return Result.model_validate_json(path.read_bytes())


def _is_same(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return math.isclose(then, now, rel_tol=SAME)


def _said(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _check_blocks(measurement: Measurement, path: Path) -> None:
    """Refuse what no worker tells: steps of no time or less, before their time, or without loss."""
    for block in measurement.blocks:
        counts = {len(block.losses), len(block.gradient_norms), len(block.oracle_losses)}
        if counts != {block.steps}:
            raise DataError(
                f"{path}: has not one loss and one gradient for each of the {block.steps} steps "
                f"from step {block.first_step}",
                hint="the file was edited or is damaged; measure again",
            )
        is_possible = SHORTEST_STEP_SECONDS * block.steps <= block.seconds <= LONGEST_BLOCK_SECONDS
        if block.steps < 1 or not is_possible:
            raise DataError(
                f"{path}: says that {block.steps} steps from step {block.first_step} took "
                f"{block.seconds:g} s",
                hint="the clock jumped or the file was edited; measure again",
            )
    for ceiling in measurement.ceilings:
        if not all(point.flops_per_second for point in ceiling.points) or not ceiling.points:
            raise DataError(
                f"{path}: holds a ceiling without a rate",
                hint="the file was edited or is damaged; measure again",
            )
    for before, after in itertools.pairwise(measurement.blocks):
        if after.at_seconds < before.at_seconds:
            raise DataError(
                f"{path}: step {after.first_step} is recorded at {after.at_seconds:g} s, before "
                f"step {before.first_step} at {before.at_seconds:g} s",
                hint="the clock jumped or the file was edited; measure again",
            )
