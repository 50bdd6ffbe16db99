"""Results for the commands that read them: what can be read comes, what cannot is told."""

from collections.abc import Iterator
from pathlib import Path

from trnbench.run.results import load_result
from trnbench.run.store import find_cases
from trnbench.schema.errors import DataError, Problem
from trnbench.schema.result import Result


def load_results(paths: list[Path], problems: list[Problem]) -> Iterator[Result]:
    """Yield what can be read; what cannot is added to `problems` and the rest still comes."""
    for path in paths:
        try:
            cases = list(find_cases([path]))
        except DataError as error:
            problems.extend(error.problems)
            continue
        for case in cases:
            try:
                yield load_result(case)
            except DataError as error:
                problems.extend(error.problems)
