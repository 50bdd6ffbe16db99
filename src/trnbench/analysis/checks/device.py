"""Whether the work was done where, on what and as the case says, and no faster than can be."""

from trnbench.analysis.checks.base import said
from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import Basis
from trnbench.analysis.metrics.utilization import hfu, mfu, mfu_full, mfu_used_devices
from trnbench.analysis.peak import MEASURED_HERE
from trnbench.catalog.accelerators import accelerator_of_device
from trnbench.model.flops import FULL_CONVENTION
from trnbench.schema.result import CheckOutcome

OWN = ("python", "torch")
"""Versions that every backend has; the others are those of the device's own software."""


def check_placement(evidence: Evidence) -> CheckOutcome:
    """All weights lay on the device that the case names, in the type of number it names."""
    built, order = evidence.measurement.built, evidence.plan.order
    if built is None or built.placement is None:
        return said("placement", "not_judged", "the worker did not tell where the weights lay")
    dtypes = {"bfloat16" if order.precision in ("pure_bf16", "bf16_master") else "float32"}
    if order.step.lora is not None and order.precision != "fp32":
        dtypes |= {"bfloat16"}  # what is frozen
    seen = f"weights on {', '.join(built.placement)}"
    wrong = [
        place
        for place in built.placement
        if place.split()[0].partition(":")[0] != order.backend or place.split()[1] not in dtypes
    ]
    if not wrong:
        return said("placement", "sound", seen)
    return said(
        "placement",
        "invalid",
        f"{seen}; {order.backend} in {' and '.join(sorted(dtypes))} was asked for",
        "this is a bug in the backend: please report it",
    )


def check_chip(evidence: Evidence) -> CheckOutcome:
    """The device is the chip whose peak and price the case takes."""
    planned, seen = evidence.plan.device.accelerator, evidence.measurement.environment
    if planned is None or seen is None:
        return said("chip", "not_judged", "no chip was named, or none was opened")
    found = accelerator_of_device(seen.device_name)
    if found is None:
        doubt = f"the catalog knows no chip that calls itself {seen.device_name}"
        return said("chip", "not_judged", f"{doubt}; {planned} was planned")
    if found.name == planned:
        return said("chip", "sound", f"{seen.device_name} is {planned}")
    return said(
        "chip",
        "invalid",
        f"{seen.device_name} is {found.name}, and its peak and price are those of {planned}",
        "name the instance that this is (`price.instance`), or leave it to be recognised",
    )


def check_fallback(evidence: Evidence) -> CheckOutcome:
    """No operator ran on the host's processor in the device's stead."""
    told = [a.fallback_ops for a in evidence.measurement.activities if a.fallback_ops is not None]
    if not told:
        return said("fallback", "not_judged", "this device's software does not tell")
    if not any(told):
        return said("fallback", "sound", "every operator ran on the device")
    names = sorted(name for name in told[-1] or max(told, key=len))
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return said(
        "fallback",
        "invalid",
        f"ran on the processor instead of the device: {listed}",
        "these times are not the device's: use an operator that it has, or a newer SDK",
    )


def check_recompiled(evidence: Evidence) -> CheckOutcome:
    """Nothing was compiled once measuring had begun."""
    activities, blocks = evidence.measurement.activities, evidence.measurement.blocks
    measured = [block.first_step for block in blocks if block.purpose == "measure"]
    counts = [(a.steps, (a.graphs, a.compilations)) for a in activities]
    if not measured or not counts or counts[-1][1] == (None, None):
        return said("recompiled", "not_judged", "nothing tells what was compiled when")
    before = [count for steps, count in counts if steps <= measured[0]]
    later = [(steps, count) for steps, count in counts if steps > measured[0]]
    grown = [steps for steps, count in later if not before or count != before[-1]]
    if not grown:
        return said("recompiled", "sound", "nothing was compiled in the measuring")
    return said(
        "recompiled",
        "invalid",
        f"something was compiled in the measuring, by step {grown[0]}",
        "shapes must stay as they are; see the activity records of its measurement.jsonl",
    )


def check_proven(evidence: Evidence) -> CheckOutcome:
    """The project has run this backend on a device of this kind before."""
    environment = evidence.measurement.environment
    if environment is None:
        return said("proven", "not_judged", "the worker never told its device")
    if environment.proven:
        return said("proven", "sound", f"the {environment.backend} backend is proven")
    # A stand-in for a vendor's package is told by its version.
    packages = [f"{name} {v}" for name, v in environment.versions.items() if name not in OWN]
    with_them = f" (here with {', '.join(packages)})" if packages else ""
    return said(
        "proven",
        "doubtful",
        f"the {environment.backend} backend was never run on such a device by the project"
        f"{with_them}",
        "hold the figure against another tool's before you rely on it",
    )


def check_possible(basis: Basis) -> CheckOutcome:
    """The work was not faster than the chips can be."""
    counted = basis.utilization.flops_per_token
    if basis.utilization.convention not in counted:
        reason = basis.utilization.flops_reason or "nobody counted its operations"
        return said("possible", "not_judged", reason)
    by_convention = [mfu(basis), mfu_used_devices(basis), hfu(basis)]
    if FULL_CONVENTION in counted:
        by_convention.append(mfu_full(basis))
    if basis.utilization.peak_flops_per_second is None:
        reason = basis.utilization.peak_reason or "no peak is known"
        return said("possible", "not_judged", reason)
    if basis.tokens_per_second.value is None:
        return said("possible", "not_judged", "there is no throughput")
    for value in by_convention:
        if value.value is None:
            advice = "the device had not finished when the clock was stopped, or the peak is wrong"
            if (basis.utilization.peak_source or "").startswith(MEASURED_HERE):
                advice = "other work held the processor while its peak was measured: measure again"
            return said("possible", "invalid", value.reason or "", advice)
    highest = max(value.value for value in by_convention if value.value is not None)
    return said("possible", "sound", f"{highest:.1%} of the peak at most")
