"""Price: an hourly rate that says of what, how rented, where, when, and who says so."""

from datetime import date
from typing import Annotated, Literal, get_args

from pydantic import Field

from trnbench.schema.base import Strict, Usd

RentOption = Literal[
    "on_demand",
    "spot",
    "capacity_block",
    "savings_plan_1y",
    "savings_plan_3y",
    "reserved_1y",
    "reserved_3y",
]
"""How an instance is rented."""

RENT_OPTIONS: tuple[RentOption, ...] = get_args(RentOption)

PriceOption = RentOption | Literal["user"]
"""How a rate came about; `user` is one that the user gave."""


UsdPerHour = Annotated[Usd, Field(gt=0, le=100_000)]
"""A rate for one whole instance; never zero: a price of 0 is a missing price."""


class Price(Strict):
    """One rate for one whole instance."""

    usd_per_hour: UsdPerHour
    """US dollars for one instance for one hour."""
    instance: str | None
    """The instance type; null where the user gave a rate for a machine without a name."""
    option: PriceOption
    region: str | None
    """null where the user gave a rate without one."""
    date: Annotated[date, Field(strict=False)]
    """The day on which the rate held."""
    source: str
    """Who says so."""
    note: str | None = None
    """What a reader must know beside it."""
