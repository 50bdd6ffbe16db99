"""The step time of an imported log, by the statistics of measured ones. Pure."""

from collections.abc import Sequence
from statistics import geometric_mean

import numpy as np
from numpy.typing import NDArray

from trnbench.analysis.metrics import exactly, unknown
from trnbench.analysis.statistics import (
    find_stalls,
    interval_of,
    mean_interval,
    median_interval,
    percentile,
    single_launch_interval,
)
from trnbench.imports.base import ImportedLog
from trnbench.schema.result import MetricValue

LEAST_FOR_INTERVAL = 8
"""Samples that count, as for a measurement."""


class Times:
    """The step time of the samples that count, with intervals where there can be."""

    def __init__(self, mean: MetricValue, median: MetricValue) -> None:
        self.mean, self.median = mean, median
        self.samples = 0
        self.total_seconds = 0.0
        self.method: str | None = None
        self.error: float | None = None
        self.p95 = unknown("its times are of several steps at a time")
        self.stalls: int | None = None
        self.stall_share = self.tail = unknown("its times are of several steps at a time")

    @classmethod
    def of(
        cls, steps: NDArray[np.int64], seconds: NDArray[np.float64], log: ImportedLog
    ) -> "Times":
        """Return those of one segment: of each sample its steps, and the seconds of one of them."""
        mean = float(np.dot(seconds, steps) / steps.sum())
        median = float(np.median(seconds))
        count = len(seconds)
        has_interval = log.has_repeats and count >= LEAST_FOR_INTERVAL and np.ptp(seconds) > 0
        times = cls(exactly(mean), exactly(median))
        times.samples, times.total_seconds = count, float(np.dot(seconds, steps))
        if count < 2:
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

    @classmethod
    def pooled(cls, segments: Sequence["Times"]) -> "Times":
        """Return those of a job that was started again: each segment is one value, as launches are.

        Source: docs/metrics.md, "Launches".
        """
        if len(segments) == 1:
            return segments[0]
        errors = [each.error for each in segments]
        mean, median = (
            _between([getattr(each, name) for each in segments], errors)
            for name in ("mean", "median")
        )
        times = cls(mean, median)
        times.samples = sum(each.samples for each in segments)
        times.total_seconds = sum(each.total_seconds for each in segments)
        times.method = None if mean.low is None else "between segments"
        if all(each.stalls is not None for each in segments):
            times.stalls = sum(each.stalls or 0 for each in segments)
            times.p95, times.stall_share = (
                exactly(float(np.mean([getattr(each, name).value for each in segments])))
                for name in ("p95", "stall_share")
            )
            times.tail = exactly((mean.value or 0.0) / (median.value or 1.0) - 1)
        return times


def _between(values: Sequence[MetricValue], errors: Sequence[float | None]) -> MetricValue:
    lacking = next((value for value in values if value.value is None), None)
    if lacking is not None:
        return lacking
    known = [value.value for value in values if value.value is not None]
    found = interval_of(known, errors)
    if found is None:
        return MetricValue(value=geometric_mean(known))
    value, low, high = found
    return MetricValue(value=value, low=low, high=high)
