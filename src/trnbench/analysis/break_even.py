"""Where two offers cost the same: by price, by speed, by discount, by how much is trained.

Source: docs/metrics.md, "Two offers". Prices are constants, so an interval here is that of the
speeds. Of two offers each is taken at its own ends: wider than a 95 % interval of their ratio,
never narrower. A comparison over launches has the ratio with an interval of its own, which goes
into `even_price` and `even_speed` as it is.
"""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["cheaper", "dearer", "cannot_tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A job's speed and what it costs."""

    usd_per_hour: float
    """Of all instances that are billed."""
    tokens_per_second: float
    low: float | None = None
    """Lower end of the speed's interval; None where none is known."""
    high: float | None = None

    @property
    def usd_per_token(self) -> float:
        """At the measured speed."""
        return self.usd_per_hour / 3600 / self.tokens_per_second


@dataclass(frozen=True, slots=True)
class Between:
    """A figure between two offers, and its ends; None where a speed has no interval."""

    value: float
    low: float | None
    high: float | None


def speed_ratio(offer: Offer, other: Offer) -> Between:
    """Return the offer's tokens per second over the other's."""
    value = offer.tokens_per_second / other.tokens_per_second
    if offer.low is None or offer.high is None or other.low is None or other.high is None:
        return Between(value, None, None)
    return Between(value, offer.low / other.high, offer.high / other.low)


def even_price(other_usd_per_hour: float, speed: Between) -> Between:
    """Return the price an hour at which a token costs what it does at another offer.

    Args:
        other_usd_per_hour: what an hour of the other costs.
        speed: tokens per second over the other's.
    """
    return _times(speed, other_usd_per_hour)


def even_speed(other_tokens_per_second: Between, price_ratio: float) -> Between:
    """Return the speed at which a token costs what it does at another offer.

    Args:
        other_tokens_per_second: of the other.
        price_ratio: what an hour costs, over what an hour of the other does.
    """
    return _times(other_tokens_per_second, price_ratio)


def price_performance_ratio(offer: Offer, other: Offer) -> Between:
    """Return what a token costs at the other over what it costs at the offer: above 1, cheaper."""
    return _times(speed_ratio(offer, other), other.usd_per_hour / offer.usd_per_hour)


def _times(between: Between, factor: float) -> Between:
    return Between(
        between.value * factor,
        None if between.low is None else between.low * factor,
        None if between.high is None else between.high * factor,
    )


def compare_cost(offer: Offer, other: Offer) -> Verdict:
    """Say which is cheaper, if the whole interval lies on one side of 1."""
    ratio = price_performance_ratio(offer, other)
    if ratio.low is None or ratio.high is None:
        return "cannot_tell"
    if ratio.low > 1:
        return "cheaper"
    return "dearer" if ratio.high < 1 else "cannot_tell"


def break_even_usd_per_hour(offer: Offer, other: Offer) -> Between:
    """Return the price of the offer at which its tokens would cost what the other's do."""
    return even_price(other.usd_per_hour, speed_ratio(offer, other))


def break_even_tokens_per_second(offer: Offer, other: Offer) -> Between:
    """Return the speed that the offer would need for its tokens to cost what the other's do."""
    price = offer.usd_per_hour / other.usd_per_hour
    return even_speed(Between(other.tokens_per_second, other.low, other.high), price)


def break_even_discount(offer: Offer, other: Offer) -> Between:
    """Return the part off the other's price at which its tokens would cost what the offer's do.

    Below zero the other is cheaper already, and could cost so much more.
    """
    ratio = price_performance_ratio(offer, other)
    return Between(
        1 - 1 / ratio.value,
        None if ratio.low is None else 1 - 1 / ratio.low,
        None if ratio.high is None else 1 - 1 / ratio.high,
    )


def break_even_tokens(offer: Offer, other: Offer, one_time_usd: float) -> float | None:
    """Return how many tokens pay for moving to the offer: porting, tuning, cold compilation.

    None: never, for its tokens are not cheaper.
    """
    saved = other.usd_per_token - offer.usd_per_token
    return one_time_usd / saved if saved > 0 else None
