"""Results of cases on disk: read if they are up to date, else derived again from the records."""

import hashlib
from pathlib import Path

from trnbench.run.store import (
    MEASUREMENT_FILE,
    measurement_bytes,
    read_measurement,
    read_plan,
    read_plan_text,
    read_result,
)
from trnbench.schema.errors import DataError
from trnbench.schema.result import Result


def load_result(case: Path, run_id: str | None = None) -> Result:
    """Return a case's result.

    Args:
        case: the case's folder.
        run_id: the run that it belongs to; by default the name of the folder above.

    Raises:
        DataError: neither a result nor records that one could be derived from can be read.
    """
    try:
        stored = read_result(case)
    except DataError:
        if not (case / MEASUREMENT_FILE).exists():
            raise
        stored = None  # derived data: the records are what counts
    if stored is not None:
        return stored
    from trnbench.analysis.analyze import analyze  # numpy, which stored results do not need

    return analyze(
        read_plan(case),
        read_measurement(case),
        plan_sha256=hashlib.sha256(read_plan_text(case)).hexdigest(),
        run_id=run_id or case.resolve().parent.name,
        measurement_bytes=measurement_bytes(case),
    )
