"""How evenly a mixture of experts was used, which decides how fast it can be."""

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import exactly, unknown
from trnbench.schema.result import MetricValue


def expert_imbalance(evidence: Evidence) -> MetricValue:
    """Rows of the fullest expert over the mean, mean over blocks and measured steps: 1 is even."""
    model, steps = evidence.plan.model, evidence.steps
    if model.shape is None:
        return unknown("its sizes are not known, nor whether it has experts")
    if model.shape.experts is None:
        return unknown("the model has no experts")
    if steps.imbalances:
        return exactly(steps.imbalance_sum / steps.imbalances)
    if not any(block.purpose == "measure" for block in evidence.measurement.blocks):
        return unknown("no step was measured")
    if model.guest is not None:
        return unknown(f"{model.guest.target} does not tell how its experts were used")
    return unknown("its records do not tell how the experts were used")
