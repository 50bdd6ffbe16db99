"""How a comparison is to be made: which metrics, against which margin, through which gates."""

from dataclasses import dataclass

from trnbench.analysis.comparison.comparables import COMPARABLES
from trnbench.analysis.comparison.gates import Gate
from trnbench.analysis.comparison.work import WORK
from trnbench.schema.comparison import Correction

MARGIN = 0.02
"""A change of 2 % matters, where nobody said otherwise: what a gate on four launches a side can
see. Source: docs/metrics.md, "Comparison"."""

TARGET_EXCESS_NATS = 0.25
"""The target loss above the best possible: a third of the stream's entropy, which a model reaches
when it has learned the stream's rule and not yet how sure of it to be."""

DEFAULT_METRICS = tuple(one.name for one in COMPARABLES.values() if one.is_default)

CASE_KEY = "case"
"""`--allow` with this key lets gates pass though a case of BASE has no counterpart."""

ALLOWED_KEYS = (*WORK, CASE_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was asked for."""

    metrics: tuple[str, ...] = DEFAULT_METRICS
    margin: float = MARGIN
    correction: Correction = "holm"
    gates: tuple[Gate, ...] = ()
    allowed: tuple[str, ...] = ()
    is_paired: bool = False
    target_excess_nats: float = TARGET_EXCESS_NATS

    @property
    def looked_at(self) -> tuple[str, ...]:
        """Return the metrics that are asked for, and those that gates limit, in report order."""
        wanted = {*self.metrics, *(gate.metric for gate in self.gates)}
        return tuple(name for name in COMPARABLES if name in wanted)
