"""Which of several ways to do the same is fastest here: by a race, where no table can know."""

import math
import time
from collections.abc import Callable, Mapping

Clock = Callable[[], float]

ROUNDS = 15
MARGIN = 1.1
"""How much faster than one before it another must be. Ways that are nearly alike would change
places from one launch to the next: launches would differ for that, and be compiled anew."""

HOPELESS, HEATS = 3.0, 3
"""Who has taken so many times the best's time in all of the first rounds is out: it would take most
of the race's time."""


def fastest(ways: Mapping[str, Callable[[], object]], clock: Clock = time.perf_counter) -> str:
    """Return the name of the first of those that none beats by `MARGIN`.

    They run in turns, so that whatever slows the machine meets all of them, and the least time of
    each counts, which is the one that least has disturbed.
    """
    least = dict.fromkeys(ways, math.inf)
    for way in ways.values():
        way()  # the first time makes what later ones find made
    for done in range(1, ROUNDS + 1):
        for name in tuple(least):
            began = clock()
            ways[name]()
            least[name] = min(least[name], clock() - began)
        best = min(least.values())
        if done == HEATS:
            least = {name: taken for name, taken in least.items() if taken <= HOPELESS * best}
    return next(name for name, taken in least.items() if taken <= MARGIN * best)
