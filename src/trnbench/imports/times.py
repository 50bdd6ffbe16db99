"""The step time of an imported log, by the statistics of measured ones. Pure."""

from collections.abc import Sequence

import numpy as np

from trnbench.analysis.metrics import exactly, unknown
from trnbench.analysis.statistics import (
    find_stalls,
    mean_interval,
    median_interval,
    percentile,
    single_launch_interval,
)
from trnbench.imports.base import ImportedLog, Sample
from trnbench.schema.result import MetricValue

LEAST_FOR_INTERVAL = 8
"""Samples that count, as for a measurement."""


class Times:
    """The step time of the samples that count, with intervals where there can be."""

    def __init__(self, mean: MetricValue, median: MetricValue) -> None:
        self.mean, self.median = mean, median
        self.method: str | None = None
        self.error: float | None = None
        self.p95 = unknown("its times are of several steps at a time")
        self.stalls: int | None = None
        self.stall_share = self.tail = unknown("its times are of several steps at a time")

    @classmethod
    def of(cls, kept: Sequence[Sample], log: ImportedLog) -> "Times":
        steps = sum(each.steps for each in kept)
        mean = sum(each.seconds * each.steps for each in kept) / steps
        seconds = np.array([each.seconds for each in kept])
        median = float(np.median(seconds))
        has_interval = log.has_repeats and len(kept) >= LEAST_FOR_INTERVAL and np.ptp(seconds) > 0
        times = cls(exactly(mean), exactly(median))
        if len(kept) < 2:
            times.median = unknown("a single mean says nothing of the typical step")
        if has_interval:
            whole = single_launch_interval(mean_interval(seconds))
            low, high = mean * whole.low / whole.value, mean * whole.high / whole.value
            times.mean = MetricValue(value=mean, low=low if low > 0 else None, high=high)
            middle = single_launch_interval(median_interval(seconds))
            times.median = MetricValue(
                value=median, low=middle.low if middle.low > 0 else None, high=middle.high
            )
            times.method, times.error = whole.method, whole.standard_error / whole.value
            if log.time_basis == "step":
                stalls = find_stalls(seconds)
                times.p95 = exactly(percentile(seconds, 95))
                times.stalls = stalls.count
                times.stall_share = exactly(stalls.share)
                times.tail = exactly(mean / median - 1)
        return times
