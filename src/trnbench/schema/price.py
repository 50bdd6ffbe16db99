"""Price: an hourly rate of an instance, with how it is rented, where, when, and its source."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from trnbench.schema.base import Strict
from trnbench.schema.rent import PriceOption


def read_exactly(value: Any) -> Any:
    """Read a rate as it was written: 35.7608 must not become 35.76079999999999..."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except ArithmeticError:
            return value
    return value


MAX_USD_PER_HOUR = 100_000
"""Nothing that is rented by the hour costs more."""

_BOUNDS = Field(gt=0, le=MAX_USD_PER_HOUR)

UsdPerHour = Annotated[
    Decimal,
    _BOUNDS,
    BeforeValidator(read_exactly, json_schema_input_type=Annotated[float, _BOUNDS]),
    PlainSerializer(str, return_type=str, when_used="json"),
]
"""An exact rate for one whole instance, read from a number or text, written as text; never 0."""


class Price(Strict):
    """One rate for one whole instance."""

    usd_per_hour: UsdPerHour
    """US dollars for one instance for one hour."""
    instance: str | None
    """The instance type; null where the user gave a rate for a machine without a name."""
    option: PriceOption
    region: str | None
    """null where the user gave a rate without one."""
    zone: str | None = None
    """The availability zone, where the rate is a zone's own; its id where that is known."""
    date: Annotated[date, Field(strict=False)]
    """The day on which the rate held."""
    source: str
    """Where the rate is from."""
    note: str | None = None
    """What a reader must know beside it."""
    retrieved_at: str | None = None
    """When the cloud was asked for it, UTC, ISO 8601; null where it was not asked."""
