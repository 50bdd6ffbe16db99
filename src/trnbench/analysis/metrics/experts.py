"""How evenly a mixture of experts was used, which decides how fast it can be."""

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import exactly, unknown
from trnbench.schema.result import MetricValue


def expert_imbalance(evidence: Evidence) -> MetricValue:
    """Rows of the fullest expert over the mean, mean over blocks and measured steps: 1 is even."""
    if evidence.plan.model.shape is None or evidence.plan.model.shape.experts is None:
        return unknown("the model has no experts")
    steps = evidence.steps
    if not steps.imbalances:
        return unknown("no step was measured")
    return exactly(steps.imbalance_sum / steps.imbalances)
