"""The family of errors and what each tells the shell."""

import pytest

from trnbench.errors import (
    CheckFailed,
    ConfigError,
    DataError,
    ExitCode,
    Problem,
    RunError,
    TrnbenchError,
    UnavailableError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError, 2),
        (UnavailableError, 3),
        (RunError, 4),
        (DataError, 5),
        (CheckFailed, 6),
    ],
)
def test_each_error_has_the_exit_code_of_the_table(error: type[TrnbenchError], code: int) -> None:
    assert error.exit_code == code
    assert issubclass(error, TrnbenchError)


def test_the_codes_without_an_error_are_those_of_the_shell() -> None:
    assert (ExitCode.SUCCESS, ExitCode.BUG) == (0, 1)
    assert ExitCode.INTERRUPTED == 128 + 2
    assert ExitCode.TERMINATED == 128 + 15


def test_every_error_of_the_family_is_in_the_table() -> None:
    codes = [error.exit_code for error in TrnbenchError.__subclasses__()]
    assert sorted(codes) == [2, 3, 4, 5, 6]


def test_an_error_says_its_message_and_keeps_its_hint() -> None:
    error = ConfigError("device: 'tpu' is not known", hint="use cpu")
    assert str(error) == "device: 'tpu' is not known"
    assert error.problems == (Problem("device: 'tpu' is not known", "use cpu"),)


def test_one_error_can_hold_several_problems() -> None:
    found = [Problem("a is wrong", "mend a"), Problem("b is wrong", "mend b")]
    error = ConfigError.of(iter(found))
    assert isinstance(error, ConfigError)
    assert error.problems == tuple(found)
    assert str(error) == "a is wrong"
