"""What tokens cost, and what it cost to find out.

Source: docs/metrics.md, "Cost". Intervals are those of the throughput alone: a price has none.
"""

from trnbench.analysis.metrics.base import Basis, exactly, reciprocal, scaled, unknown
from trnbench.schema.result import MetricValue
from trnbench.schema.units import SECONDS_PER_HOUR


def usd_per_million_tokens(basis: Basis) -> MetricValue:
    """Dollars for a million tokens at this throughput, on everything that is billed."""
    usd_per_second = _usd_per_second(basis)
    if usd_per_second is None:
        return _no_price(basis)
    return reciprocal(basis.tokens_per_second, usd_per_second * 1e6)


def tokens_per_usd(basis: Basis) -> MetricValue:
    """Tokens that one dollar trains."""
    usd_per_second = _usd_per_second(basis)
    if usd_per_second is None:
        return _no_price(basis)
    return scaled(basis.tokens_per_second, 1 / usd_per_second)


def case_usd(basis: Basis) -> MetricValue:
    """Dollars that measuring this case took, start-up included."""
    usd_per_second = _usd_per_second(basis)
    return (
        _no_price(basis)
        if usd_per_second is None
        else exactly(basis.total_seconds * usd_per_second)
    )


def _usd_per_second(basis: Basis) -> float | None:
    if basis.price is None:
        return None
    return float(basis.price.usd_per_hour) * basis.instances_billed / SECONDS_PER_HOUR


def _no_price(basis: Basis) -> MetricValue:
    return unknown(basis.price_reason or "no price is known")
