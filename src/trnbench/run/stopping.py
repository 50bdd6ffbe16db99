"""The stopping rule: when a launch has measured enough, by precision, samples, minutes or dollars.

Pure: blocks in, commands out. First come single warm-up steps; then the rule chooses how many steps
are one sample; then it takes samples until they are precise enough, or a limit of the plan is
reached.

Source: docs/metrics.md, "Statistics": minimum run, timing one sample, adaptive stopping.
"""

import math
import statistics
from array import array
from dataclasses import dataclass

from trnbench.analysis.statistics import (
    LOOKING_INFLATION,
    is_tail_dominated,
    mean_interval,
    median_interval,
)
from trnbench.analysis.steady_state import find_steady_state
from trnbench.protocol.orders import Command, Finish, RunBlock
from trnbench.protocol.records import Activity, Block
from trnbench.run.outcomes import limit_key
from trnbench.schema.measurement import Decision, StopReason
from trnbench.schema.plan import MeasureConfig, Plan
from trnbench.units import SECONDS_PER_HOUR, say_seconds, say_usd

WARMUP_FLOOR_STEPS = 3
PILOT_STEPS = 5
SYNC_PILOT_STEPS = 20
"""Steps timed one by one, and as many as one block, to see what waiting after each step costs."""

SHORT_STEP_SECONDS = 0.05
"""Several steps shorter than this are one sample."""
LONG_STEP_SECONDS = 1.0
"""Of a step this long, one wait is far below one percent."""
SAMPLE_SECONDS = 0.2
"""Length of a sample of several steps."""
MAX_STEPS_PER_SAMPLE = 1000
MAX_SYNC_TAX = 0.01
"""Where waiting after each step costs more than this part of it, a sample is several steps."""

NO_LATE_WARMUP = 15
"""Where more samples than this were warm-up, at least LATE_WARMUP_SAMPLES are needed."""
LATE_WARMUP_SAMPLES = 150


class StoppingRule:
    """Chooses each block after the last, and the end; keeps nothing but the samples' times."""

    def __init__(self, measure: MeasureConfig, limit_reason: StopReason) -> None:
        """Begin; `limit_reason` says which limit in time or money comes first."""
        self.is_asynchronous = False
        """Of the device, once it is known."""
        self.stopped: StopReason | None = None
        """What ended the measuring; None while it goes on."""
        self.relative_half_width: float | None = None
        """Of the interval at the last look; None before the first."""
        self._measure = measure
        self._limit_reason = limit_reason
        self._warmup: list[float] = []
        self._steps_per_sample = 0
        self._samples = array("d")
        self._next_look = measure.min_samples
        self._is_finite = True
        self._decisions: list[Decision] = []

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        return len(self._samples)

    @property
    def mean_step_seconds(self) -> float | None:
        """Over the samples so far; None before the first."""
        return sum(self._samples) / len(self._samples) if self._samples else None

    def take_decisions(self) -> list[Decision]:
        """Return what was decided since the last call; the rule has no clock, so all at 0 s."""
        taken, self._decisions = self._decisions, []
        return taken

    def observe(self, block: Block) -> None:
        """Take in one timed block."""
        if None in block.losses or None in block.gradient_norms:
            self._is_finite = False
        seconds = block.seconds / block.steps
        if block.purpose == "measure":
            self._samples.append(seconds)
        elif block.steps == 1:
            self._warmup.append(seconds)
        else:
            self._choose_window(after_together=seconds)

    def next_command(self, *, is_out_of_budget: bool) -> Command:
        """Return what to run next, or the end."""
        if is_out_of_budget:
            return self._stop(self._limit_reason, "the plan's limit was reached")
        if not self._is_finite:
            return self._stop("not_finite", "a loss or a gradient was not finite")
        if self._steps_per_sample == 0:
            command = self._warmup_command()
            if command is not None:
                return command
        return self._measure_command()

    def _warmup_command(self) -> Command | None:
        """Return the next warm-up block, or None once the window is chosen."""
        done = len(self._warmup)
        if done < WARMUP_FLOOR_STEPS + PILOT_STEPS:
            return RunBlock(steps=1, purpose="warmup")
        if not self.is_asynchronous or self._pilot_seconds() >= LONG_STEP_SECONDS:
            self._choose_window(after_together=None)
            return None
        if done < WARMUP_FLOOR_STEPS + SYNC_PILOT_STEPS:
            return RunBlock(steps=1, purpose="warmup")
        return RunBlock(steps=SYNC_PILOT_STEPS, purpose="warmup")

    def _pilot_seconds(self) -> float:
        return statistics.median_high(self._warmup[WARMUP_FLOOR_STEPS:])

    def _choose_window(self, after_together: float | None) -> None:
        """Fix the steps of a sample; both sides of any comparison must use the same.

        `after_together` is a step's time in a block of many; None where that was not measured.
        """
        step = self._pilot_seconds()
        tax = 0.0 if after_together is None else step / after_together - 1
        window = 1
        if step < SHORT_STEP_SECONDS or tax > MAX_SYNC_TAX:
            shorter = min(step, after_together or step)
            window = min(max(1, math.ceil(SAMPLE_SECONDS / shorter)), MAX_STEPS_PER_SAMPLE)
        self._steps_per_sample = window
        why = f"a step takes {step:.3g} s, waiting after each costs {tax:.1%}"
        self._decisions.append(Decision(at_seconds=0.0, what="window", value=window, why=why))

    def _measure_command(self) -> Command:
        taken = len(self._samples)
        if taken >= self._next_look:
            self._next_look = max(math.ceil(taken * 1.25), taken + 10)
            if self._is_precise():
                return self._stop("precise", "the interval is as narrow as was asked")
        elif taken >= self._measure.max_samples:
            self._look()
        if taken >= self._measure.max_samples:
            return self._stop("max_samples", "the plan's number of samples was reached")
        return RunBlock(steps=self._steps_per_sample, purpose="measure")

    def _is_precise(self) -> bool:
        width, doubt = self._look()
        timed = sum(self._samples) * self._steps_per_sample
        is_long_enough = timed >= self._measure.min_seconds
        return doubt is None and is_long_enough and width <= self._measure.relative_precision

    def _look(self) -> tuple[float, str | None]:
        """Return the interval's relative half-width over the steady part, and any doubt."""
        state = find_steady_state(self._samples)
        steady = self._samples[state.start :]
        intervals = (mean_interval(steady), median_interval(steady))
        width = LOOKING_INFLATION * max(each.relative_half_width for each in intervals)
        doubt = None if state.verdict == "steady" else f"{state.verdict}: {state.evidence}"
        if doubt is None and state.is_warming:
            doubt = "samples still become faster"
        if doubt is None and state.start > NO_LATE_WARMUP and len(steady) < LATE_WARMUP_SAMPLES:
            doubt = f"warm-up took {state.start} samples"
        if doubt is None and is_tail_dominated(steady):
            doubt = "a few stalls decide the mean"
        self.relative_half_width = width
        why = f"{len(self._samples)} samples, {doubt or 'steady'}"
        self._decisions.append(Decision(at_seconds=0.0, what="look", value=width, why=why))
        return width, doubt

    def _stop(self, reason: StopReason, why: str) -> Finish:
        if self.stopped is None:
            self.stopped = reason
            why = f"{reason}: {why}"
            self._decisions.append(
                Decision(at_seconds=0.0, what="stop", value=len(self._samples), why=why)
            )
        return Finish()


TRIAL_STEPS = 3
"""Of a trial of a size: the first makes gradients and moments, later ones make no more."""


class TrialRule(StoppingRule):
    """Ends after a few steps: whether they fit the memory is all that is asked."""

    def next_command(self, *, is_out_of_budget: bool) -> Command:
        """Return one more step, or the end."""
        if is_out_of_budget or not self._is_finite or len(self._warmup) < TRIAL_STEPS:
            return super().next_command(is_out_of_budget=is_out_of_budget)
        return self._stop("trial", f"{TRIAL_STEPS} steps fit the memory")


PRUNE_SAMPLES = 8
"""Samples of a trial before it can be pruned: fewer give no interval worth the name."""
PRUNE_MARGIN = 0.02
"""A trial is pruned where it is surely slower than the best by more than this: launches of the same
work differ by as much."""


class PruningRule(StoppingRule):
    """Ends a launch of a search as soon as its samples show that it is not the best."""

    def __init__(
        self, measure: MeasureConfig, limit_reason: StopReason, best_seconds: float | None
    ) -> None:
        """Begin; `best_seconds` is the upper end of the best's step time, None before any."""
        super().__init__(measure, limit_reason)
        self._best_seconds = best_seconds

    def next_command(self, *, is_out_of_budget: bool) -> Command:
        """Return what to run next, or the end."""
        if not is_out_of_budget and self._is_finite and self._is_surely_slower():
            return self._stop("pruned", f"slower than {self._best_seconds:.3g} s, the best so far")
        return super().next_command(is_out_of_budget=is_out_of_budget)

    def _is_surely_slower(self) -> bool:
        if self._best_seconds is None or len(self._samples) < PRUNE_SAMPLES:
            return False
        # The median beside the mean, so that a stall prunes nothing.
        intervals = (mean_interval(self._samples), median_interval(self._samples))
        low = min(
            each.value * (1 - LOOKING_INFLATION * each.relative_half_width) for each in intervals
        )
        return low > self._best_seconds * (1 + PRUNE_MARGIN)


# --- the limits of time and dollars --------------------------------------------------------------

BLOCK_MARGIN = 1.25
"""A block is begun if one that takes this many times the last one's time still fits."""

ENDING_SECONDS = 1.0
"""Kept back for a worker's last records, beside the time of a ceiling that is timed once more."""

LEAST_SECONDS = 30.0
"""With less than this left of a command's dollars no launch is begun: it would give no figure."""


class Spending:
    """The dollars that all launches of one command may cost, and what they have cost so far."""

    def __init__(self, most_usd: float | None = None) -> None:
        self.most_usd = most_usd
        """None: without a limit."""
        self._usd = 0.0

    def add(self, usd: float | None) -> None:
        """Take note of what a launch cost; one without a price cannot have a limit."""
        self._usd += usd or 0.0

    def left_seconds(self, usd_per_second: float | None) -> float:
        """Return how long a launch may take at a rate."""
        if self.most_usd is None or not usd_per_second:
            return math.inf
        return max(self.most_usd - self._usd, 0.0) / usd_per_second


@dataclass(frozen=True, slots=True)
class Budget:
    """The seconds that a launch may take, which limit that is, and what a second costs."""

    seconds: float
    reason: StopReason
    usd_per_second: float | None
    """None without a price."""
    earlier_seconds: float = 0.0
    """What earlier launches of the case took."""
    is_part: bool = False
    """Whether other launches of the case share the limit."""

    @classmethod
    def of(
        cls,
        plan: Plan,
        *,
        earlier_seconds: float = 0.0,
        launches_left: int = 1,
        spending: Spending | None = None,
    ) -> "Budget":
        """Return a launch's share of what is left of the limit that comes first.

        `launches_left` are still to be made, this one included; `spending` is of all cases.
        """
        seconds = plan.measure.max_minutes * 60
        reason: StopReason = "max_minutes"
        usd_per_second = None
        if plan.price is not None:
            rate = float(plan.price.usd_per_hour) * plan.device.instances_billed
            usd_per_second = rate / SECONDS_PER_HOUR
            if plan.measure.max_usd is not None and plan.measure.max_usd / usd_per_second < seconds:
                seconds, reason = plan.measure.max_usd / usd_per_second, "max_usd"
        searched = plan.workload.search.seconds if plan.workload.search else 0.0
        share = max(seconds - searched - earlier_seconds, 0.0) / launches_left
        is_part = launches_left > 1 or earlier_seconds > 0
        left = (spending or Spending()).left_seconds(usd_per_second)
        if left < share:
            share, reason, is_part = left, "run_max_usd", True
        return cls(share, reason, usd_per_second, earlier_seconds, is_part)

    def pays_for_a_launch(self) -> bool:
        """Tell whether what is left of the command's dollars is enough to begin a launch."""
        return self.reason != "run_max_usd" or self.seconds >= LEAST_SECONDS

    def is_spent(
        self, elapsed_seconds: float, next_block_seconds: float, ending_seconds: float = 0.0
    ) -> bool:
        """Tell whether one more block, and what comes after the last, would pass the limit."""
        more = BLOCK_MARGIN * next_block_seconds + ENDING_SECONDS + ending_seconds
        return elapsed_seconds + more >= self.seconds

    def is_overrun(self, elapsed_seconds: float) -> bool:
        """Tell whether the limit has passed, at which a worker is ended."""
        return elapsed_seconds >= self.seconds

    def say_overrun(self, measure: MeasureConfig, phase: str, elapsed_seconds: float) -> str:
        """Say which limit was reached, and where."""
        limit = measure.max_usd if self.reason == "max_usd" else measure.max_minutes
        what = f"{limit_key(self.reason)}: {limit:g}"
        if self.reason == "run_max_usd":
            what = f"what was left of {limit_key(self.reason)}, {say_seconds(self.seconds)},"
        elif self.is_part:
            what = f"this launch's part of {what}, {say_seconds(self.seconds)},"
        took = f"{elapsed_seconds / 60:.3g} minutes"
        if self.reason != "max_minutes" and self.usd_per_second is not None:
            took += f", {say_usd(self.usd_per_second * elapsed_seconds)}"
        return f"{what} was used up in phase {phase!r} ({took}), and the worker was ended"

    def usd_of(self, seconds: float) -> float | None:
        """Return the dollars of some seconds, or None without a price."""
        return None if self.usd_per_second is None else self.usd_per_second * seconds

    def usd_spent(self, elapsed_seconds: float) -> float | None:
        """Return the dollars for the case so far, or None without a price."""
        return self.usd_of(self.earlier_seconds + elapsed_seconds)


COMMUNICATION_STEPS = 5
COMMUNICATION_SECONDS = 30.0
"""Of what comes after the last timed block, in steps and at most in time: choices."""

ALL_REDUCE_SECONDS = 10.0
"""What must be left of the budget for a timed all-reduce, which takes a quarter of a second."""

PROFILER_COST = 2.0
"""How many times as long a step is assumed to take under the profiler."""


def communication_steps(step_seconds: float | None, left_seconds: float) -> int:
    """Return how many steps a job of several ranks runs under the profiler after the timed ones.

    One more runs first. There are none where not even one has room in what is left of the budget.
    """
    if not step_seconds:
        return 0
    room = min(left_seconds, COMMUNICATION_SECONDS) / (PROFILER_COST * step_seconds)
    return max(min(int(room) - 1, COMMUNICATION_STEPS), 0)


class NextBlock:
    """How long the next block may take: as long as the last in which nothing was compiled.

    A first step can wait minutes for a compiler; the steps after it do not. The first block of all
    says nothing either, where a device does not tell what it compiles.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """0 as long as nothing is known."""
        self._compiled: tuple[int | None, ...] | None = None
        self._is_ordinary = False

    def note_activity(self, activity: Activity) -> None:
        """Take note of what was compiled in the block whose record comes next."""
        compiled = (activity.graphs, activity.compilations, activity.cache_hits)
        if compiled != self._compiled:
            self._is_ordinary = False
        self._compiled = compiled

    def note_block(self, block: Block) -> None:
        """Take note of a block's time."""
        if self._is_ordinary:
            self.seconds = block.seconds + block.prepare_seconds
        self._is_ordinary = True
