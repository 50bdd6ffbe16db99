"""Reading results back: which cases there are, what is out of date, and what is damaged."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.pure.run.records import make_result, write_case
from trnbench.errors import DataError
from trnbench.run.finding import find_cases
from trnbench.run.results import load_result
from trnbench.run.store import (
    MEASUREMENT_FILE,
    PLAN_FILE,
    RESULT_FILE,
    CaseFolder,
    measurement_bytes,
    plan_sha256,
    read_plan,
    read_records,
    read_result,
)


def write_result(case: CaseFolder, length: int | None = None) -> None:
    case.write_result(make_result(measurement_bytes(case.path) if length is None else length))


# --- finding ------------------------------------------------------------------------------------


def test_a_case_a_run_and_a_folder_of_runs_are_all_found(tmp_path: Path) -> None:
    for name in ("run-2/b", "run-1/c", "run-1/a"):
        write_case(tmp_path / name)
    names = [case.relative_to(tmp_path).as_posix() for case in find_cases([tmp_path])]
    assert names == ["run-1/a", "run-1/c", "run-2/b"]
    assert list(find_cases([tmp_path / "run-1"])) == [
        tmp_path / "run-1" / "a",
        tmp_path / "run-1" / "c",
    ]
    assert list(find_cases([tmp_path / "run-2" / "b"])) == [tmp_path / "run-2" / "b"]


def test_a_file_stands_for_the_folder_that_it_is_in(tmp_path: Path) -> None:
    case = write_case(tmp_path / "run" / "case")
    (tmp_path / "run" / "run.json").write_text("{}")
    assert list(find_cases([case.path / MEASUREMENT_FILE])) == [case.path]
    assert list(find_cases([tmp_path / "run" / "run.json"])) == [case.path]


def test_a_result_alone_is_a_case(tmp_path: Path) -> None:
    case = CaseFolder(tmp_path / "run" / "case")
    case.path.mkdir(parents=True)
    write_result(case)
    assert list(find_cases([tmp_path])) == [case.path]


def test_paths_keep_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    one, other = write_case(tmp_path / "b").path, write_case(tmp_path / "a").path
    assert list(find_cases([one, other])) == [one, other]


def test_cases_are_found_at_any_depth_and_below_a_case_none_is_looked_for(tmp_path: Path) -> None:
    deep = write_case(tmp_path / "base" / "1" / "run" / "a" / "case").path
    write_case(deep / "inside")
    write_case(tmp_path / ".hidden" / "case")
    assert list(find_cases([tmp_path])) == [deep]


def test_records_without_a_plan_are_a_case_too(tmp_path: Path) -> None:
    case = write_case(tmp_path / "run" / "case")
    (case.path / PLAN_FILE).unlink()
    assert list(find_cases([tmp_path])) == [case.path]
    with pytest.raises(DataError, match=r"plan\.json: cannot be read") as told:
        load_result(case.path)
    assert "put it back" in told.value.problems[0].hint


def test_a_linked_run_is_found_and_a_circle_ends(tmp_path: Path) -> None:
    case = write_case(tmp_path / "elsewhere" / "run" / "case")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "linked").symlink_to(case.path.parent)
    (runs / "circle").symlink_to(runs)
    assert list(find_cases([runs])) == [runs / "linked" / "case"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_cannot_be_read_is_told_beside_what_was_found(tmp_path: Path) -> None:
    write_case(tmp_path / "closed" / "case")
    case = write_case(tmp_path / "open" / "case")
    (tmp_path / "closed").chmod(0)
    found = find_cases([tmp_path])
    assert next(found) == case.path
    with pytest.raises(DataError, match="closed: cannot be read: Permission denied"):
        next(found)


@pytest.mark.parametrize("name", [PLAN_FILE, RESULT_FILE, MEASUREMENT_FILE])
def test_a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for(
    name: str, tmp_path: Path
) -> None:
    case = write_case(tmp_path / "run" / "case")
    (case.path / name).unlink(missing_ok=True)
    os.mkfifo(case.path / name)
    with pytest.raises(DataError, match="is not a file"):
        {PLAN_FILE: read_plan, RESULT_FILE: read_result}.get(
            name, lambda folder: read_records(folder / name)
        )(case.path)


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="File name too long"):
        list(find_cases([tmp_path / ("a" * 300)]))


@pytest.mark.parametrize(
    ("name", "message"), [("none", "no such folder"), (".", "holds no result")]
)
def test_a_path_without_results_is_told(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list(find_cases([tmp_path / name]))
    assert "trnbench run" in caught.value.problems[0].hint


# --- the result ---------------------------------------------------------------------------------


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    write_result(case)
    assert read_result(case.path) == make_result(measurement_bytes(case.path))


def test_without_a_result_there_is_none(tmp_path: Path) -> None:
    assert read_result(write_case(tmp_path / "case").path) is None


def test_a_result_whose_measurement_was_not_kept_still_counts(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    write_result(case, 12345)
    (case.path / MEASUREMENT_FILE).unlink()
    assert read_result(case.path) == make_result(12345)
    assert measurement_bytes(case.path) == 0


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"schema_version":1}'])
def test_a_damaged_plan_or_result_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    case = write_case(tmp_path / "case")
    (case.path / PLAN_FILE).write_bytes(content)
    (case.path / RESULT_FILE).write_bytes(content)
    for read, name in ((read_plan, PLAN_FILE), (read_result, RESULT_FILE)):
        with pytest.raises(DataError) as caught:
            read(case.path)
        (problem,) = caught.value.problems
        assert problem.message.startswith(str(case.path / name))
        assert "damaged" in problem.hint


def test_a_plan_of_a_newer_version_is_told_by_the_key_that_differs(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    document = json.loads(case.plan_path.read_text(encoding="utf-8"))
    for key, value in (("schema_version", 4), ("new_field", 1)):
        case.plan_path.write_text(json.dumps(document | {key: value}), encoding="utf-8")
        with pytest.raises(DataError, match=f": {key}: "):
            read_plan(case.path)


def test_a_case_without_files_is_told_and_asked_about(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file") as caught:
        read_plan(tmp_path)
    assert "put it back" in caught.value.problems[0].hint
    with pytest.raises(DataError, match="cannot be read: No such file") as caught:
        read_records(tmp_path / MEASUREMENT_FILE)
    assert "ever started" in caught.value.problems[0].hint


def test_a_damaged_line_within_a_measurement_is_told_by_its_number(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    path = case.path / MEASUREMENT_FILE
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:20] + b"\n" + b"".join(rest))
    with pytest.raises(DataError, match=rf"{MEASUREMENT_FILE}, line 2: not a line of JSON"):
        read_records(case.path / MEASUREMENT_FILE)


def test_an_empty_measurement_is_told_as_such(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    (case.path / MEASUREMENT_FILE).write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read_records(case.path / MEASUREMENT_FILE)


def test_a_plan_s_hash_is_that_of_its_file(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case")
    assert plan_sha256(case.path) == hashlib.sha256(case.plan_path.read_bytes()).hexdigest()
