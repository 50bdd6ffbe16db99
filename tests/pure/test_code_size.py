"""The limits of the code: sizes that stay readable, and the list of files to read first."""

from scripts.measure_code import PACKAGE, count_lines, functions, read_spine

FILE_LINES = 400
FUNCTION_LINES = 60
SPINE_FILES = 20


def test_no_file_is_too_long() -> None:
    sizes = {path: count_lines(path) for path in PACKAGE.rglob("*.py")}
    assert {path: size for path, size in sizes.items() if size > FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    found = [each for path in PACKAGE.rglob("*.py") for each in functions(path)]
    assert [each for each in found if each.lines > FUNCTION_LINES] == []


def test_the_files_to_read_first_are_few_and_there() -> None:
    spine = read_spine()
    assert 10 <= len(spine) <= SPINE_FILES
    assert [path for path in spine if not path.exists()] == []
