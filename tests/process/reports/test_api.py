"""`trnbench.load_results`: what a notebook gets, and its errors."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest

import trnbench
from trnbench.errors import ConfigError, DataError, UnavailableError
from trnbench.reports.columns import COLUMNS, row
from trnbench.run.results import load_result

ROOT = Path(__file__).resolve().parents[3]
STORED = ROOT / "tests" / "golden" / "schema"
CASES = sorted(path.parent for path in STORED.rglob("result.json"))
TYPES = dict(
    re.findall(
        r"^\| `(\w+)` \| `([^`]+)` \|$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE
    )
)


def test_results_at_any_depth_are_rows_with_the_types_of_the_page() -> None:
    frame = trnbench.load_results(STORED)
    assert list(frame.columns) == [column.name for column in COLUMNS]
    assert {each.name: str(frame[each.name].dtype) for each in COLUMNS} == {
        each.name: TYPES[each.kind] for each in COLUMNS
    }
    assert len(frame) == len(CASES)
    for place, case in enumerate(CASES):
        for column in COLUMNS:
            told, cell = row(load_result(case))[column.name], frame[column.name][place]
            if told is None:
                assert pandas.isna(cell), column.name
            elif column.kind in ("day", "time"):
                assert cell == pandas.Timestamp(told), column.name
            else:
                assert cell == told, column.name


def test_the_page_s_lines_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(STORED)
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec("".join(lines), names)
    assert len(names["results"]) == len(CASES)
    assert set(names["cheapest"]["model"]) == set(names["sound"]["model"]) != set()
    assert len(trnbench.load_results()) == len(CASES)


def test_what_cannot_be_read_is_one_error_with_all_of_them_or_a_warning_each(
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{")
    with pytest.raises(DataError) as told:
        trnbench.load_results(STORED, tmp_path, tmp_path / "none")
    assert len(told.value.problems) == 3
    assert "".join(told.value.__notes__).count("result.json") == 1, "the first is the message"
    with pytest.warns(UserWarning, match=r"result\.json") as warned:
        frame = trnbench.load_results(STORED, tmp_path, errors="warn")
    assert len(frame) == len(CASES)
    assert {warning.filename for warning in warned} == {__file__}
    with pytest.raises(ConfigError, match="errors='ignore'"):
        trnbench.load_results(STORED, errors="ignore")  # type: ignore[arg-type]


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UnavailableError, match="pandas is not installed") as told:
        trnbench.load_results(STORED)
    assert "pip install 'trnbench[reports]'" in told.value.__notes__[0]


def test_importing_trnbench_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import trnbench; "
        "print(*set(sys.modules) - before); dir(trnbench.load_results)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["trnbench"]
