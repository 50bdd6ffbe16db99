"""`trnbench results`: which runs a folder of results holds, newest first."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trnbench.cli.options import OutputChoice, Paths
from trnbench.errors import DataError, Problem

if TYPE_CHECKING:
    from trnbench.reports.runs import ListedRun
    from trnbench.schema.result import RunDocument

EXAMPLES = (
    "trnbench results",
    "trnbench results results --json",
)
"""For `--help`."""


def results(*, paths: Paths = None, form: OutputChoice) -> None:
    """List the runs in a folder: when, what, on which device, and how valid they are."""
    from trnbench.cli.output import show
    from trnbench.reports.runs import REPORT
    from trnbench.run.results import DEFAULT_RESULTS

    problems: list[Problem] = []
    runs = sorted(
        _runs([DEFAULT_RESULTS] if paths is None else paths, problems),
        key=lambda run: (run.started_at or "", run.path),
        reverse=True,
    )
    if runs:
        show(REPORT, runs, form.name, form.output)
    if problems:
        raise DataError.of(problems)


def _runs(paths: Sequence[Path], problems: list[Problem]) -> "Iterator[ListedRun]":
    from trnbench.run.finding import find_cases

    cases: dict[Path, list[Path]] = {}
    for path in paths:
        try:
            for case in find_cases([path]):
                cases.setdefault(case.parent, []).append(case)
        except DataError as error:
            problems.extend(error.problems)
    for run, own in cases.items():
        yield _list(run, own, problems)


def _list(run: Path, cases: Sequence[Path], problems: list[Problem]) -> "ListedRun":
    from trnbench.reports.results import device_cell
    from trnbench.reports.runs import ListedRun
    from trnbench.run.index import RunIndex
    from trnbench.run.results import load_indexed

    loaded, index = [], RunIndex(run)
    for case in cases:
        try:
            loaded.append(load_indexed(case, index))
        except DataError as error:
            problems.extend(error.problems)
    index.keep()
    document = _read_document(run, problems)
    instances = {result.device.instance for result in loaded} - {None}
    return ListedRun(
        path=str(run),
        started_at=None if document is None else document.started_at,
        suites=document.suites if document else sorted({result.suite for result in loaded}),
        devices=sorted({device_cell(result) for result in loaded}),
        instance=", ".join(sorted(map(str, instances))) or None,
        cases=len(cases),
        state=_state(run, document),
        standings=[result.standing for result in loaded],
    )


def _read_document(run: Path, problems: list[Problem]) -> "RunDocument | None":
    from trnbench.run.store import read_run

    try:
        return read_run(run)
    except DataError as error:
        problems.extend(error.problems)
        return None


def _state(run: Path, document: "RunDocument | None") -> str:
    """Say how a run ended; one that was killed still says that it is running."""
    from trnbench.run.store import is_held

    if document is None:
        return "unknown"
    if document.state == "running":
        return "running" if is_held(run) else "cut off"
    return document.state
