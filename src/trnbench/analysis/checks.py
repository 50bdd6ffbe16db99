"""Doubts as data: each check looks at one thing, says what it saw, and what to do about it.

A check that finds the training or the measurement wrong makes the result invalid; one that finds
it less certain than it looks makes it doubtful. Rules and thresholds: docs/metrics.md, "Checks".
"""

from collections import Counter
from collections.abc import Callable

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.gate import check_movement, check_parity
from trnbench.analysis.metrics.base import Basis
from trnbench.analysis.metrics.utilization import hfu, mfu, mfu_full, mfu_used_devices
from trnbench.analysis.peak import MEASURED_HERE
from trnbench.analysis.summary import StepTimes
from trnbench.analysis.training_checks import (
    check_finite,
    check_initial_loss,
    check_leakage,
    check_learning,
    check_parameters,
    said,
)
from trnbench.catalog.accelerators import accelerator_of_device
from trnbench.schema.result import CheckOutcome, Standing
from trnbench.schema.units import say_seconds

MAX_TAIL_OVERHEAD = 0.02
MAX_FOREIGN_CPU_SHARE = 0.05
MIN_ACCOUNTED_SHARE = 0.9
MAX_CLOCK_DIFFERENCE = 0.02
DEVICE_SOURCES = ("nvml", "neuron-monitor")
OWN = ("python", "torch")
"""Versions that every backend has; the others are those of the device's own software."""
FAULT_FLAGS = ("ecc_uncorrected", "errors_hardware")


def check_finished(evidence: Evidence) -> CheckOutcome:
    """The case was measured to its planned end."""
    outcome = evidence.outcome
    if outcome.status == "finished":
        return said("finished", "sound", outcome.reason)
    return said("finished", "doubtful", f"{outcome.status}: {outcome.reason}", outcome.hint)


def check_plan(evidence: Evidence) -> CheckOutcome:
    """The plan beside the measurement is the one that it was made by."""
    if evidence.is_plan_unchanged:
        return said("plan", "sound", "the plan is the one that the measurement names")
    return said(
        "plan",
        "invalid",
        "plan.json is not the plan that this measurement was made by",
        "put the old plan.json back, or measure again",
    )


def check_steady(evidence: Evidence) -> CheckOutcome:
    """The step time settled, and stayed where it was."""
    state = evidence.summary.steady
    if state is None:
        return said("steady", "not_judged", "there are too few samples")
    if state.verdict == "steady":
        return said("steady", "sound", state.evidence)
    advice = "look for throttling or other work on this machine; allow more measure.max_minutes"
    return said("steady", "doubtful", f"{state.verdict}: {state.evidence}", advice)


def check_tail(evidence: Evidence) -> CheckOutcome:
    """Mean and median agree, and no handful of stalls decides the mean."""
    times = evidence.summary.step_times
    if times is None:
        return said("tail", "not_judged", "there are too few samples")
    overhead = times.mean.value / times.median.value - 1
    seen = f"mean {overhead:+.1%} from the median, {times.stalls.count} stalls{_longest(times)}"
    if not times.is_tail_dominated and overhead <= MAX_TAIL_OVERHEAD:
        return said("tail", "sound", seen)
    advice = "some steps are much slower than most: measure for longer, and look for their cause"
    if times.is_tail_dominated:
        advice = "rare stalls decide the mean: its interval cannot be trusted; measure for longer"
    return said("tail", "doubtful", seen, advice)


def check_precision(evidence: Evidence) -> CheckOutcome:
    """The interval is as narrow, and rests on as many samples, as was asked for."""
    asked, times = evidence.plan.measure, evidence.summary.step_times
    if times is None:
        return said("precision", "not_judged", "there are too few samples")
    taken = len(evidence.summary.samples)
    seen = (
        f"±{times.relative_half_width:.2%} within this launch from {times.mean.n} samples, "
        f"±{asked.relative_precision:.2%} asked for"
    )
    if taken < asked.min_samples:
        few = f"{seen}; {asked.min_samples} samples were the least"
        return said("precision", "doubtful", few, "allow more measure.max_minutes")
    if times.relative_half_width <= asked.relative_precision:
        return said("precision", "sound", seen)
    return said(
        "precision", "doubtful", seen, "allow more measure.max_minutes or measure.max_samples"
    )


def check_foreign_load(evidence: Evidence) -> CheckOutcome:
    """Nobody else kept the processors busy meanwhile."""
    watches = [w for w in evidence.measurement.watches if w.purpose == "measure"]
    seconds = sum(watch.seconds for watch in watches)
    if not seconds:
        return said("foreign_load", "not_judged", "the measuring was too short to look")
    share = sum(w.foreign_cpu_share * w.seconds for w in watches) / seconds
    seen = f"others used {share:.1%} of the processors"
    if share <= MAX_FOREIGN_CPU_SHARE:
        return said("foreign_load", "sound", seen)
    return said("foreign_load", "doubtful", seen, "stop the other work and measure again")


def check_accounted_time(evidence: Evidence) -> CheckOutcome:
    """The timed blocks cover the time in which they were taken.

    A throughput over blocks that leave out much of the clock is not what a rented hour yields.
    """
    summary, name = evidence.summary, "accounted_time"
    if not summary.spanned_seconds:
        return said(name, "not_judged", "nothing was timed")
    share = summary.timed_seconds / summary.spanned_seconds
    prepared = sum(b.prepare_seconds for b in evidence.measurement.blocks if b.purpose == "measure")
    seen = (
        f"timed steps cover {share:.0%} of {say_seconds(summary.spanned_seconds)}; making tokens "
        f"took {prepared / summary.spanned_seconds:.0%}"
    )
    if share >= MIN_ACCOUNTED_SHARE:
        return said(name, "sound", seen)
    advice = "steps are short against what happens between blocks: use a larger global_batch_size"
    return said(name, "doubtful", seen, advice)


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
    by_convention = (mfu(basis), mfu_full(basis), mfu_used_devices(basis), hfu(basis))
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


def check_clocks(evidence: Evidence) -> CheckOutcome:
    """The device's own events and the host's clock tell the same time."""
    both = [
        (block.seconds, block.event_seconds)
        for block in evidence.measurement.blocks
        if block.purpose == "measure" and block.event_seconds is not None
    ]
    if not both:
        return said("clocks", "not_judged", "this device has no events that can be trusted")
    by_clock, by_events = sum(c for c, _ in both), sum(e for _, e in both)
    apart = by_events / by_clock - 1
    seen = f"the device's events differ by {apart:+.2%} from the clock"
    if abs(apart) <= MAX_CLOCK_DIFFERENCE:
        return said("clocks", "sound", seen)
    return said("clocks", "doubtful", seen, "steps may be too short for a clock around them")


def check_throttling(evidence: Evidence) -> CheckOutcome:
    """The device did not slow itself down, and its memory made no errors."""
    readings = evidence.measurement.readings
    valid = [reading for reading in readings if reading.is_valid]
    if not any(reading.source in DEVICE_SOURCES for reading in valid):
        return said("throttling", "not_judged", "no source told of the device's own state")
    flags = Counter(
        flag
        for reading in valid
        for flag in reading.flags
        if flag.startswith("throttle_") or flag in FAULT_FLAGS
    )
    if not flags:
        return said("throttling", "sound", f"no throttling in {len(valid)} readings")
    seen = ", ".join(f"{flag} in {count} readings" for flag, count in sorted(flags.items()))
    advice = "see to cooling and power, or replace the device; measure again"
    return said("throttling", "doubtful", seen, advice)


CHECKS: tuple[Callable[[Evidence], CheckOutcome], ...] = (
    check_finished,
    check_plan,
    check_parameters,
    check_finite,
    check_initial_loss,
    check_parity,
    check_movement,
    check_learning,
    check_leakage,
    check_steady,
    check_tail,
    check_precision,
    check_foreign_load,
    check_accounted_time,
    check_clocks,
    check_placement,
    check_chip,
    check_fallback,
    check_recompiled,
    check_throttling,
    check_proven,
)
"""What is looked at in a measurement; `check_possible` looks at what was derived from it."""


def find_standing(has_figure: bool, checks: tuple[CheckOutcome, ...]) -> Standing:
    """Sum the checks up: the worst verdict decides; without a throughput the case failed."""
    verdicts = {check.verdict for check in checks}
    if "invalid" in verdicts:
        return "invalid"
    if not has_figure:
        return "failed"
    return "doubtful" if "doubtful" in verdicts else "sound"


def _longest(times: StepTimes) -> str:
    if not times.stalls.largest:
        return ""
    return f" (longest {say_seconds(times.stalls.largest[0][1])})"
