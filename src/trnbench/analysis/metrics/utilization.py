"""Utilization: the operations the model needs, or that were done, over what the chips could do.

Source: docs/metrics.md, "MFU". Stored from 0 to 1.
"""

from trnbench.analysis.metrics.base import Basis, scaled, unknown
from trnbench.model.flops import FULL_CONVENTION, mixed_rate
from trnbench.schema.result import MetricValue
from trnbench.schema.units import say_flops_per_second


def mfu(basis: Basis) -> MetricValue:
    """By the convention that the result names."""
    return _utilization(basis, basis.utilization.convention)


def mfu_full(basis: Basis) -> MetricValue:
    """By `matmul-full-v1`, which counts masked attention too: what torchtitan would print."""
    return _utilization(basis, FULL_CONVENTION)


def mfu_used_devices(basis: Basis) -> MetricValue:
    """Of the devices that the job drove alone: what the chip could do, not what was paid for."""
    return _utilization(basis, basis.utilization.convention, basis.utilization.used_share)


def hfu(basis: Basis) -> MetricValue:
    """With what was made again and experts' empty places: what the hardware did, analytically."""
    return _utilization(basis, basis.utilization.convention, done_again=True)


def mfu_bf16_equivalent(basis: Basis) -> MetricValue:
    """Of work that is partly fp8, as if the peak were that of the rest; it may exceed 1."""
    mix = basis.utilization.fp8
    if mix is None:
        return unknown("no product is made in fp8")
    flops = basis.utilization.flops_per_token.get(basis.utilization.convention)
    if flops is None:
        return unknown(basis.utilization.flops_reason or "the operations are not known")
    return scaled(basis.tokens_per_second, flops / mix.other_flops_per_second)


def ceiling_utilization(basis: Basis) -> MetricValue:
    """Of what matrix products alone came to in the same run, on the devices driven."""
    used = basis.utilization
    if used.ceiling_flops_per_second is None:
        return unknown(used.ceiling_reason or "the ceiling is not known")
    flops = used.flops_per_token.get(used.convention)
    if flops is None:
        return unknown(used.flops_reason or f"no operations by {used.convention}")
    value = scaled(basis.tokens_per_second, flops / used.ceiling_flops_per_second)
    if value.value is not None and value.value > 1:
        said = say_flops_per_second(used.ceiling_flops_per_second)
        return unknown(
            f"{value.value:.0%} of {said}: something disturbed the products while they were timed"
        )
    return value


def _utilization(
    basis: Basis, convention: str, share: float = 1.0, done_again: bool = False
) -> MetricValue:
    """Hold the throughput against this share of the billed chips' peak."""
    peak = basis.utilization.peak_flops_per_second
    if peak is None:
        return unknown(basis.utilization.peak_reason or "the peak is not known")
    flops = basis.utilization.flops_per_token.get(convention)
    if flops is None:
        counted = ", ".join(basis.utilization.flops_per_token) or "nothing"
        return unknown(
            basis.utilization.flops_reason or f"no operations by {convention}, but by {counted}"
        )
    if (mix := basis.utilization.fp8) is not None:
        # How much of the work is fp8 depends on what a convention counts beside it.
        rates = mix.flops_per_second, mix.other_flops_per_second
        peak = mixed_rate(flops, mix.flops_per_token, *rates)
    peak *= share
    if done_again:
        flops += basis.utilization.recomputed_flops_per_token
    value = scaled(basis.tokens_per_second, flops / peak)
    if value.value is not None and value.value > 1:
        return unknown(
            f"{value.value:.0%} of {say_flops_per_second(peak)} cannot be: the measurement or the "
            "peak is wrong"
        )
    return value
