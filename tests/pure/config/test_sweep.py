"""The order of a sweep: every case once, and any beginning of it spread over every key's values."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.configs import parse_config
from trnbench.config.sweep import SPREAD_ABOVE, Cell, cells, lattice_step

SUITE = "model: tiny-llama\nworkload: {sequence_length: 128, global_batch_size: 8}\n"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_every_combination_comes_once_in_either_order(counts: list[int]) -> None:
    written = list(cells(counts, is_spread=False))
    assert written == list(itertools.product(*map(range, counts)))
    if math.prod(counts) > 1:
        spread = list(cells(counts, is_spread=True))
        assert sorted(spread) == written


def test_a_tenth_of_a_spread_sweep_has_each_value_of_every_key_about_equally_often() -> None:
    for counts in [(10, 10, 100), (7, 11, 13), (8, 8, 8, 2), (97, 103), (5, 4, 3, 2, 10)]:
        first = _first(counts, math.prod(counts) // 10)
        for key, count in enumerate(counts):
            often = Counter(cell[key] for cell in first)
            mean = len(first) / count
            assert len(often) == count, (counts, key)
            assert max(often.values()) <= 1.3 * mean + 1, (counts, key)
            assert min(often.values()) >= 0.7 * mean - 1, (counts, key)


def test_a_tenth_of_a_spread_sweep_has_most_pairs_of_values() -> None:
    for counts in [(10, 10, 100), (7, 11, 13), (8, 8, 8, 2)]:
        first = _first(counts, math.prod(counts) // 10)
        for one, two in itertools.combinations(range(len(counts)), 2):
            pairs = {(cell[one], cell[two]) for cell in first}
            possible = min(counts[one] * counts[two], len(first))
            assert len(pairs) >= 0.65 * possible, (counts, one, two)


def test_the_beginning_of_a_sweep_of_a_billion_cases_is_found_at_once() -> None:
    counts = (1000, 1000, 1000)
    assert math.gcd(lattice_step(counts), 10**9) == 1
    assert len(set(_first(counts, 1000))) == 1000


@pytest.mark.parametrize(
    ("order", "count", "is_spread"),
    [
        ("auto", SPREAD_ABOVE, False),
        ("auto", SPREAD_ABOVE + 1, True),
        ("written", SPREAD_ABOVE + 1, False),
        ("spread", 8, True),
    ],
)
def test_a_sweep_is_spread_where_it_is_large_or_where_it_is_asked_for(
    order: str, count: int, is_spread: bool
) -> None:
    seeds = list(range(1, count + 1))
    text = f"{SUITE}sweep_order: {order}\nsweep: {{workload.seed: {seeds}}}\n"
    made = [case.config.workload.seed for case in parse_config(text, "suite.yaml")]
    assert sorted(made) == seeds
    assert (made != seeds) == is_spread
    again = [case.config.workload.seed for case in parse_config(text, "suite.yaml")]
    assert again == made  # so that a sweep that was cut goes on where it stopped


def _first(counts: tuple[int, ...], most: int) -> list[Cell]:
    return list(itertools.islice(cells(counts, is_spread=True), most))
