"""Print the size of the code: files, lines, the largest file and function, what a reader passes.

    python scripts/measure_code.py

Modules of `trnbench run` are those that `cli/run.py` imports, directly or through others, in the
parent. The spine is the list of files that README.md gives in reading order.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "trnbench"


class Function(NamedTuple):
    """A function or method, and its lines from its signature to its end."""

    path: Path
    name: str
    lines: int


def count_lines(path: Path) -> int:
    """Return how many lines a file has."""
    return len(path.read_text().splitlines())


def functions(path: Path) -> Iterator[Function]:
    """Yield every function of a file, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            end = node.end_lineno or node.lineno
            yield Function(path, node.name, end - node.lineno + 1)


def modules_of_run() -> int:
    """Count the modules that `trnbench run` imports in the parent, its own included."""
    graph = grimp.build_graph("trnbench")
    return len(graph.find_upstream_modules("trnbench.cli.run")) + 1


def read_spine() -> list[Path]:
    """Return the files of the spine, in the order of README.md."""
    section = (ROOT / "README.md").read_text().split("## How to read the code")[1].split("\n## ")[0]
    return [PACKAGE / name for name in re.findall(r"`([\w/]+\.py)`", section)]


def count_tests() -> int:
    """Count test functions, of which parametrized ones make several tests."""
    return sum(
        function.name.startswith("test_")
        for path in (ROOT / "tests").rglob("test_*.py")
        for function in functions(path)
    )


def main() -> None:
    """Print one line for each size."""
    paths = sorted(PACKAGE.rglob("*.py"))
    sizes = {path: count_lines(path) for path in paths}
    largest = max(sizes, key=lambda path: sizes[path])
    longest = max((each for path in paths for each in functions(path)), key=lambda each: each.lines)
    tests = sum(count_lines(path) for path in (ROOT / "tests").rglob("*.py"))
    spine = read_spine()
    print(f"src/trnbench: {len(paths)} files, {sum(sizes.values()):,} lines")
    print(f"largest file: {largest.relative_to(PACKAGE)}, {sizes[largest]} lines")
    print(
        f"longest function: {longest.name} in {longest.path.relative_to(PACKAGE)}, "
        f"{longest.lines} lines"
    )
    print(f"modules that `trnbench run` imports in the parent: {modules_of_run()}")
    print(f"spine: {len(spine)} files, {sum(map(count_lines, spine)):,} lines")
    print(f"tests: {count_tests():,} functions, {tests:,} lines, {tests / sum(sizes.values()):.2f}")
    print(f"README.md: {count_lines(ROOT / 'README.md')} lines")


if __name__ == "__main__":
    main()
