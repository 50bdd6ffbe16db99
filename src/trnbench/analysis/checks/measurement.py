"""Whether the times are as certain as they look: how many, how steady, by which clock."""

from trnbench.analysis.checks.base import said
from trnbench.analysis.evidence import Evidence
from trnbench.analysis.summary import StepTimes
from trnbench.schema.result import CheckOutcome
from trnbench.schema.units import say_seconds

MAX_TAIL_OVERHEAD = 0.02
MIN_ACCOUNTED_SHARE = 0.9
MAX_CLOCK_DIFFERENCE = 0.02


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


def _longest(times: StepTimes) -> str:
    if not times.stalls.largest:
        return ""
    return f" (longest {say_seconds(times.stalls.largest[0][1])})"
