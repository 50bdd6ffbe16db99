"""`trnbench results`: a line a run, newest first."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command import in_process

STORED = Path(__file__).parents[2] / "golden" / "schema" / "v1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs of stored cases: one killed, one without its run.json."""
    for case in STORED.iterdir():
        shutil.copytree(case, tmp_path / "results" / "first" / case.name)
    case = next(STORED.iterdir())
    shutil.copytree(case, tmp_path / "results" / "second" / case.name)
    document: dict[str, Any] = {
        "trnbench_version": "0.1.0", "run_id": "first", "suites": ["quick"],
        "started_at": "2026-08-01T10:00:00+00:00", "ended_at": None, "state": "running",
        "machine": {}, "devices": [], "versions": {}, "cases": [],
    }  # fmt: skip
    (tmp_path / "results" / "first" / "run.json").write_text(json.dumps(document))
    return tmp_path


def test_each_run_has_a_line_with_its_state_and_its_cases(folder: Path) -> None:
    done = in_process("results", "--json", cwd=folder)
    assert done.code == 0, done.err
    first, second = json.loads(done.out)["runs"]
    assert (first["path"], first["state"], first["suite"]) == ("results/first", "cut off", "quick")
    assert first["cases"] == len([*STORED.iterdir()]) == first["sound"] + first["doubtful"]
    assert (second["path"], second["state"], second["started_at"]) == (
        "results/second", "unknown", None,
    )  # fmt: skip


def test_a_case_that_cannot_be_read_is_counted_and_told(folder: Path) -> None:
    case = next((folder / "results" / "second").iterdir())
    for file in case.iterdir():
        file.write_text("{")
    done = in_process("results", "results/second", "-f", "csv", "-o", "runs.csv", cwd=folder)
    assert done.code == 5
    assert case.name in done.err
    (row,) = csv.DictReader(io.StringIO((folder / "runs.csv").read_text()))
    assert (row["cases"], row["unreadable"]) == ("1", "1")


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    done = in_process("results", cwd=tmp_path)
    assert (done.code, done.out) == (5, "")
    assert "results: no such folder" in done.err
