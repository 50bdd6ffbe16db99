"""What lies in a folder of results as a report: a line a run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trnbench.reports import document as doc
from trnbench.reports.results import STYLES
from trnbench.schema.result import Validity

COLUMNS = (
    doc.Column("run"),
    doc.Column("started (UTC)"),
    doc.Column("suite"),
    doc.Column("cases", is_figure=True),
    doc.Column("state"),
    doc.Column("validity"),
    doc.Column("device"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """One folder of cases."""

    path: str
    started_at: str | None
    """Null where no run.json is beside the cases."""
    suites: Sequence[str]
    devices: Sequence[str]
    instance: str | None
    cases: int
    state: str
    """running, finished, failed, interrupted or cut off; unknown without a run.json."""
    standings: Sequence[Validity]
    """Of each case that can be read."""

    @property
    def unreadable(self) -> int:
        """Cases whose result cannot be read."""
        return self.cases - len(self.standings)

    @property
    def worst(self) -> Validity | None:
        """The worst standing of a case; None where none can be read."""
        return max(self.standings, key=[*STYLES].index, default=None)

    def count(self, standing: str) -> int:
        """Return how many cases have this standing."""
        return Counter(self.standings)[standing]  # type: ignore[index]


def _document(runs: Sequence[ListedRun], page: doc.Page) -> doc.Document:
    rows = [_cells(run) for run in runs]
    return doc.Document([doc.Table(COLUMNS, rows)])


def _cells(run: ListedRun) -> tuple[doc.Cell | str, ...]:
    said = [f"{run.count(each)} {each}" for each in STYLES if run.count(each)]
    said += [f"{run.unreadable} unreadable"] * bool(run.unreadable)
    started = (run.started_at or doc.UNKNOWN).replace("T", " ")[:16]
    validity = doc.Cell(", ".join(said), None if run.worst is None else STYLES[run.worst])
    devices = ", ".join(run.devices) or doc.UNKNOWN
    where = f"{devices} ({run.instance})" if run.instance else devices
    return (run.path, started, ", ".join(run.suites), str(run.cases), run.state, validity, where)


def _record(run: ListedRun) -> dict[str, Any]:
    return {
        "path": run.path,
        "started_at": run.started_at,
        "suite": ", ".join(run.suites),
        "device": ", ".join(run.devices) or None,
        "instance": run.instance,
        "cases": run.cases,
        "state": run.state,
        **{standing: run.count(standing) for standing in STYLES},
        "unreadable": run.unreadable,
    }


def _rows(runs: Sequence[ListedRun]) -> doc.Rows:
    counts = (f"{name}:int" for name in (*STYLES, "unreadable"))
    return doc.rows_at(
        map(_record, runs), "path", "started_at:time", "suite", "device", "instance", "cases:int",
        "state", *counts,
    )  # fmt: skip


REPORT: doc.Report[Sequence[ListedRun]] = doc.Report(
    title="Runs",
    document=_document,
    rows=_rows,
    record=lambda runs, page: {"runs": [_record(run) for run in runs]},
)
