"""What the worker runs next, and when it is enough. Pure: blocks in, commands out.

First a floor of single warm-up steps; then a sample's length is chosen; then samples are taken
until they are precise enough, or one of the limits of the plan is reached.

Source: docs/metrics.md, "Statistics": minimum run, timing one sample, adaptive stopping.
"""

import math
from array import array
from dataclasses import dataclass
from typing import Literal

from trnbench.analysis.statistics import (
    LOOKING_INFLATION,
    Interval,
    is_tail_dominated,
    mean_interval,
    median_interval,
)
from trnbench.analysis.steady_state import find_steady_state
from trnbench.schema.measurement import StopReason
from trnbench.schema.plan import MeasureConfig
from trnbench.wire import Block, Command, Finish, RunBlock

WARMUP_FLOOR_STEPS = 3
PILOT_STEPS = 5
SYNC_PILOT_STEPS = 20
"""Steps timed one by one, and as many as one, to see what waiting after each step costs."""

SHORT_STEP_SECONDS = 0.05
LONG_STEP_SECONDS = 1.0
"""Of a step this long, one wait is far below one percent."""
SAMPLE_SECONDS = 0.2
MAX_STEPS_PER_SAMPLE = 1000
MAX_SYNC_TAX = 0.01

NO_LATE_WARMUP = 15
"""Where more samples than this were warm-up, at least LATE_WARMUP_SAMPLES are needed."""
LATE_WARMUP_SAMPLES = 150


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that was decided, with what it rests on; the session records it."""

    what: Literal["window", "look", "stop"]
    value: float
    why: str


class Pacer:
    """Decides, block by block; keeps nothing but the samples' times."""

    def __init__(self, measure: MeasureConfig, limit_reason: StopReason) -> None:
        """Begin.

        Args:
            measure: the limits.
            limit_reason: which of the limits in time or money comes first.
        """
        self._measure = measure
        self._limit_reason = limit_reason
        self._is_asynchronous = False
        self._warmup: list[float] = []
        self._steps_per_sample = 0
        self._samples = array("d")
        self._next_look = measure.min_samples
        self._is_finite = True
        self._stopped: StopReason | None = None
        self._choices: list[Choice] = []
        self.relative_half_width: float | None = None
        """Of the interval at the last look; None before the first."""

    def device_is(self, *, is_asynchronous: bool) -> None:
        """Take note of the device, as soon as the worker has told."""
        self._is_asynchronous = is_asynchronous

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        return len(self._samples)

    @property
    def stopped(self) -> StopReason | None:
        """What ended the measuring; None while it goes on."""
        return self._stopped

    @property
    def mean_step_seconds(self) -> float | None:
        """Mean time of a step over the samples so far."""
        return sum(self._samples) / len(self._samples) if self._samples else None

    def take_choices(self) -> list[Choice]:
        """Return what was decided since the last call."""
        taken, self._choices = self._choices, []
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
        """Say what to run next."""
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
        step = _median(self._warmup[WARMUP_FLOOR_STEPS:])
        if not self._is_asynchronous or step >= LONG_STEP_SECONDS:
            self._choose_window(after_together=None)
            return None
        if done < WARMUP_FLOOR_STEPS + SYNC_PILOT_STEPS:
            return RunBlock(steps=1, purpose="warmup")
        return RunBlock(steps=SYNC_PILOT_STEPS, purpose="warmup")

    def _choose_window(self, after_together: float | None) -> None:
        """Fix the steps of a sample; both sides of any comparison must use the same."""
        step = _median(self._warmup[WARMUP_FLOOR_STEPS:])
        tax = 0.0 if after_together is None else step / after_together - 1
        if step >= SHORT_STEP_SECONDS and tax <= MAX_SYNC_TAX:
            window, why = 1, f"a step takes {step:.3g} s, waiting after each costs {tax:.1%}"
        else:
            shorter = min(step, after_together or step)
            window = min(max(1, math.ceil(SAMPLE_SECONDS / shorter)), MAX_STEPS_PER_SAMPLE)
            why = f"a step takes {step:.3g} s, waiting after each costs {tax:.1%}"
        self._steps_per_sample = window
        self._choices.append(Choice("window", window, why))

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
        width = LOOKING_INFLATION * max(
            _half_width(mean_interval(steady)), _half_width(median_interval(steady))
        )
        doubt = None if state.verdict == "steady" else f"{state.verdict}: {state.evidence}"
        if doubt is None and state.start > NO_LATE_WARMUP and len(steady) < LATE_WARMUP_SAMPLES:
            doubt = f"warm-up took {state.start} samples"
        if doubt is None and is_tail_dominated(steady):
            doubt = "a few stalls decide the mean"
        self.relative_half_width = width
        why = f"{len(self._samples)} samples, {doubt or 'steady'}"
        self._choices.append(Choice("look", width, why))
        return width, doubt

    def _stop(self, reason: StopReason, why: str) -> Finish:
        if self._stopped is None:
            self._stopped = reason
            self._choices.append(Choice("stop", len(self._samples), f"{reason}: {why}"))
        return Finish()


def _half_width(interval: Interval) -> float:
    return interval.relative_half_width


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
