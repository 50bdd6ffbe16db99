"""Whether the work was done where and as the case says, by a device and machine free for it."""

import statistics
from collections import Counter

from trnbench.analysis.case import Case, judged
from trnbench.analysis.metrics import Basis, hfu, mfu, mfu_full, mfu_used_devices
from trnbench.analysis.peak_flops import MEASURED_HERE
from trnbench.catalog.accelerators import accelerator_of_device
from trnbench.model.flops import FULL_CONVENTION
from trnbench.schema.result import CheckOutcome

OWN = ("python", "torch")
"""Versions that every backend has; the others are those of the device's own software."""

MAX_FOREIGN_CPU_SHARE = 0.05

DEVICE_SOURCES = ("nvml", "neuron-monitor")

FAULT_FLAGS = ("ecc_uncorrected", "errors_hardware")

MAX_RANK_LAG = 0.02

SLOWEST_OVER_EVEN = 3.0
"""Times as often the slowest as each of even ranks would be, and no more than 90 % of all: that is
what makes one rank slow, where chance makes another one the slowest each time."""

FEWEST_RANK_SAMPLES = 10


def check_placement(case: Case) -> CheckOutcome:
    """All weights lay on the device that the case names, in the type of number it names."""
    built, order = case.measurement.built, case.plan.order
    if built is None or built.placement is None:
        return judged("placement", "not_judged", "the worker did not tell where the weights lay")
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
        return judged("placement", "sound", seen)
    return judged(
        "placement",
        "invalid",
        f"{seen}; {order.backend} in {' and '.join(sorted(dtypes))} was asked for",
        "this is a bug in the backend: please report it",
    )


def check_chip(case: Case) -> CheckOutcome:
    """The device is the chip whose peak and price the case takes."""
    planned, seen = case.plan.device.accelerator, case.measurement.environment
    if planned is None or seen is None:
        return judged("chip", "not_judged", "no chip was named, or none was opened")
    found = accelerator_of_device(seen.device_name)
    if found is None:
        doubt = f"the catalog knows no chip that calls itself {seen.device_name}"
        return judged("chip", "not_judged", f"{doubt}; {planned} was planned")
    if found.name == planned:
        return judged("chip", "sound", f"{seen.device_name} is {planned}")
    return judged(
        "chip",
        "invalid",
        f"{seen.device_name} is {found.name}, and its peak and price are those of {planned}",
        "name the instance that this is (`price.instance`), or leave it to be recognised",
    )


def check_fallback(case: Case) -> CheckOutcome:
    """No operator ran on the host's processor instead of the device, and none was emulated."""
    seen = case.measurement.environment
    has_no_bf16 = seen is not None and seen.settings.get("bf16_instructions") == "none"
    if has_no_bf16 and case.plan.order.precision != "fp32":
        return judged(
            "fallback",
            "doubtful",
            "this processor has no bf16 instructions: torch emulates each bf16 matmul, slowly",
            "train in fp32 on this processor: `workload.precision: fp32`",
        )
    told = [a.fallback_ops for a in case.measurement.activities if a.fallback_ops is not None]
    if not told:
        return judged("fallback", "not_judged", "this device's software does not tell")
    if not any(told):
        return judged("fallback", "sound", "every operator ran on the device")
    names = sorted(name for name in told[-1] or max(told, key=len))
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return judged(
        "fallback",
        "invalid",
        f"ran on the processor instead of the device: {listed}",
        "these times are not the device's: use an operator that it has, or a newer SDK",
    )


def check_recompiled(case: Case) -> CheckOutcome:
    """Nothing was compiled once measuring had begun."""
    activities, blocks = case.measurement.activities, case.measurement.blocks
    measured = [block.first_step for block in blocks if block.purpose == "measure"]
    counts = [(a.steps, (a.graphs, a.compilations)) for a in activities]
    if not measured or not counts or counts[-1][1] == (None, None):
        return judged("recompiled", "not_judged", "nothing tells what was compiled when")
    before = [count for steps, count in counts if steps <= measured[0]]
    later = [(steps, count) for steps, count in counts if steps > measured[0]]
    grown = [steps for steps, count in later if not before or count != before[-1]]
    if not grown:
        return judged("recompiled", "sound", "nothing was compiled in the measuring")
    return judged(
        "recompiled",
        "invalid",
        f"something was compiled in the measuring, by step {grown[0]}",
        "shapes must stay as they are; see the activity records of its measurement.jsonl",
    )


def check_proven(case: Case) -> CheckOutcome:
    """The project has run this backend on a device of this kind before."""
    environment = case.measurement.environment
    if environment is None:
        return judged("proven", "not_judged", "the worker never told its device")
    if environment.proven:
        return judged("proven", "sound", f"the {environment.backend} backend is proven")
    # A stand-in for a vendor's package is told by its version.
    packages = [f"{name} {v}" for name, v in environment.versions.items() if name not in OWN]
    with_them = f" (here with {', '.join(packages)})" if packages else ""
    return judged(
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
        return judged("possible", "not_judged", reason)
    by_convention = [mfu(basis), mfu_used_devices(basis), hfu(basis)]
    if FULL_CONVENTION in counted:
        by_convention.append(mfu_full(basis))
    if basis.utilization.peak_flops_per_second is None:
        reason = basis.utilization.peak_reason or "no peak is known"
        return judged("possible", "not_judged", reason)
    if basis.tokens_per_second.value is None:
        return judged("possible", "not_judged", "there is no throughput")
    for value in by_convention:
        if value.value is None:
            advice = "the device had not finished when the clock was stopped, or the peak is wrong"
            if (basis.utilization.peak_source or "").startswith(MEASURED_HERE):
                advice = "other work held the processor while its peak was measured: measure again"
            return judged("possible", "invalid", value.reason or "", advice)
    highest = max(value.value for value in by_convention if value.value is not None)
    return judged("possible", "sound", f"{highest:.1%} of the peak at most")


def check_foreign_load(case: Case) -> CheckOutcome:
    """Nobody else kept the processors busy meanwhile."""
    watches = [w for w in case.measurement.watches if w.purpose == "measure"]
    seconds = sum(watch.seconds for watch in watches)
    if not seconds:
        return judged("foreign_load", "not_judged", "the measuring was too short to look")
    share = sum(w.foreign_cpu_share * w.seconds for w in watches) / seconds
    seen = f"others used {share:.1%} of the processors"
    if share <= MAX_FOREIGN_CPU_SHARE:
        return judged("foreign_load", "sound", seen)
    return judged("foreign_load", "doubtful", seen, "stop the other work and measure again")


def check_throttling(case: Case) -> CheckOutcome:
    """The device did not slow itself down, and its memory made no errors."""
    readings = case.measurement.readings
    valid = [reading for reading in readings if reading.is_valid]
    if not any(reading.source in DEVICE_SOURCES for reading in valid):
        return judged("throttling", "not_judged", "no source told of the device's own state")
    flags = Counter(
        flag
        for reading in valid
        for flag in reading.flags
        if flag.startswith("throttle_") or flag in FAULT_FLAGS
    )
    if not flags:
        return judged("throttling", "sound", f"no throttling in {len(valid)} readings")
    seen = ", ".join(f"{flag} in {count} readings" for flag, count in sorted(flags.items()))
    advice = "see to cooling and power, or replace the device; measure again"
    return judged("throttling", "doubtful", seen, advice)


def check_ranks(case: Case) -> CheckOutcome:
    """No rank is slower than the others again and again, so that all wait for it.

    Source: docs/metrics.md, "Checks", slow rank.
    """
    name = "ranks"
    blocks = [b.rank_seconds for b in case.measurement.blocks if b.purpose == "measure"]
    told = [seconds for seconds in blocks if seconds is not None and len(seconds) > 1]
    if not told:
        return judged(name, "not_judged", "one rank has no other to be slower than")
    count = min(len(seconds) for seconds in told)
    if len(told) < FEWEST_RANK_SAMPLES:
        few = f"{len(told)} samples of {count} ranks are too few to tell chance from a slow one"
        return judged(name, "not_judged", few)
    slowest = Counter(max(range(count), key=seconds.__getitem__) for seconds in told)
    rank, times = slowest.most_common(1)[0]
    middles = [statistics.median(seconds[i] for seconds in told) for i in range(count)]
    own = middles.pop(rank)
    lag = own / statistics.median(middles) - 1
    seen = f"rank {rank} of {count} is the slowest in {times / len(told):.0%}, by {lag:+.1%}"
    often = times / len(told) > min(SLOWEST_OVER_EVEN / count, 0.9)
    if not often or lag <= MAX_RANK_LAG:
        return judged(name, "sound", seen)
    advice = "all ranks wait for it: look at its device's clock, cooling and links, or replace it"
    return judged(name, "doubtful", seen, advice)
