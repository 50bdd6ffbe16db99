"""What a token takes of energy, where something metered it.

Source: docs/metrics.md, "Energy". The interval is that of the throughput: power is a mean.
"""

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import exactly, reciprocal, unknown
from trnbench.analysis.metrics.throughput import tokens_per_second as _tokens_per_second
from trnbench.schema.result import MetricValue


def mean_power_watts(evidence: Evidence) -> MetricValue:
    """Mean power while the case measured, of what `energy_scope` names."""
    watts = evidence.energy.mean_power_watts
    if watts is None or not evidence.energy.is_valid:
        return unknown(evidence.energy.reason or "no power is known")
    return exactly(watts)


def joules_per_token(evidence: Evidence) -> MetricValue:
    """Mean power over tokens per second."""
    watts = mean_power_watts(evidence)
    if watts.value is None:
        return watts
    return reciprocal(_tokens_per_second(evidence), watts.value)


def joules_per_token_tdp_bound(evidence: Evidence) -> MetricValue:
    """No measurement: what a token would take at most if every billed chip drew its rating."""
    watts = evidence.energy.tdp_bound_watts
    if watts is None:
        return unknown("no thermal rating of the chips is published")
    return reciprocal(_tokens_per_second(evidence), watts)
