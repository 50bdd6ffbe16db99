"""All about what one result's tokens cost: to train so many, what it hangs on, its energy."""

import math
from dataclasses import dataclass

from trnbench.analysis.billing import billed_seconds
from trnbench.analysis.energy import Footprint, footprint
from trnbench.analysis.sensitivity import CostBasis, Swing, mfu_ladder, tornado
from trnbench.analysis.surroundings import Surroundings
from trnbench.analysis.training_cost import CostRange, TrainingJob, range_to_train
from trnbench.schema.price import Price
from trnbench.schema.result import Result
from trnbench.schema.units import SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSheet:
    """What one result's tokens cost."""

    result: Result
    price: Price
    job: TrainingJob
    range: CostRange
    has_interval: bool
    """Whether the speed has one; else the range is that of the failures alone."""
    billed_usd: float
    """Of the expected job: what the contract bills, whole days of capacity blocks among it."""
    swings: list[Swing]
    mfu_ladder: list[tuple[float, float]]
    """Utilizations, and what a million tokens would cost at each; empty without a peak."""
    footprint: Footprint | None
    """Of the expected job; None where no power was metered."""
    surroundings: Surroundings


def make_cost_sheet(
    result: Result, job: TrainingJob, surroundings: Surroundings
) -> CostSheet | str:
    """Work out one result, or say why that cannot be done.

    Args:
        result: with its price.
        job: what is to be trained, and what is around it.
        surroundings: for what its energy comes to.
    """
    price, speed = result.price, result.metrics["tokens_per_second"]
    if result.standing in ("invalid", "failed"):
        return f"the result is {result.standing}: nothing follows from it"
    if price is None:
        return result.price_reason or "no price is known"
    if speed.value is None:
        return speed.reason or "no speed is known"
    instances = result.device.instances_billed
    usd_per_hour = float(price.usd_per_hour)
    low, high = speed.low or speed.value, speed.high or speed.value
    found = range_to_train(
        job,
        tokens_per_second=(low, speed.value, high),
        usd_per_hour=usd_per_hour,
        instances=instances,
    )
    basis = CostBasis(
        usd_per_hour=usd_per_hour * instances,
        tokens_per_second=speed.value,
        low=speed.low,
        high=speed.high,
        instances=instances,
        option=price.option,
        reliability=job.reliability,
    )
    seconds = billed_seconds(price.option, found.expected.total_seconds)
    return CostSheet(
        result=result,
        price=price,
        job=job,
        range=found,
        has_interval=speed.low is not None and speed.high is not None,
        billed_usd=usd_per_hour * instances * seconds / SECONDS_PER_HOUR,
        swings=tornado(basis),
        mfu_ladder=_ladder(result, basis),
        footprint=_footprint(result, found, surroundings),
        surroundings=surroundings,
    )


def _ladder(result: Result, basis: CostBasis) -> list[tuple[float, float]]:
    utilization = result.utilization
    flops = utilization.flops_per_token.get(utilization.convention)
    if utilization.peak_flops_per_second is None or flops is None:
        return []
    return mfu_ladder(
        usd_per_hour=basis.usd_per_hour,
        peak_flops_per_second=utilization.peak_flops_per_second,
        flops_per_token=flops,
    )


def _footprint(result: Result, found: CostRange, surroundings: Surroundings) -> Footprint | None:
    energy = result.energy
    if energy is None or not energy.is_valid or energy.mean_power_watts is None:
        return None
    if math.isinf(found.expected.total_seconds):
        return None
    return footprint(
        mean_power_watts=energy.mean_power_watts,
        seconds=found.expected.total_seconds,
        pue=surroundings.pue,
        grams_co2e_per_kwh=surroundings.grams_co2e_per_kwh,
    )
