"""From an interval to one of four words: better, worse, the same, or that nobody can tell."""

import math

from trnbench.analysis.comparison.ratio import LogDifference
from trnbench.analysis.spread import exp_of
from trnbench.schema.comparison import ComparisonVerdict, Direction
from trnbench.schema.units import say_change

ALPHA = 0.05


def judge(
    difference: LogDifference, margin: float, better: Direction, p_adjusted: float
) -> tuple[ComparisonVerdict, str]:
    """Return the verdict and why.

    The same: the whole interval lies within the margin. Better or worse: it lies on one side of no
    change, reaches past the margin, and holds against the number of comparisons. A margin of 2 %
    lies between 1/1.02 and 1.02, so that swapping the sides swaps the verdict and nothing else.

    Args:
        difference: ln(CAND / BASE) with its error.
        margin: the relative change that does not matter.
        better: which of two values is the better one.
        p_adjusted: the probability of such a difference if there were none, corrected.
    """
    low, high, limit = difference.low(), difference.high(), math.log1p(margin)
    ends = " to ".join(say_change(exp_of(end) - 1) for end in (low, high))
    span = f"the interval {ends}"
    if -limit <= low and high <= limit:
        return "same", f"{span} is all within the margin of {100 * margin:g} %"
    if low <= 0 <= high:
        return "cannot_tell", f"{span} holds losses and gains"
    if p_adjusted >= ALPHA:
        return "cannot_tell", f"{span} does not hold 0, but of so many one may do so by chance"
    is_gain = (low > 0) == (better == "higher")
    return ("better" if is_gain else "worse"), f"{span} does not hold 0"
