"""Comparison: two sides of results, case by case, with a verdict on each difference.

`Comparison`, at the end, is made of the parts above it. It is derived: the same results, margin and
gates always give the same comparison.

Format versions, and what changed in each:

1   first version
"""

from typing import Literal

from trnbench.schema.base import Strict
from trnbench.schema.price import Price
from trnbench.schema.result import Validity

ComparisonVerdict = Literal["better", "worse", "same", "cannot_tell"]
"""Of CAND: better or worse than BASE, the same within the margin, or not decidable."""

GateState = Literal["passed", "failed", "undecided", "not_judged"]
"""undecided: the figures are too uncertain; not_judged: there are no figures that may be used."""

Direction = Literal["higher", "lower"]
"""Which of two values of a metric is the better one."""

Method = Literal["welch", "pooled", "paired", "assumed"]
"""How the between-launch variance was found. welch: from each side's launches; pooled: from those
of both together; paired: from the differences of pairs; assumed: there are too few launches."""

Correction = Literal["holm", "bh", "none"]
"""For many comparisons: Holm's bounds the chance of one false verdict among all, Benjamini and
Hochberg's the part of false verdicts."""

DifferenceKind = Literal["work", "allowed", "setup"]
"""work: not the same work; allowed: other work, which the user allowed; setup: how, where and
by which versions the same work was done, which is what a comparison is about."""


class SideValue(Strict):
    """A metric on one side: the geometric mean over its launches."""

    value: float | None
    low: float | None = None
    high: float | None = None
    """Ends of its 95 % interval."""
    launches: tuple[float, ...] = ()
    """Each launch's own figure, in order of time."""
    reason: str | None = None
    """Why the value is null; never set beside a value."""


class Ratio(Strict):
    """CAND / BASE, with its 95 % interval, and what the interval is computed from."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    """Why there is no value, or no interval."""
    method: Method | None = None
    standard_error: float | None = None
    """Of the ratio's logarithm."""
    degrees_of_freedom: float | None = None
    """null where the variance is assumed."""
    launch_deviation: float | None = None
    """Relative standard deviation between launches, measured or assumed; of pairs, of their
    differences."""
    p_value: float | None = None
    """Two-sided, for no difference at all."""
    p_adjusted: float | None = None
    """The same, corrected for the number of comparisons."""
    permutation_p: float | None = None
    """By exact permutation of the launches, which assumes no shape of their noise; null with fewer
    than four launches a side, or with more than can be permuted."""
    least_change: float | None = None
    """The least relative change that would have been found 95 times in 100."""
    launches_needed: int | None = None
    """Launches a side with which a change of the margin's size is found."""


class MetricComparison(Strict):
    """One metric of one case on both sides, with its verdict."""

    metric: str
    better: Direction
    base: SideValue
    cand: SideValue
    ratio: Ratio
    verdict: ComparisonVerdict
    reason: str
    """Why this verdict."""


class ComparedLaunch(Strict):
    """One result of a side."""

    run_id: str
    case_id: str
    started_at: str
    standing: Validity
    is_used: bool
    why_not: str | None
    """Why it is not used; null if it is."""
    is_verified: bool
    """Whether its figures were derived from raw records just now; else they are as stored."""
    doubts: tuple[str, ...]
    """Each check that found it doubtful or invalid, with its evidence."""


class ComparedSide(Strict):
    """One side of a case."""

    launches: tuple[ComparedLaunch, ...]
    device: str
    backend: str
    device_count: int | None
    """Null where an imported log does not say."""
    accelerator: str | None
    instance: str | None
    instances_billed: int
    versions: dict[str, str]
    """Of the software that trained; several where the launches differ."""
    price: Price | None
    price_reason: str | None
    """Why there is no price that holds for the whole side."""

    @property
    def used(self) -> int:
        """How many launches its figures are made of."""
        return sum(launch.is_used for launch in self.launches)


class Difference(Strict):
    """One thing in which the two sides differ."""

    key: str
    base: str
    cand: str
    kind: DifferenceKind


class BreakEven(Strict):
    """At which rate, and at which speed, a token costs the same on both sides."""

    usd_per_hour: float | None
    """Rate of one instance of CAND at which a token costs the same on both sides."""
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    tokens_per_second: float | None = None
    """Speed of CAND at which, at the prices that are paid, a token costs the same."""
    tokens_per_second_low: float | None = None
    tokens_per_second_high: float | None = None
    tokens_per_second_reason: str | None = None
    """Why there is none."""


class TargetLoss(Strict):
    """The loss on the learnable stream to which both sides' steps are counted."""

    excess_nats: float
    """Above the loss of a model that knows the stream."""
    base_steps: float | None
    cand_steps: float | None
    """Geometric mean of the side's steps; null if one launch did not reach it."""
    reason: str | None = None


class CaseComparison(Strict):
    """The same work on both sides."""

    name: str
    base: ComparedSide
    cand: ComparedSide
    differences: tuple[Difference, ...]
    metrics: tuple[MetricComparison, ...]
    break_even: BreakEven
    target: TargetLoss
    notes: tuple[str, ...]
    """What must be read beside the figures: prices, dates, launches left out."""


class Unmatched(Strict):
    """A case of one side that has no counterpart on the other."""

    side: Literal["base", "cand"]
    name: str
    case_id: str
    nearest: str | None
    """The most similar case of the other side."""
    differences: tuple[Difference, ...]
    reason: str


class GateOutcome(Strict):
    """The outcome of one gate on one case."""

    gate: str
    """As it was written."""
    metric: str
    relation: Literal[">", ">=", "<", "<="]
    limit: float
    """The relative change that is the limit: -0.02 for `-2%`."""
    case: str
    state: GateState
    change: float | None
    """CAND / BASE - 1."""
    change_low: float | None
    change_high: float | None
    p_adjusted: float | None
    """For no change, or for a change of the limit's size where the limit asks for a gain;
    corrected for the number of gates and cases."""
    evidence: str
    advice: str | None = None
    doubts: tuple[str, ...] = ()
    """Checks that found launches of either side doubtful."""


class Comparison(Strict):
    """CAND compared with BASE, as reports show it."""

    schema_version: Literal[1] = 1
    trnbench_version: str
    base: tuple[str, ...]
    """Where the side's results are from, as it was typed."""
    cand: tuple[str, ...]
    margin: float
    """A ratio between 1 / (1 + margin) and 1 + margin is no difference that matters."""
    correction: Correction
    comparisons: int
    """Separate comparisons that the correction counts."""
    is_paired: bool
    allowed: tuple[str, ...]
    """Keys of the work in which the user allowed differences."""
    cases: tuple[CaseComparison, ...]
    unmatched: tuple[Unmatched, ...]
    gates: tuple[GateOutcome, ...]
    first_look: tuple[GateOutcome, ...] = ()
    """The gates before cases were measured again to confirm them; empty if none was."""
    notes: tuple[str, ...] = ()
