"""How far a cost moves when what it rests on does.

Source: docs/metrics.md, "What a cost depends on": it is linear in price and inverse in speed and
goodput, so that dC/C = dp/p - d(speed)/speed - d(goodput)/goodput.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trnbench.analysis.training_cost import Reliability, seconds_with_failures
from trnbench.schema.price import PriceOption

PRICE_STEPS = (-0.30, 0.30)
GOODPUT_LOSS = 0.05
USED_PARTS = (0.50, 0.75, 1.00)
"""Of the hours that were committed to."""
FAILURE_FACTORS = (0.5, 2.0)
COMMITTED: tuple[PriceOption, ...] = (
    "savings_plan_1y", "savings_plan_3y", "reserved_1y", "reserved_3y", "capacity_block",
)  # fmt: skip
"""Ways of renting whose idle hours are paid for."""

MFU_STEPS = (0.2, 0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBasis:
    """What a cost of tokens rests on."""

    usd_per_hour: float
    """Of all instances that are billed."""
    tokens_per_second: float
    low: float | None
    high: float | None
    instances: int
    option: PriceOption
    reliability: Reliability

    @property
    def goodput(self) -> float:
        """The part of the time in which work is done that is kept; 0 where none ever is."""
        return 1 / self._paid_per_kept

    @property
    def _paid_per_kept(self) -> float:
        return seconds_with_failures(1.0, self.reliability, self.instances)

    @property
    def usd_per_million_tokens(self) -> float:
        """Checkpoints, failures and restarts included."""
        per_token = self.usd_per_hour / 3600 / self.tokens_per_second
        return per_token * 1e6 * self._paid_per_kept


@dataclass(frozen=True, slots=True)
class Swing:
    """One thing changed: what a million tokens cost at each of its settings."""

    what: str
    settings: tuple[tuple[str, float], ...]

    @property
    def span(self) -> float:
        """From the cheapest to the dearest."""
        costs = [usd for _, usd in self.settings]
        return max(costs) - min(costs) if math.isfinite(max(costs)) else math.inf


def tornado(basis: CostBasis) -> list[Swing]:
    """Return what the cost moves with, what moves it most first."""
    swings = [_price(basis), _failures(basis)]
    if basis.goodput > 0:
        swings.append(_goodput(basis))
    if basis.low is not None and basis.high is not None:
        swings.append(_speed(basis, basis.low, basis.high))
    if basis.option in COMMITTED:
        swings.append(_use(basis))
    return sorted(swings, key=lambda swing: -swing.span)


def usd_per_million_tokens_at_mfu(
    *, usd_per_hour: float, peak_flops_per_second: float, flops_per_token: float, mfu: float
) -> float:
    """Return what a million tokens would cost at a utilization, on the same machines."""
    tokens_per_second = mfu * peak_flops_per_second / flops_per_token
    return usd_per_hour / 3600 / tokens_per_second * 1e6


def mfu_ladder(
    *,
    usd_per_hour: float,
    peak_flops_per_second: float,
    flops_per_token: float,
    steps: Sequence[float] = MFU_STEPS,
) -> list[tuple[float, float]]:
    """Return utilizations, and what a million tokens would cost at each."""
    return [
        (
            mfu,
            usd_per_million_tokens_at_mfu(
                usd_per_hour=usd_per_hour,
                peak_flops_per_second=peak_flops_per_second,
                flops_per_token=flops_per_token,
                mfu=mfu,
            ),
        )
        for mfu in steps
    ]


def _price(basis: CostBasis) -> Swing:
    settings = tuple(
        (
            f"{step:+.0%}",
            replace(basis, usd_per_hour=basis.usd_per_hour * (1 + step)).usd_per_million_tokens,
        )
        for step in PRICE_STEPS
    )
    return Swing("price", settings)


def _speed(basis: CostBasis, low: float, high: float) -> Swing:
    settings = tuple(
        (f"{speed:,.0f}/s", replace(basis, tokens_per_second=speed).usd_per_million_tokens)
        for speed in (high, low)
    )
    return Swing("tokens per second, ends of its interval", settings)


def _goodput(basis: CostBasis) -> Swing:
    lower = max(basis.goodput - GOODPUT_LOSS, 0.01)
    costs = basis.usd_per_million_tokens
    return Swing(
        "goodput",
        ((f"{basis.goodput:.1%}", costs), (f"{lower:.1%}", costs * basis.goodput / lower)),
    )


def _failures(basis: CostBasis) -> Swing:
    settings = []
    for factor in FAILURE_FACTORS:
        rate = basis.reliability.failures_per_instance_day * factor
        changed = replace(basis.reliability, failures_per_instance_day=rate)
        settings.append(
            (f"x{factor:g}", replace(basis, reliability=changed).usd_per_million_tokens)
        )
    return Swing("failures", tuple(settings))


def _use(basis: CostBasis) -> Swing:
    settings = tuple(
        (f"{used:.0%}", basis.usd_per_million_tokens / used) for used in reversed(USED_PARTS)
    )
    return Swing("part of the paid hours that is used", settings)
