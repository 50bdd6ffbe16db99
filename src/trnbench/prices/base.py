"""What a source of prices is asked, and what it answers."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Protocol

from trnbench.schema.price import Price
from trnbench.schema.rent import PriceOption, RentOption


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRequest:
    """Whose price is asked for, and how it is rented; None leaves a choice open."""

    instance: str | None
    option: RentOption | None = None
    region: str | None = None
    is_this_machine: bool = False
    """Whether the instance was recognised, not named: then another region's rate is no answer."""
    zone: str | None = None
    """An availability zone by name or id, where rates differ by zone."""
    instance_reason: str | None = None
    """Why the instance is not known, where the machine was asked and did not say."""
    usd_per_hour: Decimal | None = None
    """A rate that the user gave."""
    is_settled: bool = False
    """Whether what is left open is settled by the rule of docs/prices.md, and not refused."""
    today: date

    @property
    def local_zone(self) -> str | None:
        """The local zone, if that is where it is: a region's rates do not hold there."""
        is_local = self.zone is not None and self.zone.startswith(f"{self.region}-")
        return self.zone if is_local else None

    def choose(
        self,
        *,
        option: RentOption | None = None,
        region: str | None = None,
        zone: str | None = None,
        usd_per_hour: Decimal | None = None,
    ) -> "PriceRequest":
        """Return the request with what the user chose; None keeps what it has."""
        return replace(
            self,
            option=option or self.option,
            region=region or self.region,
            zone=zone or self.zone,
            usd_per_hour=usd_per_hour or self.usd_per_hour,
        )


@dataclass(frozen=True, slots=True)
class NoPrice:
    """Why there is no price, and what would give one. Never a price of zero."""

    reason: str
    hint: str
    is_failure: bool = False
    """Whether a source could not be asked or understood; else it knows that there is none."""
    is_open: bool = False
    """Whether there are rates, and what was asked leaves open which of them is meant."""


class PriceSource(Protocol):
    """Something that knows prices."""

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return one price for the request, or why there is none."""
        ...


class UserRateSource:
    """Answers with the rate that the user gave, if one was given."""

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return the user's rate for the whole instance."""
        if request.usd_per_hour is None:
            return NoPrice("no rate was given", "give `--usd-per-hour`")
        return price_of(request, request.usd_per_hour, option="user", source="given by the user")


def price_of(
    request: PriceRequest,
    usd_per_hour: Decimal,
    *,
    option: PriceOption,
    source: str,
    zone: str | None = None,
    note: str | None = None,
) -> Price:
    """Return a rate that holds today as the price of what was asked."""
    return Price(
        usd_per_hour=usd_per_hour,
        instance=request.instance,
        option=option,
        region=request.region,
        zone=zone,
        date=request.today,
        source=source,
        note=note,
    )


def add_note(price: Price, note: str) -> Price:
    """Return the price with one more thing to know beside it."""
    return price.model_copy(update={"note": f"{price.note}; {note}" if price.note else note})


def unknown_instance(request: PriceRequest, hint: str) -> NoPrice:
    """Return the answer for a machine whose instance type is not known."""
    why = f": {request.instance_reason}" if request.instance_reason else ""
    return NoPrice(f"the price of this machine is not known{why}", hint)


def utc_now() -> datetime:
    """Return the time of day, for provenance and for the age of a kept rate."""
    return datetime.now(UTC)
