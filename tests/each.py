"""One test for all rows of a table: each is looked at, and all that are wrong are told at once."""

from collections.abc import Callable, Iterable
from typing import Any


def check_each(cases: Iterable[Any], check: Callable[..., None]) -> None:
    """Check every case, and fail with each that failed.

    Args:
        cases: what `check` takes; a tuple is its several arguments.
        check: asserts what must hold of one.
    """
    failures, count = [], 0
    for case in cases:
        count += 1
        arguments = case if isinstance(case, tuple) else (case,)
        try:
            check(*arguments)
        except AssertionError as error:
            told = ", ".join(f"{argument!r:.100}" for argument in arguments)
            failures.append(f"{told}\n    {error}")
    assert count, "there is nothing to check"
    assert not failures, f"{len(failures)} of {count} are wrong:\n" + "\n".join(failures)
