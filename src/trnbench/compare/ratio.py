"""The ratio of two sides, each of several launches, with its interval; one launch is one value.

Launches are what is repeated: steps of one launch say nothing of how the next one differs. All is
done on logarithms, so that swapping the sides inverts the ratio and its interval exactly.

Source: docs/metrics.md, "Comparison".
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from trnbench.analysis.statistics import (
    BETWEEN_LAUNCH_SD,
    CONFIDENCE,
    LARGEST_LAUNCH_SD,
    LEAST_LAUNCHES,
    ROUNDING,
    deviation_of,
    exp_of,
    mean_square,
    t_975,
    t_quantile,
)
from trnbench.schema.comparison import ComparisonVerdict, Correction, Direction, Method
from trnbench.units import say_change

UNSEEN_LAUNCH_SD = LARGEST_LAUNCH_SD
"""Relative standard deviation between launches where too few were made to see it: a verdict must
not rest on this machine being quieter than the noisiest that is known."""

LEAST_GATE_LAUNCHES = 4

MOST_LAUNCHES = 1000

MOST_PERMUTATIONS = 13_000

Logs = tuple[float, ...]

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One metric on one side."""

    values: tuple[float, ...]
    """One for each launch, above zero."""
    errors: tuple[float | None, ...]
    """Relative standard error of each inside its launch; None where nothing is known of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDifference:
    """ln(CAND / BASE) and its error."""

    value: float
    standard_error: float
    degrees_of_freedom: float | None
    """None where the spread is assumed, not estimated."""
    launch_deviation: float
    """Between launches; of pairs, of their differences."""
    method: Method

    def low(self) -> float:
        """Return the lower end of the 95 % interval."""
        return self.value - self.half_width()

    def high(self) -> float:
        """Return the upper end of the 95 % interval."""
        return self.value + self.half_width()

    def ratios(self) -> tuple[float, float, float]:
        """Return CAND / BASE and the ends of its 95 % interval."""
        return exp_of(self.value), exp_of(self.low()), exp_of(self.high())

    def half_width(self) -> float:
        """Return half the width of the 95 % interval."""
        return t_975(self.degrees_of_freedom) * self.standard_error

    def p_value(self, reference: float = 0.0) -> float:
        """Return the two-sided probability of a difference this far from the reference."""
        distance = abs(self.value - reference)
        if self.standard_error <= ROUNDING:
            return 1.0 if distance <= ROUNDING else 0.0
        return 2 * _t_below(-distance / self.standard_error, self.degrees_of_freedom)

    def least_change(self) -> float:
        """Return the least relative change that is found 95 times in 100."""
        t = t_975(self.degrees_of_freedom) + t_quantile(CONFIDENCE, self.degrees_of_freedom)
        return exp_of(t * self.standard_error) - 1


def find_difference(
    base: Sample, cand: Sample, *, is_alike: bool, is_paired: bool = False
) -> LogDifference | str:
    """Estimate ln(CAND / BASE), or say why there is no interval for it.

    `is_alike` says that both sides ran on the same kind of device, so that the spread of one side's
    launches holds for the other's; `is_paired` that their n-th launches were made one after the
    other.
    """
    logs = [tuple(map(math.log, side.values)) for side in (base, cand)]
    counts = [len(side) for side in logs]
    seen = None
    if is_paired and counts[0] == counts[1] >= LEAST_LAUNCHES:
        seen = _paired(*logs)
    elif min(counts) >= LEAST_LAUNCHES:
        seen = _welch(*logs)
    elif is_alike and sum(counts) - 2 >= LEAST_LAUNCHES - 1:
        seen = _pooled(*logs)
    is_timed = None not in (*base.errors, *cand.errors)
    if seen is None or (is_timed and seen.launch_deviation == 0):
        # No clock gives the same time twice: such launches do not show how they differ.
        return _assumed(base, cand, *logs)
    return seen


def launches_needed(deviation: float, change: float, *, is_paired: bool = False) -> int | None:
    """Return how many launches a side tell a relative change from none: 4 to 1,000, or None.

    With as many, the interval reaches half the change to either side: then a gate at `change`
    passes what did not change and fails what changed by as much, each 97.5 times in 100.
    `deviation` is relative, between launches; with `is_paired` of the differences of pairs.
    """
    allowed = math.log1p(change) / 2
    for count in range(LEAST_GATE_LAUNCHES, MOST_LAUNCHES + 1):
        degrees = count - 1 if is_paired else 2 * count - 2
        spread = deviation * math.sqrt((1 if is_paired else 2) / count)
        if t_975(float(degrees)) * spread <= allowed:
            return count
    return None


def needed(difference: LogDifference, change: float) -> int | None:
    """Return how many launches a side tell this change from none; None where there is none."""
    if change <= 0:
        return None
    is_paired = difference.method == "paired"
    return launches_needed(planning_deviation(difference), change, is_paired=is_paired)


def planning_deviation(difference: LogDifference) -> float:
    """Return the spread to plan launches with: the one that was seen, else the usual one."""
    return BETWEEN_LAUNCH_SD if difference.method == "assumed" else difference.launch_deviation


def permutation_p(base: Sample, cand: Sample) -> float | None:
    """Return the exact two-sided p-value of the difference of means of logarithms.

    None below four launches a side, where no such test can reach 5 %, or where there are more than
    13,000 ways to divide them.

    Source: Fisher, The Design of Experiments (1935), section 21; Phipson and Smyth, Stat. Appl.
    Genet. Mol. Biol. 9 (2010), on counting the observed division among them.
    """
    logs = [math.log(value) for value in (*base.values, *cand.values)]
    first, count = len(base.values), len(logs)
    if min(first, count - first) < LEAST_GATE_LAUNCHES:
        return None
    ways = math.comb(count, first)
    if ways > MOST_PERMUTATIONS:
        return None
    centred = [value - statistics.fmean(logs) for value in logs]
    observed = abs(sum(centred[:first])) - ROUNDING
    as_far = sum(abs(sum(chosen)) >= observed for chosen in itertools.combinations(centred, first))
    return as_far / ways


def adjust(p_values: Sequence[float], correction: Correction) -> list[float]:
    """Return p-values corrected for their number, in their order.

    Source: Holm, Scand. J. Statist. 6 (1979); Benjamini and Hochberg, J. R. Statist. Soc. B 57
    (1995).
    """
    if correction == "none":
        return list(p_values)
    count = len(p_values)
    order = sorted(range(count), key=lambda place: p_values[place])
    ranked = [p_values[place] for place in order]
    if correction == "holm":
        steps = [(count - rank) * p for rank, p in enumerate(ranked)]
        bounds = list(itertools.accumulate(steps, max))
    else:
        steps = [count * p / (rank + 1) for rank, p in enumerate(ranked)]
        bounds = list(itertools.accumulate(reversed(steps), min))[::-1]
    adjusted = dict(zip(order, bounds, strict=True))
    return [min(1.0, adjusted[place]) for place in range(count)]


def _t_below(t: float, degrees: float | None) -> float:
    from scipy.special import ndtr, stdtr

    return float(ndtr(t) if degrees is None else stdtr(degrees, t))


def _paired(base: Logs, cand: Logs) -> LogDifference:
    apart = tuple(later - earlier for earlier, later in zip(base, cand, strict=True))
    deviation = deviation_of(apart)
    return LogDifference(
        value=statistics.fmean(apart),
        standard_error=deviation / math.sqrt(len(apart)),
        degrees_of_freedom=float(len(apart) - 1),
        launch_deviation=deviation,
        method="paired",
    )


def _welch(base: Logs, cand: Logs) -> LogDifference:
    """Source: Welch, Biometrika 34 (1947)."""
    parts = [deviation_of(side) ** 2 / len(side) for side in (base, cand)]
    variance = sum(parts)
    degrees = float(len(base) + len(cand) - 2)
    if variance > 0:
        shares = [part / variance for part in parts]  # of the sum, so that squares cannot vanish
        degrees = 1 / sum(
            share**2 / (len(side) - 1) for share, side in zip(shares, (base, cand), strict=True)
        )
    return LogDifference(
        value=statistics.fmean(cand) - statistics.fmean(base),
        standard_error=math.sqrt(variance),
        degrees_of_freedom=degrees,
        launch_deviation=math.sqrt(mean_square([deviation_of(base), deviation_of(cand)])),
        method="welch",
    )


def _pooled(base: Logs, cand: Logs) -> LogDifference:
    degrees = len(base) + len(cand) - 2
    squares = sum((value - statistics.fmean(side)) ** 2 for side in (base, cand) for value in side)
    deviation = math.sqrt(squares / degrees)
    return LogDifference(
        value=statistics.fmean(cand) - statistics.fmean(base),
        standard_error=deviation * math.sqrt(1 / len(base) + 1 / len(cand)),
        degrees_of_freedom=float(degrees),
        launch_deviation=deviation,
        method="pooled",
    )


def _assumed(base: Sample, cand: Sample, *logs: Logs) -> LogDifference | str:
    variance, deviations = 0.0, []
    for sample, values in zip((base, cand), logs, strict=True):
        errors = [error for error in sample.errors if error is not None]
        if len(errors) < len(sample.errors):
            count = len(sample.values)
            launches = "one launch" if count == 1 else f"{count} launches"
            return f"{launches} a side cannot show how launches differ"
        seen = deviation_of(values) if len(values) > 1 else 0.0
        deviations.append(max(UNSEEN_LAUNCH_SD, seen))
        variance += (mean_square(errors) + deviations[-1] ** 2) / len(values)
    return LogDifference(
        value=statistics.fmean(logs[1]) - statistics.fmean(logs[0]),
        standard_error=math.sqrt(variance),
        degrees_of_freedom=None,
        launch_deviation=max(deviations),
        method="assumed",
    )


def judge(
    difference: LogDifference, margin: float, better: Direction, p_adjusted: float
) -> tuple[ComparisonVerdict, str]:
    """Return the verdict and why.

    The same: the whole interval lies within the margin. Better or worse: it lies on one side of no
    change, reaches past the margin, and holds against the number of comparisons. A margin of 2 %
    lies between 1/1.02 and 1.02, so that swapping the sides swaps the verdict and nothing else.
    """
    low, high, limit = difference.low(), difference.high(), math.log1p(margin)
    span = f"the interval {' to '.join(say_change(end - 1) for end in difference.ratios()[1:])}"
    if -limit <= low and high <= limit:
        return "same", f"{span} is all within the margin of {100 * margin:g} %"
    if low <= 0 <= high:
        return "cannot_tell", f"{span} contains losses and gains"
    if p_adjusted >= ALPHA:
        return (
            "cannot_tell",
            f"{span} does not contain 0, but among so many one may do so by chance",
        )
    is_gain = (low > 0) == (better == "higher")
    return ("better" if is_gain else "worse"), f"{span} does not contain 0"
