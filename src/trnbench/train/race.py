"""Which of several ways to do the same is fastest here: by a race, where no table can know."""

import math
import time
from collections.abc import Callable, Mapping

Clock = Callable[[], float]

ROUNDS = 5
MARGIN = 1.1
"""How much faster than the first another must be. Ways that are nearly alike would change places
from one launch to the next, and launches would differ for that."""


def fastest(ways: Mapping[str, Callable[[], object]], clock: Clock = time.perf_counter) -> str:
    """Return the name of the fastest: the first, unless another beats it by `MARGIN`.

    They run in turns, so that whatever slows the machine meets all of them, and the least time of
    each counts, which is the one that least has disturbed.
    """
    least = dict.fromkeys(ways, math.inf)
    for way in ways.values():
        way()  # the first time makes what later ones find made
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = clock()
            way()
            least[name] = min(least[name], clock() - began)
    first = next(iter(ways))
    best = min(least, key=lambda name: least[name])
    return best if least[first] > MARGIN * least[best] else first
