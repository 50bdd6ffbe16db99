"""What a source of prices is asked, and what it answers."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from trnbench.schema.price import Price, RentOption


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRequest:
    """Whose price is asked for, and how it is rented; None leaves a choice open."""

    instance: str | None
    option: RentOption | None
    region: str | None
    is_this_machine: bool = False
    """Whether the instance was recognised, not named: then another region's rate is no answer."""
    usd_per_hour: Decimal | None = None
    """A rate that the user gave."""
    today: date


@dataclass(frozen=True, slots=True)
class NoPrice:
    """Why there is no price, and what would give one. Never a price of zero."""

    reason: str
    hint: str


class PriceSource(Protocol):
    """Something that knows prices."""

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return one price for the request, or why there is none."""
        ...
