"""The peak FLOP/s that a utilization is a part of, and the ceiling, measured on any device.

A chip's peak is its maker's dense figure for this precision; a CPU's is measured in the same run.
Source: docs/metrics.md, "MFU", "A CPU's peak" and "The measured ceiling".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.backends import backend_of
from trnbench.model.flops import fp8_flops_per_token, mixed_rate
from trnbench.protocol.records import Ceiling
from trnbench.schema.plan import Plan
from trnbench.schema.result import ResultFp8
from trnbench.units import say_flops_per_second

FP8_DTYPE = "float8_e4m3fn"
"""As a worker names it."""

MEASURED_HERE = "measured in this run"
"""How the source of a measured peak begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Of all billed chips, or of the devices driven; either a figure or a reason."""

    flops_per_second: float | None = None
    """Of matmuls that are partly fp8, the rate at which both parts together are done."""
    fp8: ResultFp8 | None = None
    """The two rates that it is mixed of."""
    source: str | None = None
    reason: str | None = None


def find_peak(plan: Plan, ceilings: Sequence[Ceiling]) -> Peak:
    """Return the peak of a case's billed chips for the precision of its matmuls."""
    if backend_of(plan.order.backend).is_host:
        missing = "the case ended before the processor's peak was measured"
        if not plan.order.measure_ceiling:
            missing = "measure.ceiling is off, and a processor has no other peak"
        return _best_median(ceilings, plan.device.devices_used, missing)
    if plan.device.accelerator is None:
        return Peak(reason="the catalog has no peak of this device")
    chip = accelerators()[plan.device.accelerator]
    peak = chip.peak_flops_per_second(plan.workload.precision)
    if peak is None:
        return Peak(reason=f"no {plan.workload.precision} peak of {chip.name} is published")
    chips = plan.device.chips_billed
    if plan.workload.precision == "fp8":
        fp8 = chip.fp8_flops_per_second
        if fp8 is None:
            return Peak(reason=f"no fp8 peak of {chip.name} is published")
        each = f"{say_flops_per_second(fp8)} in fp8 and {say_flops_per_second(peak)} in bf16"
        return _mixed(
            plan, fp8 * chips, peak * chips, f"{chips} x {each} of {chip.name}: {chip.source}"
        )
    return Peak(
        flops_per_second=peak * chips,
        source=f"{chips} x {say_flops_per_second(peak)} of {chip.name}: {chip.source}",
    )


def find_ceiling(plan: Plan, ceilings: Sequence[Ceiling]) -> Peak:
    """Return the measured rate of matmuls alone on the devices that the job drives."""
    missing = "the case ended before the device's ceiling was measured"
    if not plan.order.measure_ceiling:
        missing = "measure.ceiling is off, as it is by default where matmuls must be compiled"
    devices = plan.device.devices_used
    if plan.workload.precision != "fp8":
        return _best_median(ceilings, devices, missing)
    fp8, other = (
        _best_median([c for c in ceilings if (c.dtype == FP8_DTYPE) == is_fp8], devices, missing)
        for is_fp8 in (True, False)
    )
    if fp8.flops_per_second is None or other.flops_per_second is None:
        return Peak(reason=missing)
    source = f"{fp8.source}; {other.source}"
    return _mixed(plan, fp8.flops_per_second, other.flops_per_second, source)


def _mixed(plan: Plan, fp8_rate: float, other_rate: float, source: str) -> Peak:
    """Return the rate of the case's work, which is partly fp8."""
    fp8 = fp8_flops_per_token(plan.model.own_shape)
    flops = plan.prediction.flops_per_token[plan.flops_convention]
    return Peak(
        flops_per_second=mixed_rate(flops, fp8, fp8_rate, other_rate),
        fp8=ResultFp8(
            flops_per_token=fp8, flops_per_second=fp8_rate, other_flops_per_second=other_rate
        ),
        source=source,
    )


def _best_median(ceilings: Sequence[Ceiling], devices: int, missing: str) -> Peak:
    """Return the best median of all sizes: other work on the device only lowers one."""
    rates = [
        (float(np.median(point.flops_per_second)), point.size, ceiling.dtype)
        for ceiling in ceilings
        for point in ceiling.points
    ]
    if not rates:
        return Peak(reason=missing)
    rate, size, dtype = max(rates)
    several = f"{devices} x " if devices > 1 else ""
    return Peak(
        flops_per_second=rate * devices,
        source=f"{MEASURED_HERE}: {several}{size} x {size} matrix products in {dtype}",
    )
