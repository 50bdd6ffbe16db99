"""Rates: a user's own file of what machines cost, by contract, by discount, or when bought."""

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

from trnbench.schema.base import Strict
from trnbench.schema.price import UsdPerHour, read_exactly
from trnbench.schema.rent import RentOption

Name = Annotated[str, Field(min_length=1, max_length=120)]
Amount = Annotated[Decimal, Field(ge=0, le=10**12), BeforeValidator(read_exactly)]
Percent = Annotated[Decimal, Field(gt=0, lt=100), BeforeValidator(read_exactly)]
Part = Annotated[Decimal, Field(gt=0, le=1), BeforeValidator(read_exactly)]
Factor = Annotated[Decimal, Field(ge=1, le=10), BeforeValidator(read_exactly)]
Day = Annotated[date, Field(strict=False)]
Years = Annotated[Decimal, Field(gt=0, le=50), BeforeValidator(read_exactly)]


class OwnRate(Strict):
    """A rate by contract, for one whole instance."""

    instance_type: Name
    option: RentOption
    usd_per_hour: UsdPerHour
    region: Name | None = None
    """null: everywhere."""
    date: Day | None = None
    """The day from which it holds; null: today."""
    source: Name | None = None


class OwnDiscount(Strict):
    """A part off what the table, or the cloud, says; what is null fits everything."""

    percent_off: Percent
    instance_type: Name | None = None
    option: RentOption | None = None
    region: Name | None = None
    source: Name | None = None


class OwnedHardware(Strict):
    """A machine that was bought: what it loses in value, draws, and takes of work."""

    instance_type: Name
    """What `price.instance` calls it: a type of the table, or a name of your own."""
    capital_usd: Annotated[Decimal, Field(gt=0, le=10**12), BeforeValidator(read_exactly)]
    """Of one machine with its share of network, racks and spares."""
    years: Years
    """Until it is written off."""
    residual_usd: Amount = Decimal(0)
    """What it is still worth then."""
    power_watts: Amount
    """Mean draw of one machine."""
    usd_per_kwh: Amount
    pue: Factor = Decimal(1)
    """Power of the whole room over that of its machines."""
    staff_usd_per_year: Amount = Decimal(0)
    """Work and hosting, for one machine."""
    utilization: Part
    """Part of all hours in which it does paid work: the others are paid for by these."""
    date: Day | None = None
    source: Name | None = None


class OwnRates(Strict):
    """The whole file."""

    rates: Annotated[list[OwnRate], Field(default_factory=list)]
    owned: Annotated[list[OwnedHardware], Field(default_factory=list)]
    discounts: Annotated[list[OwnDiscount], Field(default_factory=list)]
