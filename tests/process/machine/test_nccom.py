"""nccom-test: how it is called, and what is read out of its report or refused."""

import json
from pathlib import Path

import pytest

from tests.stand_in import stand_in_environment
from trnbench.machine.neuron import find_nccom_test, read_report, time_collective
from trnbench.protocol.orders import CollectiveTask

TASK = CollectiveTask(name="all_reduce 1000000", operation="all_reduce", whole_bytes=1_000_000)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PATH", stand_in_environment()["PATH"])
    found = find_nccom_test()
    assert found is not None
    return found


@pytest.mark.parametrize("operation", ["all_reduce", "all_gather", "reduce_scatter"])
def test_each_collective_is_timed_by_the_tool(
    tool: str, operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = CollectiveTask(name="x", operation=operation, whole_bytes=1_000_000)  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    assert time_collective(tool, task, 4) == pytest.approx(110e-6)
    assert list(tmp_path.iterdir()) == [], "it leaves its folders where we are"


@pytest.mark.parametrize(
    ("answer", "said"),
    [("fails", "ended with 1 and no report"), ("rubbish", "report has no 'time:avg")],
)
def test_a_tool_that_fails_is_a_reason(
    tool: str, answer: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_NCCOM_TEST", answer)
    timed = time_collective(tool, TASK, 4)
    assert isinstance(timed, str)
    assert said in timed


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"size(B)": 5, "time:avg(us)": 3.0}],
        [{"size(B)": 1_000_000}],
        [{"size(B)": 1_000_000, "time:avg(us)": "soon"}],
        [{"size(B)": 1_000_000, "time:avg(us)": None}],
        [{"size(B)": 1_000_000, "time:avg(us)": 0.0}],
        [{"size(B)": 1_000_000, "time:avg(us)": -4.0}],
        [{"size(B)": 1_000_000, "time:avg(us)": float("nan")}],
        [{"size(B)": 1_000_000, "time:avg(us)": 1e12}],
        "none",
    ],
)
def test_an_odd_report_gives_no_time(rows: object) -> None:
    timed = read_report(json.dumps({"results": rows}), 1_000_000)
    assert isinstance(timed, str)


def test_no_tool_is_found_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_nccom_test(tmp_path) is None
    placed = tmp_path / "opt/aws/neuron/bin/nccom-test"
    placed.parent.mkdir(parents=True)
    placed.write_text("#!/bin/sh\n")
    placed.chmod(0o755)
    assert find_nccom_test(tmp_path) == str(placed)
