"""The index of a large run: as fast as a cache, and never trusted where a file has changed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import make_result
from tests.pure.run.records import write_case
from trnbench.errors import Problem
from trnbench.run import index, results
from trnbench.run.results import load_results
from trnbench.run.store import MEASUREMENT_FILE, RESULT_FILE, measurement_bytes
from trnbench.schema.result import Result


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run of four cases, whose index has been written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "FEW_CASES", 3)
    monkeypatch.setattr(index, "SETTLED_SECONDS", -1.0)
    folder = tmp_path / "run"
    for number, price in enumerate((None, 2.5, None, 7.0)):
        case = write_case(folder / f"case-{number}")
        result = make_result(
            case_id=f"case-{number}", measurement_bytes=measurement_bytes(case.path)
        )
        if price is None:
            result = result.model_copy(update={"price": None, "metrics": _fewer(result)})
        case.write_result(result)
    load(folder)
    assert len(list((tmp_path / "cache/trnbench/results").iterdir())) == 1
    return folder


def _fewer(result: Result) -> object:
    """Return its metrics without some: an older version did not derive them."""
    return {name: each for name, each in result.metrics.items() if "per_chip" not in name}


def load(run: Path) -> list[Result]:
    problems: list[Problem] = []
    found = list(load_results([run], problems))
    assert problems == []
    return found


def reads(run: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the cases that are read from their own files."""
    names: list[str] = []
    read: Callable[[Path], Result | None] = results.load_whole

    def noted(case: Path) -> Result | None:
        names.append(case.name)
        return read(case)

    with monkeypatch.context() as patched:
        patched.setattr(results, "load_whole", noted)
        load(run)
    return sorted(set(names))


def test_results_of_an_index_are_those_of_their_files(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reads(run, monkeypatch) == []
    from_index = load(run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(run / "none"))
    assert load(run) == from_index
    assert len(from_index) == 4


def test_a_case_whose_file_was_changed_torn_or_lost_is_read_anew(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(path: Path) -> None:
        before = path.stat()
        text = path.read_bytes()
        path.write_bytes(text.replace(b'"tiny-llama"', b'"tiny-lamma"', 1))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as long, and as old

    edit(run / "case-0" / RESULT_FILE)
    assert reads(run, monkeypatch) == ["case-0"]
    with (run / "case-1" / RESULT_FILE).open("r+b") as torn:
        torn.truncate(300)
    with (run / "case-2" / MEASUREMENT_FILE).open("ab") as longer:
        longer.write(b"{")
    (run / "case-3" / RESULT_FILE).unlink()
    assert reads(run, monkeypatch) == ["case-0", "case-1", "case-2", "case-3"]


def test_a_copy_and_a_new_case_are_read_from_their_own_files(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case(run / "case-4")
    assert reads(run, monkeypatch) == ["case-4"]
    (run / "case-3").rename(run / "aside")
    assert "aside" in reads(run, monkeypatch)


def test_an_index_that_is_damaged_or_of_another_version_is_made_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = (tmp_path / "cache/trnbench/results").iterdir()
    whole = path.read_text()
    everything = [f"case-{number}" for number in range(4)]
    for damaged in (
        whole[:-9],
        "[]",
        whole.replace('"trnbench_version":"', '"trnbench_version":"0.', 1),
        json.dumps({**json.loads(whole), "checks_at": [[999]] * 4}),
        json.dumps({**json.loads(whole), "checks_at": []}),
    ):
        path.write_text(damaged)
        assert reads(run, monkeypatch) == everything
        assert reads(run, monkeypatch) == []


def test_a_file_that_changed_a_moment_ago_is_not_taken_in(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SETTLED_SECONDS", 3600.0)
    for path in (tmp_path / "cache/trnbench/results").iterdir():
        path.unlink()
    assert len(reads(run, monkeypatch)) == 4
    assert len(reads(run, monkeypatch)) == 4


def test_a_folder_of_caches_that_cannot_be_written_costs_nothing_but_time(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load(run)) == 4


def test_a_launch_that_was_added_is_found(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "case-2" / "measurement.2.jsonl").write_bytes(b"")
    problems: list[Problem] = []
    assert len(list(load_results([run], problems))) == 3  # an empty launch cannot be read
    assert len(problems) == 1


def test_an_index_is_not_written_again_where_nothing_changed(run: Path, tmp_path: Path) -> None:
    (path,) = (tmp_path / "cache/trnbench/results").iterdir()
    before = path.stat()
    load(run)
    assert path.stat().st_ino == before.st_ino  # a new one would be another file
