"""Rates: a user's own file of what machines cost, by contract, by discount, or when bought."""

import csv
import io
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic
from pydantic import BeforeValidator, Field, model_validator

from trnbench.config.explain import explain_faults
from trnbench.config.yaml import Document, KeyPath, read_document, read_text
from trnbench.errors import ConfigError, Problem
from trnbench.schema.base import Strict
from trnbench.schema.price import MAX_USD_PER_HOUR, UsdPerHour, read_exactly
from trnbench.schema.rent import RentOption
from trnbench.units import HOURS_PER_YEAR

DOLLARS = "rates are in US dollars: convert others, and say so in source"
YAML_HINT = f"keys: rates, owned, discounts, as docs/prices.md shows them; {DOLLARS}"
CSV_HINT = f"columns: instance_type,region,option,usd_per_hour[,date][,source]; {DOLLARS}"
MAX_CSV_BYTES = 10_000_000


def _read_day(value: Any) -> Any:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("is not a day; write it as 2026-11-23") from None


Name = Annotated[str, Field(min_length=1, max_length=120)]
Instance = Annotated[Name, Field(examples=["trn2.48xlarge"])]
Source = Annotated[str, Field(min_length=1, max_length=1000)]
Day = Annotated[date, BeforeValidator(_read_day)]
_EXACTLY = BeforeValidator(read_exactly)
Amount = Annotated[Decimal, Field(ge=0, le=10**12), _EXACTLY]


class OwnRate(Strict):
    """A rate by contract, for one whole instance."""

    instance_type: Instance
    option: RentOption
    usd_per_hour: Annotated[UsdPerHour, Field(examples=[31.2])]
    region: Name | None = None
    """null: everywhere."""
    date: Day | None = None
    """The day from which it holds; null: today."""
    source: Source | None = None


class OwnDiscount(Strict):
    """A part off what the table, or the cloud, says; what is null fits everything."""

    percent_off: Annotated[Decimal, Field(gt=0, lt=100), _EXACTLY]
    instance_type: Instance | None = None
    option: RentOption | None = None
    region: Name | None = None
    source: Source | None = None


class OwnedHardware(Strict):
    """A machine that was bought: what it loses in value, draws, and takes of work."""

    instance_type: Instance
    """What `price.instance` calls it: a type of the table, or a name of your own."""
    capital_usd: Annotated[Decimal, Field(gt=0, le=10**12), _EXACTLY]
    """Of one machine with its share of network, racks and spares."""
    years: Annotated[Decimal, Field(gt=0, le=50), _EXACTLY]
    """Until it is written off."""
    residual_usd: Amount = Decimal(0)
    """What it is still worth then."""
    power_watts: Amount
    """Mean draw of one machine."""
    usd_per_kwh: Amount
    pue: Annotated[Decimal, Field(ge=1, le=10), _EXACTLY] = Decimal(1)
    """Power of the whole site over that of its machines."""
    staff_usd_per_year: Amount = Decimal(0)
    """Work and hosting, for one machine."""
    utilization: Annotated[Decimal, Field(gt=0, le=1), _EXACTLY]
    """Part of all hours in which it does paid work: the others are paid for by these."""
    date: Day | None = None
    source: Source | None = None

    @property
    def usd_per_hour(self) -> Decimal:
        """What an hour of paid work costs, to the ten-thousandth cent.

        Source: docs/metrics.md, "Cost": (value lost / life in hours + power + staff) / utilization,
        with 8,760 hours a year.
        """
        lost = (self.capital_usd - self.residual_usd) / (self.years * HOURS_PER_YEAR)
        power = self.power_watts / 1000 * self.pue * self.usd_per_kwh
        staff = self.staff_usd_per_year / HOURS_PER_YEAR
        return ((lost + power + staff) / self.utilization).quantize(Decimal("0.000001"))

    @model_validator(mode="after")
    def _check_rate(self) -> Self:
        if self.residual_usd >= self.capital_usd:
            raise ValueError(
                f"has a residual_usd of {self.residual_usd}, not less than its capital_usd; "
                "say what it is still worth when it is written off"
            )
        if not 0 < self.usd_per_hour <= MAX_USD_PER_HOUR:
            raise ValueError(
                f"comes to ${self.usd_per_hour} an hour, which is no price; "
                "look at its capital_usd, years, power_watts and utilization"
            )
        return self


class OwnRates(Strict):
    """The whole file."""

    rates: Annotated[list[OwnRate], Field(default_factory=list)]
    owned: Annotated[list[OwnedHardware], Field(default_factory=list)]
    discounts: Annotated[list[OwnDiscount], Field(default_factory=list)]


def read_rates(path: Path, today: date) -> OwnRates:
    """Read a file of the user's own rates: YAML by its ending, else CSV, which has `rates` alone.

    Args:
        path: the file.
        today: the day of a rate that has none, for two of one day are refused.

    Raises:
        ConfigError: everything that is wrong, each with file, line, key and value.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        return _check(_read_csv(path), today)
    found = _check(read_document(path), today)
    if not (found.rates or found.owned or found.discounts):
        raise ConfigError(f"{path}: holds no rate", hint=YAML_HINT)
    return found


def _read_csv(path: Path) -> Document:
    """Read a CSV file as the document that says the same; an empty cell is a key left out."""
    text = read_text(path, MAX_CSV_BYTES, CSV_HINT)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rates: list[dict[str, str]] = []
    lines: dict[KeyPath, int] = {}
    try:
        columns = list(reader.fieldnames or ())
        for name, field in OwnRate.model_fields.items():
            if field.is_required() and name not in columns:
                raise ValueError(f"line 1: column {name} is missing")
        for name in columns:
            if name not in OwnRate.model_fields:
                raise ValueError(f"line 1: column {name!r} is not known")
        for row in reader:
            line = reader.reader.line_num  # the reader's own skips no blank line
            if None in row:
                raise ValueError(f"line {line}: has more cells than columns")
            lines["rates", len(rates)] = line
            cells = {name: (cell or "").strip() for name, cell in row.items()}
            rates.append({name: cell for name, cell in cells.items() if cell})
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{path}, {error}", hint=CSV_HINT) from error
    return Document(str(path), {"rates": rates}, lines)


def _check(document: Document, today: date) -> OwnRates:
    try:
        found = OwnRates.model_validate(document.data)
    except pydantic.ValidationError as error:
        faults = explain_faults(error, document.where, OwnRates)
        raise ConfigError.of(
            Problem(fault.message, f"{fault.hint}; {DOLLARS}") for fault in faults
        ) from error
    keys: list[tuple[KeyPath, tuple[object, ...]]] = [
        (("rates", place), (rate.instance_type, rate.region, rate.option, rate.date or today))
        for place, rate in enumerate(found.rates)
    ]
    keys += [(("owned", place), (each.instance_type,)) for place, each in enumerate(found.owned)]
    first: dict[tuple[object, ...], KeyPath] = {}
    for path, key in keys:
        if first.setdefault((path[0], *key), path) != path:
            raise ConfigError(
                f"{document.where(path)}: a second entry of {path[0]} for {key[0]}",
                hint="keep one, or give each its own region, option or date",
            )
    return found
