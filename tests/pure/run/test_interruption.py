"""Signals are taken note of, the first one counts, and what was ignored stays ignored."""

import signal
from collections.abc import Iterator

import pytest

from trnbench.run.watch import NOTED, noted_signals


@pytest.fixture(autouse=True)
def _nothing_is_ignored() -> Iterator[None]:
    """Begin as on a terminal, whatever started the tests."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in NOTED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, "interrupted", "stopped by Ctrl-C"),
        (signal.SIGTERM, "terminated", "stopped by SIGTERM"),
    ],
)
def test_the_first_signal_is_noted_and_nothing_is_struck(
    number: int, status: str, said: str
) -> None:
    with noted_signals() as interruption:
        assert interruption.signal is None
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal == number
        assert interruption.status == status
        assert interruption.reason == said


def test_the_handlers_from_before_come_back() -> None:
    before = [signal.getsignal(number) for number in NOTED]
    with noted_signals():
        pass
    assert [signal.getsignal(number) for number in NOTED] == before


def test_a_hang_up_that_was_ignored_at_the_start_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_signals() as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert interruption.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)
