"""What tokens cost, and what it cost to find out.

Source: docs/metrics.md, "Cost". Intervals are those of the throughput alone: a price has none.
"""

from trnbench.analysis.billing import billed_seconds
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


def usd_per_chip_hour(basis: Basis) -> MetricValue:
    """Dollars an hour for one of the billed chips."""
    usd_per_second = _usd_per_second(basis)
    if usd_per_second is None:
        return _no_price(basis)
    if basis.chips_billed is None:
        return unknown("no accelerator chip is known to be in this machine")
    return exactly(usd_per_second * SECONDS_PER_HOUR / basis.chips_billed)


def usd_per_model_exaflop(basis: Basis) -> MetricValue:
    """Dollars for 10^18 operations that the model needed, by the convention that is named."""
    flops = basis.utilization.flops_per_token.get(basis.utilization.convention)
    if flops is None:
        return unknown(f"no count of operations by {basis.utilization.convention}")
    return scaled(usd_per_million_tokens(basis), 1e12 / flops)


def usd_per_peak_petaflop_hour(basis: Basis) -> MetricValue:
    """Dollars for an hour of 10^15 operations a second at the peak: the list price of hardware."""
    usd_per_second = _usd_per_second(basis)
    if usd_per_second is None:
        return _no_price(basis)
    peak = basis.utilization.peak_flops_per_second
    if peak is None:
        return unknown(basis.utilization.peak_reason or "the peak is not known")
    return exactly(usd_per_second * SECONDS_PER_HOUR / (peak / 1e15))


def case_usd(basis: Basis) -> MetricValue:
    """Dollars that measuring this case took, start-up included, by the second."""
    usd_per_second = _usd_per_second(basis)
    return (
        _no_price(basis)
        if usd_per_second is None
        else exactly(basis.total_seconds * usd_per_second)
    )


def case_billed_usd(basis: Basis) -> MetricValue:
    """Dollars on the bill, had the machines been rented for this case alone."""
    usd_per_second = _usd_per_second(basis)
    if usd_per_second is None or basis.price is None:
        return _no_price(basis)
    return exactly(billed_seconds(basis.price.option, basis.total_seconds) * usd_per_second)


def _usd_per_second(basis: Basis) -> float | None:
    if basis.price is None:
        return None
    return float(basis.price.usd_per_hour) * basis.instances_billed / SECONDS_PER_HOUR


def _no_price(basis: Basis) -> MetricValue:
    return unknown(basis.price_reason or "no price is known")
