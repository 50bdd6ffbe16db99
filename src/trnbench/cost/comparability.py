"""Whether costs can be compared by the prices that they rest on. Source: docs/prices.md."""

from collections.abc import Iterator, Sequence
from datetime import date

from trnbench.schema.price import Price

OLD_DAYS = 60
"""Rates of training instances moved by a third within five months of 2026."""


def comparability_notes(prices: Sequence[Price | None], today: date) -> list[str]:
    """Return what keeps costs at these prices from being compared; nothing where they can."""
    known = [price for price in prices if price is not None]
    ages = dict.fromkeys(age_note(price, today) for price in known)
    return [*mixed_notes(known), *(note for note in ages if note is not None)]


def mixed_notes(prices: Sequence[Price]) -> Iterator[str]:
    """Yield in what the contracts of these prices differ."""
    options = {price.option for price in prices}
    if len(options) > 1:
        yield (
            f"costs rest on different ways of renting ({', '.join(sorted(options))}): part of "
            "what differs is the contract, not the machine"
        )
    regions = {price.region for price in prices if price.region is not None}
    if len(regions) > 1:
        yield f"costs rest on prices of different regions ({', '.join(sorted(regions))})"


def age_note(price: Price, today: date) -> str | None:
    """Return what is wrong with a price's date: it is old, or in the future; else None."""
    days = (today - price.date).days
    of = " ".join(part for part in (price.instance, price.option, price.region) if part)
    if days > OLD_DAYS:
        return f"the price of {of} is {days} days old ({price.date}): look for a newer one"
    if days < -1:  # somewhere it is tomorrow already
        return f"the price of {of} is dated {price.date}, after today: is this clock right?"
    return None
