"""The peak that a utilization is a part of, with its source, or why there is none.

A chip's peak is its maker's dense figure for this precision. A CPU's is measured, in the same run,
the same arithmetic and the same threads (docs/metrics.md, "A CPU's peak"). No chip ever takes
another's. Beside the peak stands the ceiling, which is measured on any device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trnbench.catalog.accelerators import accelerators
from trnbench.schema.plan import Plan
from trnbench.schema.units import say_flops_per_second
from trnbench.wire import Ceiling

MEASURED_HERE = "measured in this run"
"""How the source of a CPU's peak begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Operations per second of all chips that are paid for; either a figure or a reason."""

    flops_per_second: float | None
    source: str | None = None
    reason: str | None = None


def find_peak(plan: Plan, ceilings: Sequence[Ceiling]) -> Peak:
    """Return the peak of a case's chips for the precision of its matrix products."""
    if plan.order.backend == "cpu":
        missing = "the case ended before the processor's peak was measured"
        if not plan.order.measure_ceiling:
            missing = "measure.ceiling is off, and a processor has no other peak"
        return _best_median(ceilings, 1, missing)
    if plan.device.accelerator is None:
        return Peak(flops_per_second=None, reason="the catalog knows no peak of this device")
    chip = accelerators()[plan.device.accelerator]
    peak = chip.peak_flops_per_second(plan.workload.precision)
    if peak is None:
        reason = f"no {plan.workload.precision} peak of {chip.name} is published"
        return Peak(flops_per_second=None, reason=reason)
    chips = plan.device.chips_billed
    return Peak(
        flops_per_second=peak * chips,
        source=f"{chips} x {say_flops_per_second(peak)} of {chip.name}: {chip.source}",
    )


def find_ceiling(plan: Plan, ceilings: Sequence[Ceiling]) -> Peak:
    """Return what products alone came to on the devices that the job drives, where it was timed."""
    missing = "the case ended before the device's ceiling was measured"
    if not plan.order.measure_ceiling:
        missing = "measure.ceiling is off, as it is by default where products must be compiled"
    return _best_median(ceilings, plan.device.devices_used, missing)


def _best_median(ceilings: Sequence[Ceiling], devices: int, missing: str) -> Peak:
    """Return the best median of all sizes: other work only lowers it."""
    rates = [
        (float(np.median(point.flops_per_second)), point.size, ceiling.dtype)
        for ceiling in ceilings
        for point in ceiling.points
    ]
    if not rates:
        return Peak(flops_per_second=None, reason=missing)
    rate, size, dtype = max(rates)
    several = f"{devices} x " if devices > 1 else ""
    return Peak(
        flops_per_second=rate * devices,
        source=f"{MEASURED_HERE}: {several}{size} x {size} matrix products in {dtype}",
    )
