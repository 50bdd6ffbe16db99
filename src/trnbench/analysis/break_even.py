"""Where two offers cost the same: by price, and by speed.

Source: docs/metrics.md, "Two offers". Prices are constants: an interval here is that of the speeds.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Between:
    """A figure and the ends of its interval; None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> "Between":
        """Return it scaled, its ends with it."""
        return Between(
            self.value * factor,
            None if self.low is None else self.low * factor,
            None if self.high is None else self.high * factor,
        )


def even_price(other_usd_per_hour: float, speed: Between) -> Between:
    """Return the price an hour at which a token costs what it does at another offer.

    Args:
        other_usd_per_hour: what an hour of the other costs.
        speed: tokens per second over the other's.
    """
    return speed.times(other_usd_per_hour)


def even_speed(other_tokens_per_second: Between, price_ratio: float) -> Between:
    """Return the speed at which a token costs what it does at another offer.

    Args:
        other_tokens_per_second: of the other.
        price_ratio: what an hour costs, over what an hour of the other does.
    """
    return other_tokens_per_second.times(price_ratio)
