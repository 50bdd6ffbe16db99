"""Errors that the user can mend, by what a caller does about them, and their exit codes.

    TrnbenchError                      exit
    ├── ConfigError                    2     a config, an option or a price file is wrong
    ├── UnavailableError               3     a device, a driver or a library is not here
    ├── RunError                       4     a case failed; the others are kept
    ├── DataError                      5     a result that cannot be read
    └── CheckFailed                    6     a CI gate did not pass

0 is success, 1 a bug with its traceback, 130 Ctrl-C, 141 a reader that stopped, 143 a
request to terminate. A test compares the codes with the table in README.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """The exit codes of the command."""

    SUCCESS = 0
    BUG = 1
    CONFIG = 2
    UNAVAILABLE = 3
    RUN = 4
    DATA = 5
    CHECK = 6
    HUNG_UP = 129
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with the offending key and value, and what to do about it."""

    message: str
    hint: str


class TrnbenchError(Exception):
    """Something that the user can mend; `problems` holds one or more of them."""

    exit_code = ExitCode.BUG

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(message, hint),)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> Self:
        """Make one error of several problems, so that the user can mend them all at once."""
        found = tuple(problems)
        error = cls(found[0].message, hint=found[0].hint)
        error.problems = found
        return error


def did_you_mean(
    name: str, known: Iterable[str], rest: str = "", *, most: int = 3, cutoff: float = 0.4
) -> str:
    """Return a hint at the known names that are near `name`, if any, and the rest of the hint.

    Case does not count. `cutoff` is the least similarity that counts as near, from 0 to 1, by
    `difflib`.
    """
    from difflib import get_close_matches  # a run without a fault never needs it

    spelled, asked = {each.lower(): each for each in known}, name.lower()
    begun = [each for each in spelled if len(asked) > 1 and each.startswith(asked)]
    close = get_close_matches(asked, spelled, most, cutoff)
    near = [spelled[each] for each in dict.fromkeys([*begun, *close])][:most]
    return f"did you mean {' or '.join(near)}? {rest}".rstrip() if near else rest


class ConfigError(TrnbenchError):
    """A config, an option or a file of the user's is wrong."""

    exit_code = ExitCode.CONFIG


class UnavailableError(TrnbenchError):
    """A device, a driver, a library or a price is not available here."""

    exit_code = ExitCode.UNAVAILABLE


class HostMemoryError(UnavailableError):
    """This machine has not the memory for a job's ranks; those of another layout may fit."""


class RunError(TrnbenchError):
    """A case did not finish."""

    exit_code = ExitCode.RUN


class DataError(TrnbenchError):
    """A file of results that cannot be read, or is newer than this version."""

    exit_code = ExitCode.DATA


class CheckFailed(TrnbenchError):  # noqa: N818 - no error: the comparison worked
    """A gate that the user set was not passed."""

    exit_code = ExitCode.CHECK
