"""How evenly a mixture of experts was used, which decides how fast it can be."""

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import exactly, unknown
from trnbench.schema.result import MetricValue


def expert_imbalance(evidence: Evidence) -> MetricValue:
    """Rows of the fullest expert over the mean, mean over blocks and measured steps: 1 is even."""
    if evidence.plan.model.shape is None or evidence.plan.model.shape.experts is None:
        return unknown("the model has no experts")
    told = [
        value
        for block in evidence.measurement.blocks
        if block.purpose == "measure" and block.expert_imbalances is not None
        for value in block.expert_imbalances
        if value is not None
    ]
    return exactly(sum(told) / len(told)) if told else unknown("no step was measured")
