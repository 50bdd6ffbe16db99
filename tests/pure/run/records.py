"""Records of a case, from its header to its outcome, and the result that follows from them."""

from pathlib import Path
from typing import Any

from tests.pure.run.plans import plan_case
from trnbench.analysis.analyze import analyze
from trnbench.protocol.records import Phase
from trnbench.run.store import CaseFolder
from trnbench.schema.measurement import Header, Measurement, Outcome, Status
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result


def make_header(plan: Plan, plan_sha256: str = "0" * 64, **changes: Any) -> Header:
    """Return the first record of a case's measurement."""
    fields: dict[str, Any] = {
        "schema_version": 1,
        "trnbench_version": plan.trnbench_version,
        "case_id": plan.case_id,
        "plan_sha256": plan_sha256,
        "started_at": "2026-08-01T12:00:00+00:00",
    }
    return Header(**(fields | changes))


def make_outcome(status: Status = "finished") -> Outcome:
    """Return the last record of a case."""
    return Outcome(at_seconds=9.0, status=status, reason="the test says so")


def write_case(path: Path, status: Status | None = "finished") -> CaseFolder:
    """Write a case that was begun and, unless the status is None, came to an outcome."""
    case, plan = CaseFolder(path), plan_case()
    plan_sha256 = case.begin(plan)
    records = case.open_measurement()
    records.append(make_header(plan, plan_sha256))
    records.append(Phase(at_seconds=0.5, name="probe"))
    if status is not None:
        records.append(make_outcome(status))
    records.close()
    return case


def make_result(measurement_bytes: int) -> Result:
    """Return the result of a case that ended before its first step."""
    plan = plan_case()
    header = make_header(plan)
    measurement = Measurement(header=header, outcome=make_outcome("interrupted"))
    return analyze(
        plan,
        measurement,
        plan_sha256=header.plan_sha256,
        run_id="a-run",
        measurement_bytes=measurement_bytes,
    )
