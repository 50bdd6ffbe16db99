"""What torch has captured and compiled so far, by its own counters: to tell warm-up from a step.

Source: torch 2.13, torch/_dynamo/utils.py: `counters` and `compilation_time_metrics`. Both are
torch's own, not its public promise: what is not there is unknown, never zero.
"""

import sys
from dataclasses import dataclass
from typing import Any

CACHE_HITS, CACHE_MISSES = "fxgraph_cache_hit", "fxgraph_cache_miss"
GRAPH_SECONDS = "compile_fx_inner"
"""Of one forward or backward graph, in inductor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilations:
    """Counts since the process began; None where nobody tells."""

    graphs: int | None = None
    """Captured by torch."""
    programs: int | None = None
    """Made by the device's compiler."""
    cache_hits: int | None = None
    """Found compiled."""
    seconds: tuple[float, ...] = ()
    """Of each compilation, as far as it is told."""

    def since(self, before: "Compilations") -> "Compilations":
        """Return what came about after another count of the same process."""
        return Compilations(
            graphs=_less(self.graphs, before.graphs),
            programs=_less(self.programs, before.programs),
            cache_hits=_less(self.cache_hits, before.cache_hits),
            seconds=self.seconds[len(before.seconds) :],
        )


def _less(count: int | None, before: int | None) -> int | None:
    return None if count is None else count - (before or 0)


def compilations_of_torch() -> Compilations:
    """Read torch's counters; a process that never compiled has none."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return Compilations(graphs=0, programs=0, cache_hits=0)
    inductor = dynamo.counters["inductor"]
    return Compilations(
        graphs=captured_graphs(),
        programs=int(inductor[CACHE_MISSES]),
        cache_hits=int(inductor[CACHE_HITS]),
        seconds=tuple(map(float, dynamo.compilation_time_metrics.get(GRAPH_SECONDS, ()))),
    )


def captured_graphs() -> int:
    """Return the number of graphs that torch.compile has captured."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else int(dynamo.counters["stats"]["unique_graphs"])
