"""What Python programs call: the package's own functions, whose names and columns stay."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

from trnbench.errors import ConfigError, Problem, TrnbenchError

if TYPE_CHECKING:
    from pandas import DataFrame

ERRORS = ("raise", "warn")


def load_results(paths: Sequence[str | PathLike[str]], errors: str) -> "DataFrame":
    """Do what `trnbench.load_results` promises."""
    from trnbench.errors import DataError
    from trnbench.reports.extras import require
    from trnbench.reports.frame import frame_of
    from trnbench.reports.results import REPORT
    from trnbench.run.results import load_results as read_results

    try:
        if errors not in ERRORS:
            raise ConfigError(f"errors={errors!r}: is not known", hint=f"use {' or '.join(ERRORS)}")
        require("pandas")  # before a thousand results are read
        problems: list[Problem] = []
        results = list(read_results([*map(Path, paths)] or None, problems))
        if problems and errors == "raise":
            raise DataError.of(problems)
    except TrnbenchError as error:
        raise _with_hints(error) from None
    for problem in problems:
        warn(f"{problem.message}; {problem.hint}", stacklevel=3)
    return frame_of(REPORT.rows(results))


def _with_hints(error: TrnbenchError) -> Any:
    """Return an error whose traceback ends in every problem, and what to do about it."""
    first, *others = error.problems
    error.add_note(first.hint)
    for problem in others:
        error.add_note(f"{problem.message}; {problem.hint}")
    return error
