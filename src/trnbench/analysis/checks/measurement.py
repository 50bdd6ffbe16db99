"""Checks of the timing, and of a case's launches."""

import statistics
from collections.abc import Sequence

from trnbench.analysis.case import Case, Finding, doubtful, invalid, not_judged, sound
from trnbench.analysis.statistics import LARGEST_LAUNCH_SD
from trnbench.schema.plan import Plan
from trnbench.schema.result import ResultLaunch, ResultSpread
from trnbench.units import say_seconds

MAX_TAIL_OVERHEAD = 0.02
"""Of the mean over the median; where a wider interval is asked for, that."""

MIN_SHORTEST = 0.5
"""Of the median: every step does the same work."""

MIN_ACCOUNTED_SHARE = 0.9

MAX_CLOCK_DIFFERENCE = 0.02

MAX_SEPARATION = 0.85

MAX_LEVEL_GAP = 0.02

LEAST_SWITCHES = 3
"""A lasting change is one switch, and `steady` finds it; there and back is two."""

MAX_TICK_SHARE = 0.1
"""Of the half-width that was asked for."""

FEWEST_SAMPLES = 30
"""Below this the intervals' coverage is not known."""


def check_finished(case: Case) -> Finding:
    """The case was measured to its planned end."""
    outcome = case.outcome
    if outcome.status == "finished":
        return sound(outcome.reason)
    return doubtful(f"{outcome.status}: {outcome.reason}", outcome.hint)


def check_plan(case: Case) -> Finding:
    """The plan is the one that the measurement names."""
    if case.is_plan_unchanged:
        return sound("the plan is the one that the measurement names")
    seen = "plan.json is not the plan that this measurement was made by"
    return invalid(seen, "put the old plan.json back, or measure again")


def check_steady(case: Case) -> Finding:
    """The step time settled, and stayed."""
    state = case.summary.steady
    if state is None:
        return not_judged("there are too few samples")
    if state.verdict == "steady":
        return sound(state.evidence)
    advice = "look for throttling or other work on this machine; allow more measure.max_minutes"
    return doubtful(f"{state.verdict}: {state.evidence}", advice)


def check_tail(case: Case) -> Finding:
    """Mean and median agree, a few stalls do not decide the mean, and no step was too fast."""
    times = case.summary.step_times
    if times is None:
        return not_judged("there are too few samples")
    overhead = times.mean.value / times.median.value - 1
    seen = f"mean {overhead:+.1%} from the median, {times.stalls.count} stalls"
    if times.stalls.largest:
        seen += f" (longest {say_seconds(times.stalls.largest[0][1])})"
    shortest = min(case.summary.samples)
    if shortest < MIN_SHORTEST * times.median.value:
        seen += f"; the shortest took {say_seconds(shortest)}"
        advice = "no step does half the work: the clock jumped, or a step was not waited for"
        return doubtful(seen, advice)
    most = max(MAX_TAIL_OVERHEAD, case.plan.measure.relative_precision)
    if not times.is_tail_dominated and overhead <= most:
        return sound(seen)
    advice = "some steps are much slower than most: measure for longer, and look for their cause"
    if times.is_tail_dominated:
        advice = "rare stalls decide the mean: its interval cannot be trusted; measure for longer"
    return doubtful(seen, advice)


def check_levels(case: Case) -> Finding:
    """The samples do not switch between two levels."""
    levels, taken = case.summary.bimodality, len(case.summary.samples)
    if taken < FEWEST_SAMPLES:
        return not_judged(f"{taken} samples are too few to show two levels")
    if levels is None:
        return sound("all samples took the same time")
    far_apart = levels.separation > MAX_SEPARATION and levels.gap > MAX_LEVEL_GAP
    within = f"{levels.separation:.0%} of the variance lies between an upper part and a lower"
    if not far_apart or levels.switches < LEAST_SWITCHES:
        return sound(f"one level at a time; {within}")
    seen = (
        f"two levels: {levels.upper_share:.0%} of the samples are {levels.gap:.1%} slower than the "
        f"rest; {within}"
    )
    advice = "look for a clock that switches, other work that comes and goes, or steps that differ"
    return doubtful(seen, advice)


def check_precision(case: Case) -> Finding:
    """The interval is as narrow, and there are as many samples, as the plan asks for."""
    asked, times = case.plan.measure, case.summary.step_times
    if times is None:
        return not_judged("there are too few samples")
    taken = len(case.summary.samples)
    seen = (
        f"±{times.relative_half_width:.2%} within this launch from {times.mean.n} samples, "
        f"±{asked.relative_precision:.2%} asked for"
    )
    more = "allow more measure.max_minutes or measure.max_samples"
    if taken < asked.min_samples:
        few = f"{seen}; {asked.min_samples} samples are the minimum"
        return doubtful(few, "allow more measure.max_minutes")
    if times.mean.n < FEWEST_SAMPLES:
        few = f"{seen}; intervals from fewer than {FEWEST_SAMPLES} samples are unreliable"
        is_asked = asked.min_samples >= FEWEST_SAMPLES  # but the steady state came late
        least = more if is_asked else f"set measure.min_samples to {FEWEST_SAMPLES}"
        return doubtful(few, least)
    if times.relative_half_width <= asked.relative_precision:
        return sound(seen)
    return doubtful(seen, more)


def check_accounted_time(case: Case) -> Finding:
    """The timed blocks cover the clock time: else an hour yields less than the throughput says."""
    summary = case.summary
    if not summary.spanned_seconds:
        return not_judged("nothing was timed")
    share = summary.timed_seconds / summary.spanned_seconds
    prepared = sum(block.prepare_seconds for block in case.measured_blocks)
    seen = (
        f"timed steps cover {share:.0%} of {say_seconds(summary.spanned_seconds)}; making tokens "
        f"took {prepared / summary.spanned_seconds:.0%}"
    )
    if share >= MIN_ACCOUNTED_SHARE:
        return sound(seen)
    advice = "steps are short against what happens between blocks: use a larger global_batch_size"
    return doubtful(seen, advice)


def check_clocks(case: Case) -> Finding:
    """The device's events and the host's clock agree."""
    both = [
        (block.seconds, block.event_seconds)
        for block in case.measured_blocks
        if block.event_seconds is not None
    ]
    if not both:
        return not_judged("this device has no events that can be trusted")
    by_clock, by_events = sum(c for c, _ in both), sum(e for _, e in both)
    apart = by_events / by_clock - 1
    seen = f"the device's events differ by {apart:+.2%} from the clock"
    if abs(apart) <= MAX_CLOCK_DIFFERENCE:
        return sound(seen)
    return doubtful(seen, "steps may be too short for a clock around them")


def check_resolution(case: Case) -> Finding:
    """The clock is fine enough for the samples that it timed."""
    environment = case.measurement.environment
    seconds = [block.seconds for block in case.measured_blocks]
    tick = environment.clock_step_seconds if environment is not None else None
    if tick is None or not seconds:
        return not_judged("nothing was timed, or the clock's resolution is not known")
    typical = statistics.median(seconds)
    allowed = MAX_TICK_SHARE * case.plan.measure.relative_precision
    seen = f"the clock moves by {say_seconds(tick)}, {tick / typical:.1g} of a sample"
    if tick <= allowed * typical:
        return sound(seen)
    advice = "use a larger global_batch_size, so that a sample takes longer; or another machine"
    return doubtful(f"{seen}: more than {allowed:.1g}", advice)


def check_launches(
    plan: Plan, launches: Sequence[ResultLaunch], spread: ResultSpread | None
) -> Finding:
    """All launches that were asked for count, and they do not differ by more than noise."""
    asked, made = plan.measure.launches, len(launches)
    if spread is None and made == asked == 1:
        return not_judged("one launch does not show how launches differ; measure.launches: 3 would")
    counted = sum(launch.standing in ("sound", "doubtful") for launch in launches)
    seen = f"{counted} of {max(made, asked)} launches count"
    if spread is not None:
        seen += (
            f"; they differ by {spread.between_launches:.2%}, their own steps predict "
            f"{spread.within_launches:.2%}"
        )
    if counted < max(made, asked):
        advice = "run the same command with the same `-o` folder to make those that are missing"
        return doubtful(seen, advice)
    if spread is not None and spread.between_launches > LARGEST_LAUNCH_SD:
        advice = "look for what changes from process to process, and make more launches"
        return doubtful(f"{seen}: more than runs of any public submission", advice)
    return sound(seen)
