"""How long the device's compiler took; reported apart, and never part of a throughput."""

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import exactly, unknown
from trnbench.schema.result import MetricValue


def compile_seconds(evidence: Evidence) -> MetricValue:
    """Seconds of all compilations that the compiler told of, summed; they may have overlapped."""
    activities = evidence.measurement.activities
    if not activities:
        return unknown("the case ended before anything was told of its compilations")
    last = activities[-1]
    if last.compile_seconds:
        return exactly(sum(last.compile_seconds))
    if last.compilations == 0:
        return exactly(0.0)
    return unknown("this device's compiler does not tell how long it took")
