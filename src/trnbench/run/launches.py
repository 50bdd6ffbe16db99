"""Results on disk as launches for a comparison, always derived again.

`report` shows a stored result that is whole; a comparison may fail a build, so it derives from the
raw records whatever is stored.
"""

import hashlib
from pathlib import Path

from trnbench.analysis.analyze import recost
from trnbench.compare.launches import Launch, make_launch
from trnbench.run.importing import LOG_FILE, derive_import
from trnbench.run.results import derive, load_stored
from trnbench.run.store import (
    IMPORT_FILE,
    PLAN_FILE,
    RESULT_FILE,
    measurement_paths,
    read_plan,
)
from trnbench.schema.plan import Plan


def load_launches(case: Path, run_id: str | None = None) -> list[Launch]:
    """Return a case's launches, in the order in which they were made.

    Raises:
        DataError: it or its records cannot be read, or its plan is not the one they were made by.
    """
    if not measurement_paths(case):
        return [_stored(case)]
    derived = derive(case, run_id, for_comparison=True)
    whole = derived.result
    launches = []
    for path, measurement, result in zip(
        derived.paths, derived.measurements, derived.launches, strict=True
    ):
        with path.open("rb") as records:
            digest = hashlib.file_digest(records, "sha256").hexdigest()
        at_its_price = recost(result, whole.price, whole.price_reason)
        launches.append(
            make_launch(
                at_its_price.model_copy(update={"run_id": whole.run_id}),
                derived.plan,
                measurement,
                digest=digest,
                note=derived.note,
            )
        )
    return launches


def _stored(case: Path) -> Launch:
    if (case / IMPORT_FILE).exists():
        digest = hashlib.sha256((case / LOG_FILE).read_bytes()).hexdigest()
        return make_launch(derive_import(case), None, None, digest=digest)
    result = load_stored(case)
    plan: Plan | None = read_plan(case) if (case / PLAN_FILE).exists() else None
    digest = hashlib.sha256((case / RESULT_FILE).read_bytes()).hexdigest()
    return make_launch(result, plan, None, digest=digest)
