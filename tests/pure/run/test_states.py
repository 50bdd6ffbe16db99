"""run.json of few cases and of many, and the process table that the load is read from."""

import os
from typing import Any

from trnbench import __version__
from trnbench.run.states import FEW_CASES, SELDOM_SECONDS, States
from trnbench.run.watch import _process_table
from trnbench.schema.result import RunCase, RunDocument


class Written:
    """Takes what is written in the place of a run's folder."""

    def __init__(self) -> None:
        self.documents: list[RunDocument] = []

    def write_document(self, document: RunDocument) -> None:
        self.documents.append(document)


def go(cases: int, seconds_a_case: float) -> tuple[Written, States]:
    document = RunDocument(
        trnbench_version=__version__, run_id="run", suites=["suite"], started_at="", ended_at=None,
        state="running", machine={}, devices=[], versions={},
        cases=[RunCase(case_id=f"case-{n}", status="waiting") for n in range(cases)],
    )  # fmt: skip
    now = [0.0]
    states, written = States(document, clock=lambda: now[0]), Written()
    run: Any = written
    states.write(run)
    for number in range(cases):
        now[0] += seconds_a_case
        states.set(run, f"case-{number}", "finished")
    return written, states


def test_of_few_cases_each_change_is_written() -> None:
    written, _ = go(FEW_CASES, 0.0)
    assert len(written.documents) == 1 + FEW_CASES


def test_of_many_cases_run_json_is_written_seldom_and_whole_at_the_end() -> None:
    cases = 1000
    written, states = go(cases, 0.1)
    assert len(written.documents) <= 2 + cases * 0.1 / SELDOM_SECONDS
    assert len(written.documents) >= cases * 0.1 / SELDOM_SECONDS
    run: Any = written
    states.end(run, "later", None, is_stopped=False)
    last = written.documents[-1]
    assert (last.state, last.ended_at) == ("finished", "later")
    assert {case.status for case in last.cases} == {"finished"}
    assert len(last.cases) == cases


def test_long_cases_are_written_as_they_end() -> None:
    written, _ = go(FEW_CASES + 1, SELDOM_SECONDS)
    assert len(written.documents) == 2 + FEW_CASES


def test_the_process_table_has_each_process_with_its_parent() -> None:
    table = dict(_process_table())
    assert table[os.getpid()] == os.getppid()
    assert table[1] == 0
