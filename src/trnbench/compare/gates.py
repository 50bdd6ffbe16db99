"""What is asked of a comparison: metrics, margin, and CI gates such as `tokens_per_second > -2%`.

A gate reads the ends of the interval, never the point. It passes where even the end that is worse
for CAND keeps the limit. It fails where that end breaks the limit and the interval leaves out every
change that is tolerated. Else it is undecided: more launches decide it.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from trnbench.compare.matching import WORK
from trnbench.compare.metrics import COMPARABLES
from trnbench.compare.ratio import ALPHA, LogDifference
from trnbench.errors import ConfigError, Problem, did_you_mean
from trnbench.schema.comparison import Correction, GateState

Relation = Literal[">", ">=", "<", "<="]

SMALLEST_LIMIT = -1.0

LARGEST_LIMIT = 100.0

GRAMMAR = (
    "write METRIC > -N% or METRIC < +N%, e.g. 'tokens_per_second > -2%' or "
    "'usd_per_million_tokens < +1%'"
)

_GATE = re.compile(
    r"\s*(?P<metric>[a-z_]\w*)\s*(?P<relation>[<>]=?)\s*(?P<limit>[+\-\u2212]?\d+(?:\.\d+)?)\s*"
    r"(?P<percent>%?)\s*",
    re.ASCII,
)

MARGIN = 0.02
"""The least change that matters by default: what a gate on four launches a side can see.
Source: docs/metrics.md, "Comparison"."""

TARGET_EXCESS_NATS = 0.25
"""The target loss above the best possible: a third of the stream's entropy, which a model reaches
when it has learned the stream's rule and not yet how sure of it to be."""

DEFAULT_METRICS = tuple(one.name for one in COMPARABLES.values() if one.is_default)

CASE_KEY = "case"
"""`--allow` with this key lets gates pass though a case of BASE has no counterpart."""

ALLOWED_KEYS = (*WORK, CASE_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A limit on the change of one metric."""

    text: str
    metric: str
    relation: Relation
    limit: float
    """A relative change: -0.02 for `-2%`."""

    @property
    def is_lower_bound(self) -> bool:
        """Whether the change must stay above the limit."""
        return self.relation.startswith(">")

    @property
    def reference(self) -> float:
        """The relative change that CAND must be shown to fall short of, to fail.

        No change at all where a loss up to the limit is tolerated; the limit where it asks for a
        gain.
        """
        return max(0.0, self.limit) if self.is_lower_bound else min(0.0, self.limit)


def parse_gates(texts: Sequence[str]) -> tuple[Gate, ...]:
    """Read gates as they are written on the command line.

    Raises:
        ConfigError: with every text that is not a gate, and what one looks like.
    """
    found = [_parse(text) for text in texts]
    problems = [one for one in found if isinstance(one, Problem)]
    if problems:
        raise ConfigError.of(problems)
    return tuple(one for one in found if isinstance(one, Gate))


def _parse(text: str) -> Gate | Problem:
    match = _GATE.fullmatch(text)
    if match is None:
        return Problem(f"--gate {text!r}: is not a gate", GRAMMAR)
    metric = match["metric"]
    if metric not in COMPARABLES:
        rest = f"use one of {', '.join(COMPARABLES)}"
        return Problem(
            f"--gate {text!r}: {metric!r} is not a metric that can be compared",
            did_you_mean(metric, COMPARABLES, rest, most=1, cutoff=0.6),
        )
    if not match["percent"]:
        return Problem(
            f"--gate {text!r}: {match['limit']} has no percent sign",
            "a gate limits a change in percent, e.g. 'tokens_per_second > -2%'",
        )
    limit = float(match["limit"].replace("\u2212", "-")) / 100
    if not SMALLEST_LIMIT < limit <= LARGEST_LIMIT:
        return Problem(
            f"--gate {text!r}: a change of {100 * limit:g}% cannot be",
            "use a limit above -100% and up to +10000%",
        )
    is_asked_higher = match["relation"].startswith(">")
    if is_asked_higher != (COMPARABLES[metric].better == "higher"):
        better, meant = ("lower", "< +") if is_asked_higher else ("higher", "> -")
        return Problem(
            f"--gate {text!r}: {better} is better of {metric}, and this passes only where it is "
            "worse",
            f"write '{metric} {meant}{abs(100 * limit):g}%' to tolerate a loss of that size",
        )
    return Gate(
        text=text.strip(), metric=metric, relation=cast(Relation, match["relation"]), limit=limit
    )


def judge_gate(gate: Gate, difference: LogDifference, p_adjusted: float) -> GateState:
    """Return what an interval means for a gate.

    `p_adjusted` is the probability of such a difference if the truth were the gate's reference,
    corrected for the number of gates and cases.
    """
    low, high = difference.low(), difference.high()
    if not gate.is_lower_bound:
        low, high = -high, -low
    sign = 1 if gate.is_lower_bound else -1
    limit, reference = sign * math.log1p(gate.limit), sign * math.log1p(gate.reference)
    if low > limit or (low == limit and gate.relation.endswith("=")):
        return "passed"
    if high < reference and p_adjusted < ALPHA:
        return "failed"
    return "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How two sides are compared."""

    metrics: tuple[str, ...] = DEFAULT_METRICS
    margin: float = MARGIN
    correction: Correction = "holm"
    gates: tuple[Gate, ...] = ()
    allowed: tuple[str, ...] = ()
    is_paired: bool = False
    target_excess_nats: float = TARGET_EXCESS_NATS

    @property
    def looked_at(self) -> tuple[str, ...]:
        """Metrics that are asked for, and those that gates limit, in report order."""
        wanted = {*self.metrics, *(gate.metric for gate in self.gates)}
        return tuple(name for name in COMPARABLES if name in wanted)
