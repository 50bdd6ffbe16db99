"""What of a case's start was compiling: made anew, found in a cache, or failed.

Counts are the child's own (`Activity`): programs made, programs found, graphs captured. They are
told apart here and never mixed into a throughput.
"""

from collections.abc import Sequence

from trnbench.schema.plan import Plan
from trnbench.schema.records import Outcome
from trnbench.schema.result import CompileCache, ResultCompilation
from trnbench.wire import Activity


def summarize_compilation(
    plan: Plan, activities: Sequence[Activity], outcome: Outcome
) -> ResultCompilation:
    """Return how the case's programs came about, by the last word on them."""
    last = activities[-1] if activities else None
    seconds = tuple(last.compile_seconds) if last else ()
    return ResultCompilation(
        execution=plan.order.execution,
        cache="failed" if outcome.status == "compile_failure" else _cache_of(last),
        graphs=last.graphs if last else None,
        programs=last.compilations if last else None,
        cache_hits=last.cache_hits if last else None,
        seconds_per_program=seconds,
    )


def _cache_of(activity: Activity | None) -> CompileCache:
    """Say where the programs came from; a device that counts neither way is unknown.

    A device without a counter of hits (the Neuron backend: its programs are counted as files) that
    captured graphs and made no program has found them all.
    """
    if activity is None or activity.compilations is None:
        return "unknown"
    made, found, graphs = activity.compilations, activity.cache_hits, activity.graphs
    if made:
        return "mixed" if found else "cold"
    if found or graphs:
        return "cached"
    return "none"
