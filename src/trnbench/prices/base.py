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
    zone: str | None = None
    """An availability zone by name or id, where rates differ by zone."""
    instance_reason: str | None = None
    """Why nobody knows the instance, where the machine was asked and did not say."""
    usd_per_hour: Decimal | None = None
    """A rate that the user gave."""
    today: date


@dataclass(frozen=True, slots=True)
class NoPrice:
    """Why there is no price, and what would give one. Never a price of zero."""

    reason: str
    hint: str
    is_failure: bool = False
    """Whether a source could not be asked or understood; else it knows that there is none."""
    is_open: bool = False
    """Whether there are rates, and what was asked leaves open which of them is meant."""


def nobody_knows(request: PriceRequest, hint: str) -> NoPrice:
    """Return what is said where the instance itself is not known."""
    why = f": {request.instance_reason}" if request.instance_reason else ""
    return NoPrice(f"nobody knows what this machine costs{why}", hint)


class PriceSource(Protocol):
    """Something that knows prices."""

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return one price for the request, or why there is none."""
        ...
