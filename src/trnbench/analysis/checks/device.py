"""Checks of the device and the machine: that they did the case's work, and no other."""

from collections import Counter
from collections.abc import Sequence

from trnbench.analysis.case import Case, Finding, doubtful, invalid, not_judged, sound
from trnbench.analysis.energy import MAX_FOREIGN_CPU_SHARE, foreign_cpu_share
from trnbench.analysis.metrics import Basis, hfu, mfu, mfu_used_devices
from trnbench.analysis.peak_flops import MEASURED_HERE
from trnbench.catalog.accelerators import accelerator_of_device

OWN = ("python", "torch")
"""Versions that every backend has; the others are those of the device's own software."""

DEVICE_SOURCES = ("nvml", "neuron-monitor")

FAULT_FLAGS = ("ecc_uncorrected", "errors_hardware")


def check_placement(case: Case) -> Finding:
    """All weights are on the device, and in the dtype, that the case names."""
    built, order = case.measurement.built, case.plan.order
    if built is None or built.placement is None:
        return not_judged("the worker did not report where the weights were")
    dtypes = {"bfloat16" if order.precision in ("pure_bf16", "bf16_master") else "float32"}
    if order.step.lora is not None and order.precision != "fp32":
        dtypes |= {"bfloat16"}  # frozen weights
    seen = f"weights on {_few(built.placement)}"
    right = {(order.backend, dtype) for dtype in dtypes}
    wrong = [place for place in built.placement if _kind_and_dtype(place) not in right]
    if not wrong:
        return sound(seen)
    seen = (
        f"weights on {_few(wrong)}; {order.backend} in {' and '.join(sorted(dtypes))} was asked for"
    )
    return invalid(seen, "this is a bug in the backend: please report it")


def _kind_and_dtype(place: str) -> tuple[str, str]:
    """Split `neuron:0 float32`; what is not of this form comes to what no case names."""
    device, _, dtype = place.partition(" ")
    return device.partition(":")[0], dtype


def _few(places: Sequence[str]) -> str:
    more = f" and {len(places) - 4} more" if len(places) > 4 else ""
    return ", ".join(places[:4]) + more


def check_chip(case: Case) -> Finding:
    """The device is the chip whose peak and price the case uses."""
    planned, seen = case.plan.device.accelerator, case.measurement.environment
    if planned is None or seen is None:
        return not_judged("no chip was named, or none was opened")
    found = accelerator_of_device(seen.device_name)
    if found is None:
        return not_judged(
            f"no chip in the catalog reports the name {seen.device_name}; {planned} was planned"
        )
    if found.name == planned:
        return sound(f"{seen.device_name} is {planned}")
    wrong = f"{seen.device_name} is {found.name}, and its peak and price are those of {planned}"
    advice = "name the instance that this is (`price.instance`), or leave it to be recognised"
    return invalid(wrong, advice)


def check_fallback(case: Case) -> Finding:
    """No operator ran on the host's processor instead of the device, and none was emulated."""
    seen = case.measurement.environment
    has_no_bf16 = seen is not None and seen.settings.get("bf16_instructions") == "none"
    if has_no_bf16 and case.plan.order.precision != "fp32":
        slow = "this processor has no bf16 instructions: torch emulates each bf16 matmul, slowly"
        return doubtful(slow, "train in fp32 on this processor: `workload.precision: fp32`")
    found = [a.fallback_ops for a in case.measurement.activities if a.fallback_ops is not None]
    if not found:
        return not_judged("this device's software does not report it")
    if not any(found):
        return sound("every operator ran on the device")
    names = sorted(name for name in found[-1] or max(found, key=len))
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    advice = "these times are not the device's: use an operator that it has, or a newer SDK"
    return invalid(f"ran on the processor instead of the device: {listed}", advice)


def check_recompiled(case: Case) -> Finding:
    """Nothing was compiled once measuring had begun."""
    blocks = case.measured_blocks
    counts = [(a.steps, (a.graphs, a.compilations)) for a in case.measurement.activities]
    if not blocks or not counts or counts[-1][1] == (None, None):
        return not_judged("no record says what was compiled when")
    first = blocks[0].first_step
    before = [count for steps, count in counts if steps <= first]
    later = [(steps, count) for steps, count in counts if steps > first]
    grown = [steps for steps, count in later if not before or count != before[-1]]
    if not grown:
        return sound("nothing was compiled in the measuring")
    compiled = f"something was compiled in the measuring, by step {grown[0]}"
    advice = "shapes must stay as they are; see the activity records of its measurement.jsonl"
    return invalid(compiled, advice)


def check_proven(case: Case) -> Finding:
    """The project has run this backend on a device of this kind before."""
    environment = case.measurement.environment
    if environment is None:
        return not_judged("the worker did not report its device")
    if environment.proven:
        return sound(f"the {environment.backend} backend is proven")
    # A stand-in for a vendor's package is recognised by its version.
    packages = [f"{name} {v}" for name, v in environment.versions.items() if name not in OWN]
    with_them = f" (here with {', '.join(packages)})" if packages else ""
    untried = f"the {environment.backend} backend was never run on such a device by the project"
    advice = "compare the figure with another tool's before you rely on it"
    return doubtful(f"{untried}{with_them}", advice)


def check_possible(basis: Basis) -> Finding:
    """The work that the mask leaves was not faster than the chips' peak.

    Keys that a window or a causal mask hides are left out: a kernel may skip them.
    """
    used = basis.utilization
    if used.convention not in used.flops_per_token:
        return not_judged(used.flops_reason or "its operations were not counted")
    if used.peak_flops_per_second is None:
        return not_judged(used.peak_reason or "no peak is known")
    if basis.tokens_per_second.value is None:
        return not_judged("there is no throughput")
    found = [mfu(basis), mfu_used_devices(basis)]
    if used.recomputed_flops_per_token is not None:
        found.append(hfu(basis))
    for value in found:
        if value.value is None:
            advice = "the device had not finished when the clock was stopped, or the peak is wrong"
            if (used.peak_source or "").startswith(MEASURED_HERE):
                advice = "other work held the processor while its peak was measured: measure again"
            return invalid(value.reason or "", advice)
    highest = max(value.value for value in found if value.value is not None)
    return sound(f"{highest:.1%} of the peak at most")


def check_foreign_load(case: Case) -> Finding:
    """Other work did not keep the processors busy while the case measured."""
    share = foreign_cpu_share(case.measurement)
    if share is None:
        return not_judged("the measuring was too short to look")
    seen = f"others used {share:.1%} of the processors"
    if share <= MAX_FOREIGN_CPU_SHARE:
        return sound(seen)
    return doubtful(seen, "stop the other work and measure again")


def check_throttling(case: Case) -> Finding:
    """The device did not throttle, and its memory and hardware made no errors."""
    valid = [reading for reading in case.measurement.readings if reading.is_valid]
    if not any(reading.source in DEVICE_SOURCES for reading in valid):
        return not_judged("no source reported the device's state")
    flags = Counter(
        flag
        for reading in valid
        for flag in reading.flags
        if flag.startswith("throttle_") or flag in FAULT_FLAGS
    )
    if not flags:
        return sound(f"no throttling in {len(valid)} readings")
    seen = ", ".join(f"{flag} in {count} readings" for flag, count in sorted(flags.items()))
    return doubtful(seen, "see to cooling and power, or replace the device; measure again")
