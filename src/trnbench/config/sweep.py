"""In which order the cases of a sweep are made: as written, or spread over the values of every key.

A sweep may be cut short by its budget or by a person. In the order as written its first part knows
the first values of the first key alone; spread, any first part has seen every key's values about
equally often. Source: rank-1 lattices, Korobov 1959; docs/decisions/0038.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

SPREAD_ABOVE = 100
"""Cases up to which `auto` keeps the order as written: so few are measured to the end."""

PROBED = (16, 64)
"""First cases whose distances decide between lattices."""
LATTICES = 24
"""That are compared."""

GOLDEN = (math.sqrt(5) - 1) / 2

Cell = tuple[int, ...]
"""Of each key the place of its value in the list."""


def cells(counts: Sequence[int], *, is_spread: bool) -> Iterator[Cell]:
    """Yield every combination once, from the number of values of each key.

    Nothing is kept: a beginning of a sweep of a billion cases takes as long as one of a hundred.
    """
    if not is_spread:
        yield from itertools.product(*map(range, counts))
        return
    total, step = math.prod(counts), lattice_step(counts)
    for number in range(total):
        yield _cell_at(number * step % total, counts)


def lattice_step(counts: Sequence[int]) -> int:
    """Return the step through the cells, as they are written, whose first cases lie farthest apart.

    It has no divisor in common with their number, so that every cell is met once.
    """
    total = math.prod(counts)
    steps: dict[int, None] = {}
    for number in range(1, LATTICES + 1):
        step = max(round(total * (number * GOLDEN % 1)), 1)
        while math.gcd(step, total) != 1:
            step += 1
        steps[step] = None
    return max(steps, key=lambda step: _distance(step, total, counts))


def _distance(step: int, total: int, counts: Sequence[int]) -> float:
    """Return how far apart the first cases lie, over what as many can at best."""
    swept = [count for count in counts if count > 1]
    found = 0.0
    for probed in PROBED:
        points = [
            [at / count for at, count in zip(cell, counts, strict=True) if count > 1]
            for cell in (
                _cell_at(number * step % total, counts) for number in range(min(probed, total))
            )
        ]
        least = min(math.dist(one, other) for one, other in itertools.combinations(points, 2))
        found += least * len(points) ** (1 / len(swept))
    return found


def _cell_at(place: int, counts: Sequence[int]) -> Cell:
    """Return the combination at a place in the order as written: the last key changes first."""
    cell = []
    for count in reversed(counts):
        place, at = divmod(place, count)
        cell.append(at)
    return tuple(reversed(cell))
