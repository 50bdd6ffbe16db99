"""How much memory the job took at its fullest."""

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import exactly, unknown
from trnbench.schema.result import MetricValue


def peak_memory_bytes(evidence: Evidence) -> MetricValue:
    """The device's own peak counter; for a CPU the resident set of the process.

    A case that ended early has the largest resident set that the parent saw, if it trained on the
    CPU.
    """
    memory = evidence.measurement.memory
    if memory is not None and memory.peak_bytes is not None:
        return exactly(memory.peak_bytes)
    if memory is not None:
        return unknown(memory.counted)
    seen = [watch.worker_rss_bytes for watch in evidence.measurement.watches]
    if seen and evidence.plan.order.backend == "cpu":
        return exactly(max(seen))
    return unknown("the case ended before its memory was read")
