"""Races by a scripted clock: who wins, and that a near win changes nothing."""

from collections.abc import Callable, Mapping

import pytest

from trnbench.train.race import HEATS, MARGIN, ROUNDS, fastest


class Track:
    """Ways that take scripted times, first run and later rounds, by a clock of its own."""

    def __init__(self, seconds: Mapping[str, list[float]]) -> None:
        self._left = {name: list(times) for name, times in seconds.items()}
        self.order: list[str] = []
        self.now = 0.0

    def ways(self) -> dict[str, Callable[[], object]]:
        return {name: self._way(name) for name in self._left}

    def _way(self, name: str) -> Callable[[], object]:
        def run() -> None:
            self.order.append(name)
            self.now += self._left[name].pop(0)

        return run

    def clock(self) -> float:
        return self.now


def race(**seconds: list[float]) -> str:
    track = Track(seconds)
    return fastest(track.ways(), track.clock)


def steady(seconds: float) -> list[float]:
    return [seconds] * (1 + ROUNDS)


@pytest.mark.parametrize(
    ("second", "third", "winner"),
    [
        (1.0 / MARGIN + 0.01, 2.0, "first"),
        (1.0 / MARGIN - 0.01, 2.0, "second"),
        (0.5, 0.4, "third"),
        (0.4, 0.5, "second"),
        (0.5 * MARGIN - 0.01, 0.5, "second"),  # however slow the first is
        (0.1 * MARGIN - 0.01, 0.1, "second"),
        (3.0, 3.0, "first"),
    ],
)
def test_another_wins_only_if_it_is_clearly_faster_than_those_before_it(
    second: float, third: float, winner: str
) -> None:
    assert race(first=steady(1.0), second=steady(second), third=steady(third)) == winner


def test_what_the_first_time_takes_is_nobody_s_loss() -> None:
    assert race(first=steady(1.0), second=[90.0, *[0.5] * ROUNDS]) == "second"


def test_a_machine_that_stalls_now_and_then_decides_nothing() -> None:
    stalled = [1.0, *[9.0] * (HEATS - 1), 1.0, *[9.0] * (ROUNDS - HEATS)]
    assert race(first=stalled, second=steady(0.95)) == "first"


def test_they_run_in_turns() -> None:
    track = Track({"a": steady(1.0), "b": steady(1.0)})
    fastest(track.ways(), track.clock)
    assert track.order == ["a", "b"] * (1 + ROUNDS)


def test_who_is_hopeless_does_not_take_the_time_of_the_race() -> None:
    track = Track({"slow": [9.0] * (1 + HEATS), "a": steady(1.0), "b": steady(1.0)})
    assert fastest(track.ways(), track.clock) == "a"
    assert track.order.count("slow") == 1 + HEATS


def test_alone_the_first_wins() -> None:
    assert race(only=steady(1.0)) == "only"
