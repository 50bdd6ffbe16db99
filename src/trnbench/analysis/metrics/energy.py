"""What a token takes of energy, where something metered it.

Source: docs/metrics.md, "Energy". The interval is that of the throughput: power is a mean.
"""

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics.base import Basis, exactly, reciprocal, scaled, unknown
from trnbench.analysis.metrics.throughput import tokens_per_second as _tokens_per_second
from trnbench.analysis.surroundings import find_surroundings
from trnbench.schema.result import MetricValue

JOULES_PER_KWH = 3.6e6


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


def grams_co2e_per_million_tokens(basis: Basis) -> MetricValue:
    """What a million tokens emit, by what was metered, the room's PUE and the region's grid."""
    if basis.joules_per_token.value is None:
        return basis.joules_per_token
    around = find_surroundings(basis.price)
    if around.pue is None or around.grams_co2e_per_kwh is None:
        return unknown(around.reason or "neither room nor grid is known")
    factor = 1e6 / JOULES_PER_KWH * around.pue * around.grams_co2e_per_kwh
    return scaled(basis.joules_per_token, factor)
