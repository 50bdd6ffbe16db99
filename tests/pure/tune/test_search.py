"""Which way is tried next: the planner's first, and then what promises the most."""

import itertools
import math

import numpy as np
import pytest

from trnbench.tune.search import FIRST, Search, distances

NONE: frozenset[int] = frozenset()

WAYS = [
    {"workload.micro_batch_size": micro, "workload.activation_checkpointing": recompute}
    for micro, recompute in itertools.product([16, 8, 4, 2, 1], ["none", "selective", "full"])
]
EXPECTED = [1.0 + 0.001 * place for place in range(len(WAYS))]


def true_seconds(place: int) -> float:
    """The planner is wrong: small passes are twice as fast, and recomputation costs a third."""
    way = WAYS[place]
    seconds = {16: 1.0, 8: 0.8, 4: 0.5, 2: 0.6, 1: 0.9}[way["workload.micro_batch_size"]]  # type: ignore[index]
    return seconds * (1.0 if way["workload.activation_checkpointing"] == "none" else 1.33)


def tried(trials: int) -> list[int]:
    search, known = Search(WAYS, EXPECTED), dict[int, float | None]()
    for _ in range(trials):
        place = search.next(known, NONE)
        assert place is not None
        known[place] = true_seconds(place)
    return [*known]


def test_the_first_ways_are_the_planners() -> None:
    assert tried(FIRST) == [*range(FIRST)]


def test_no_way_is_tried_twice_and_all_are_tried_in_the_end() -> None:
    assert sorted(tried(len(WAYS))) == [*range(len(WAYS))]
    known: dict[int, float | None] = dict.fromkeys(range(len(WAYS)), 1.0)
    assert Search(WAYS, EXPECTED).next(known, NONE) is None


def test_it_learns_what_the_planner_does_not_know() -> None:
    best = min(range(len(WAYS)), key=true_seconds)
    assert best == 6  # 4 a pass, nothing recomputed
    assert best in tried(6)


def test_a_way_that_is_left_out_or_failed_is_not_tried_again() -> None:
    search = Search(WAYS, EXPECTED)
    assert search.next({0: None}, frozenset({1, 2})) == 3
    assert search.next({0: None, 1: None, 2: None}, NONE) == 3


def test_sizes_are_alike_by_doublings_and_names_are_alike_or_not() -> None:
    ways = [
        {"size": 1, "name": "a"}, {"size": 4, "name": "a"}, {"size": 1, "name": "b"},
        {"size": 16, "name": "b"},
    ]  # fmt: skip
    found = distances(ways)
    assert found[0, 1] == found[0, 2] == pytest.approx(1.0)
    assert found[0, 3] == pytest.approx(5.0)
    assert np.allclose(found, found.T)


def test_what_was_measured_is_predicted_and_what_was_not_is_less_sure() -> None:
    search = Search(WAYS, EXPECTED)
    measured = {place: math.log(true_seconds(place)) for place in (0, 6, 9)}
    mean, deviation = search.predict(measured, [0, 6, 9, 14])
    assert np.exp(mean[:3]) == pytest.approx([1.0, 0.5, 0.6], rel=0.05)
    assert deviation[3] > 2 * max(deviation[:3])
