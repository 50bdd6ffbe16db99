"""What it costs to train so many tokens: the work, all that is paid for around it, what moves it.

Source: docs/metrics.md, "Cost to train" and "What a cost depends on". Failures come at random
(Poisson) and a restart can fail too: the exponential form is exact for that. The best checkpoint
interval is Young's (Communications of the ACM 17, 1974).
"""

import math
from dataclasses import dataclass, field, replace

from trnbench.analysis.billing import billed_seconds
from trnbench.analysis.energy import Footprint, Site, footprint
from trnbench.schema.price import Price
from trnbench.schema.rent import PriceOption
from trnbench.schema.result import Result
from trnbench.units import SECONDS_PER_DAY, SECONDS_PER_HOUR

PUBLISHED_FAILURES_PER_INSTANCE_DAY = 419 / (54 * 16_384 / 8)
"""Unplanned interruptions in Llama 3 405B's training: 419 in 54 days on 16,384 H100s, eight to a
machine. Source: arXiv 2407.21783, section 3.3.4 (read 2026-11). None is published for Trainium."""

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
class Reliability:
    """How often the job is interrupted, and for how long; defaults are planning values."""

    failures_per_instance_day: float = PUBLISHED_FAILURES_PER_INSTANCE_DAY
    restart_seconds: float = 900.0
    """To detect it, replace what broke, start, load, and find the compiled programs again."""
    checkpoint_seconds: float = 60.0
    """For which training waits at each checkpoint."""
    checkpoint_interval_seconds: float | None = None
    """None: Young's, the square root of 2 x checkpoint_seconds x mean time between failures."""

    def with_failures(self, factor: float) -> "Reliability":
        """Return it with so many times the failures."""
        return replace(self, failures_per_instance_day=self.failures_per_instance_day * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Tokens to train, and other time that is paid for."""

    tokens: float
    reliability: Reliability = field(default_factory=Reliability)
    start_seconds: float = 0.0
    compile_seconds: float = 0.0
    """With an empty cache."""
    evaluation_seconds: float = 0.0
    idle_seconds: float = 0.0
    """Paid for and not used: before the start, after the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCost:
    """Infinite where failures leave no time between them."""

    productive_seconds: float
    """All tokens at the measured speed."""
    total_seconds: float
    usd: float
    goodput: float
    """Productive part of the time in which it trains, checkpoints and restarts included (ETTR)."""
    utilisation: float
    """Productive part of all time that is paid for."""


@dataclass(frozen=True, slots=True)
class CostRange:
    """A job's cost at the measured speed, and at its best and its worst.

    Best: the upper end of the speed's interval and half the failures; worst: its lower end and
    twice the failures.
    """

    best: TrainingCost
    expected: TrainingCost
    worst: TrainingCost


def cost_to_train(
    job: TrainingJob, *, tokens_per_second: float, usd_per_hour: float, instances: int
) -> TrainingCost:
    """Compute one job's cost by the speed of the whole job and the price of one instance."""
    productive = job.tokens / tokens_per_second
    running = seconds_with_failures(productive, job.reliability, instances)
    around = job.start_seconds + job.compile_seconds + job.evaluation_seconds + job.idle_seconds
    total = running + around
    return TrainingCost(
        productive_seconds=productive,
        total_seconds=total,
        usd=usd_per_hour * instances * total / SECONDS_PER_HOUR,
        goodput=productive / running,
        utilisation=productive / total,
    )


def range_to_train(
    job: TrainingJob,
    *,
    tokens_per_second: tuple[float, float, float],
    usd_per_hour: float,
    instances: int,
) -> CostRange:
    """Compute a job's cost at the low end, value and high end of its speed; see `CostRange`."""

    def at(speed: float, failures: float) -> TrainingCost:
        changed = replace(job, reliability=job.reliability.with_failures(failures))
        return cost_to_train(
            changed, tokens_per_second=speed, usd_per_hour=usd_per_hour, instances=instances
        )

    low, value, high = tokens_per_second
    return CostRange(best=at(high, 0.5), expected=at(value, 1.0), worst=at(low, 2.0))


def seconds_with_failures(productive: float, reliability: Reliability, instances: int) -> float:
    """Return how long so many seconds of work take, with checkpoints, failures and restarts.

    W / tau x (1 / lambda) x exp(lambda R) x (exp(lambda (tau + w)) - 1), which goes to
    W (1 + w / tau) where nothing fails.
    """
    per_second = reliability.failures_per_instance_day * instances / SECONDS_PER_DAY
    blocked = reliability.checkpoint_seconds
    interval = checkpoint_interval_seconds(reliability, instances)
    if per_second == 0:
        return productive if interval is None else productive * (1 + blocked / interval)
    if interval is None:
        raise ValueError("checkpoints without a length have no best interval: give one")
    try:
        lost = math.exp(per_second * reliability.restart_seconds)
        lost *= math.expm1(per_second * (interval + blocked)) / per_second
    except OverflowError:
        return math.inf
    return productive / interval * lost


def checkpoint_interval_seconds(reliability: Reliability, instances: int) -> float | None:
    """Return the interval that is set, else Young's; None where nothing fails and none is set."""
    if reliability.checkpoint_interval_seconds is not None:
        return reliability.checkpoint_interval_seconds
    per_second = reliability.failures_per_instance_day * instances / SECONDS_PER_DAY
    if per_second == 0:
        return None
    return math.sqrt(2 * reliability.checkpoint_seconds / per_second) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBasis:
    """What the cost of a million tokens depends on."""

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
        """Part of the training time whose work is kept; 0 where none is."""
        return 1 / self._paid_per_kept

    @property
    def _paid_per_kept(self) -> float:
        return seconds_with_failures(1.0, self.reliability, self.instances)

    @property
    def usd_per_million_tokens(self) -> float:
        """Checkpoints, failures and restarts included."""
        per_token = self.usd_per_hour / SECONDS_PER_HOUR / self.tokens_per_second
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
    cost, goodput = basis.usd_per_million_tokens, basis.goodput
    prices, failures = [], []
    for step in PRICE_STEPS:
        changed = replace(basis, usd_per_hour=basis.usd_per_hour * (1 + step))
        prices.append((f"{step:+.0%}", changed.usd_per_million_tokens))
    for factor in FAILURE_FACTORS:
        changed = replace(basis, reliability=basis.reliability.with_failures(factor))
        failures.append((f"x{factor:g}", changed.usd_per_million_tokens))
    swings = [Swing("price", tuple(prices)), Swing("failures", tuple(failures))]
    if goodput > 0:
        lower = max(goodput - GOODPUT_LOSS, 0.01)
        losses = ((f"{goodput:.1%}", cost), (f"{lower:.1%}", cost * goodput / lower))
        swings.append(Swing("goodput", losses))
    if basis.low is not None and basis.high is not None:
        speeds = tuple(
            (f"{speed:,.0f}/s", replace(basis, tokens_per_second=speed).usd_per_million_tokens)
            for speed in (basis.high, basis.low)
        )
        swings.append(Swing("tokens per second, ends of its interval", speeds))
    if basis.option in COMMITTED:
        used = tuple((f"{part:.0%}", cost / part) for part in reversed(USED_PARTS))
        swings.append(Swing("part of the paid hours that is used", used))
    return sorted(swings, key=lambda swing: -swing.span)


def mfu_ladder(
    *, usd_per_hour: float, peak_flops_per_second: float, flops_per_token: float
) -> list[tuple[float, float]]:
    """Return utilizations, and what a million tokens would cost at each on the same machines."""
    usd_per_million_flops = usd_per_hour / SECONDS_PER_HOUR / peak_flops_per_second * 1e6
    return [(mfu, usd_per_million_flops * flops_per_token / mfu) for mfu in MFU_STEPS]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSheet:
    """What training a job costs, by one result."""

    result: Result
    price: Price
    job: TrainingJob
    range: CostRange
    has_interval: bool
    """Whether the speed has one; else the range is of the failures alone."""
    billed_usd: float
    """Of the expected job, as the contract bills it: capacity blocks by the day."""
    swings: list[Swing]
    mfu_ladder: list[tuple[float, float]]
    """Utilizations, and what a million tokens would cost at each; empty without a peak."""
    footprint: Footprint | None
    """Of the expected job; None where no power was metered."""
    site: Site


def make_cost_sheet(result: Result, job: TrainingJob, site: Site) -> CostSheet | str:
    """Compute the costs of a priced result, or say why that cannot be done."""
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
        billed_usd=basis.usd_per_hour * seconds / SECONDS_PER_HOUR,
        swings=tornado(basis),
        mfu_ladder=_ladder(result, basis),
        footprint=_footprint(result, found, site),
        site=site,
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


def _footprint(result: Result, found: CostRange, site: Site) -> Footprint | None:
    energy = result.energy
    if energy is None or not energy.is_valid or energy.mean_power_watts is None:
        return None
    if math.isinf(found.expected.total_seconds):
        return None
    return footprint(
        mean_power_watts=energy.mean_power_watts,
        seconds=found.expected.total_seconds,
        pue=site.pue,
        grams_co2e_per_kwh=site.grams_co2e_per_kwh,
    )
