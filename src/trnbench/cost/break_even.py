"""Where two offers cost the same, and whether their prices can be compared.

Source: docs/metrics.md, "Two offers"; docs/prices.md, "What reports say beside a cost". Prices are
constants: an interval here is that of the speeds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from trnbench.schema.price import Price

OLD_DAYS = 90
"""Rates of training instances moved by a third within five months of 2026."""


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
    """Return the price at which a token costs what it does elsewhere, by the speeds' ratio."""
    return speed.times(other_usd_per_hour)


def even_speed(other_tokens_per_second: Between, price_ratio: float) -> Between:
    """Return the speed at which a token costs what it does elsewhere, by the prices' ratio."""
    return other_tokens_per_second.times(price_ratio)


def fairness_notes(prices: Sequence[Price | None], today: date) -> list[str]:
    """Return what keeps these prices from being compared as they stand; nothing where they can."""
    known = [price for price in prices if price is not None]
    return [*_mixed(known), *_old(known, today)]


def age_note(price: Price, today: date) -> str | None:
    """Return what is told of one price that is old, or from the future; None if it is neither."""
    days = (today - price.date).days
    of = " ".join(part for part in (price.instance, price.option, price.region) if part)
    if days > OLD_DAYS:
        return f"the price of {of} is {days} days old ({price.date}): look for a newer one"
    if days < -1:  # somewhere it is tomorrow already
        return f"the price of {of} is dated {price.date}, after today: is this clock right?"
    return None


def _mixed(prices: Iterable[Price]) -> Iterable[str]:
    prices = list(prices)
    options = {price.option for price in prices}
    if len(options) > 1:
        yield (
            f"costs rest on different ways of renting ({', '.join(sorted(options))}): part of "
            "what differs is the contract, not the machine"
        )
    regions = {price.region for price in prices if price.region is not None}
    if len(regions) > 1:
        yield f"costs rest on prices of different regions ({', '.join(sorted(regions))})"


def _old(prices: Iterable[Price], today: date) -> Iterable[str]:
    told = dict.fromkeys(age_note(price, today) for price in prices)
    return [note for note in told if note is not None]
