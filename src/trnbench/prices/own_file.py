"""The user's own file of rates: CSV with rates alone, YAML with discounts and machines too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import pydantic

from trnbench.catalog.prices import PriceRow
from trnbench.config.yaml import Document, read_document
from trnbench.errors import ConfigError, Problem
from trnbench.prices.base import NoPrice, PriceRequest, PriceSource
from trnbench.prices.table import OWN_RATE, TableSource, read_price_file
from trnbench.schema.price import MAX_USD_PER_HOUR, Price
from trnbench.schema.rates import OwnDiscount, OwnedHardware, OwnRate, OwnRates
from trnbench.units import HOURS_PER_YEAR, say_usd

HINT = "keys: rates, owned, discounts, all in US dollars; docs/prices.md has an example"


def read_rates_file(path: Path, today: date, base: PriceSource) -> PriceSource:
    """Read a file of the user's own rates, by its ending: `.yaml` or `.yml`, else CSV.

    Args:
        path: the file.
        today: the day of what has no date.
        base: the source of the rates that its discounts are off.

    Raises:
        ConfigError: names the place, the key and the value.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        return read_price_file(path, today)
    document = read_document(path)
    try:
        found = OwnRates.model_validate(document.data)
    except pydantic.ValidationError as error:
        raise ConfigError.of(_problems(error, document)) from error
    if not (found.rates or found.owned or found.discounts):
        raise ConfigError(f"{path}: holds no rate", hint=HINT)
    _refuse_doubles(found, document)
    _check_owned(found, document)
    rows: dict[str, list[PriceRow]] = {}
    for rate in found.rates:
        rows.setdefault(rate.instance_type, []).append(_as_row(rate, path.name, today))
    owned = {each.instance_type: each for each in found.owned}
    return OwnFileSource(
        rates=TableSource(lambda: rows, name=path.name),
        owned=owned,
        discounts=found.discounts,
        base=base,
        name=path.name,
        today=today,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFileSource:
    """A machine of one's own, a rate by contract, or a discount off what others say."""

    rates: TableSource
    owned: Mapping[str, OwnedHardware]
    discounts: Sequence[OwnDiscount]
    base: PriceSource
    name: str
    today: date

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return the rate that fits; a named option looks for a rented machine first."""
        if request.instance is None:
            return self.rates.quote(request)
        owned = self.owned.get(request.instance)
        if owned is not None and request.option is None:
            return self._of_owned(owned)
        answer = self.rates.quote(request)
        if isinstance(answer, Price):
            return answer
        if owned is not None:
            return self._of_owned(owned)
        if not any(_may_fit(discount, request) for discount in self.discounts):
            return answer
        return self._discounted(self.base.quote(request), request)

    def _of_owned(self, owned: OwnedHardware) -> Price:
        said = (
            f"{say_usd(owned.capital_usd)} over {owned.years} years, "
            f"{owned.power_watts / 1000:f} kW at ${owned.usd_per_kwh} a kWh, PUE {owned.pue}, "
            f"used {owned.utilization:.0%} of the time"
        )
        return Price(
            usd_per_hour=owned_usd_per_hour(owned),
            instance=owned.instance_type,
            option="owned",
            region=None,
            date=owned.date or self.today,
            source=f"{owned.source or self.name}: {said}",
        )

    def _discounted(self, base: Price | NoPrice, request: PriceRequest) -> Price | NoPrice:
        if isinstance(base, NoPrice):
            return base
        fitting = [discount for discount in self.discounts if _fits(discount, base)]
        if len(fitting) != 1:
            how_many = f"{len(fitting)} discounts" if fitting else "no discount"
            return NoPrice(
                f"{self.name} has {how_many} for {request.instance} {base.option}",
                f"let exactly one fit, by its option and region; {OWN_RATE}",
            )
        (discount,) = fitting
        off = f"{discount.percent_off} % off ${base.usd_per_hour}"
        note = f"{off} ({discount.source or self.name})"
        rate = base.usd_per_hour * (100 - discount.percent_off) / 100
        return base.model_copy(
            update={
                "usd_per_hour": rate,
                "note": f"{base.note}; {note}" if base.note else note,
            }
        )


def owned_usd_per_hour(owned: OwnedHardware) -> Decimal:
    """Return what an hour of paid work on a machine of one's own costs, to the ten-thousandth cent.

    Source: docs/metrics.md, "Cost": (value lost / life in hours + power + staff) / utilization,
    with 8,760 hours a year.
    """
    lost = (owned.capital_usd - owned.residual_usd) / (owned.years * HOURS_PER_YEAR)
    power = owned.power_watts / 1000 * owned.pue * owned.usd_per_kwh
    staff = owned.staff_usd_per_year / HOURS_PER_YEAR
    return ((lost + power + staff) / owned.utilization).quantize(Decimal("0.000001"))


def _may_fit(discount: OwnDiscount, request: PriceRequest) -> bool:
    return discount.instance_type in (None, request.instance)


def _fits(discount: OwnDiscount, price: Price) -> bool:
    return (
        discount.instance_type in (None, price.instance)
        and discount.option in (None, price.option)
        and discount.region in (None, price.region)
    )


def _as_row(rate: OwnRate, name: str, today: date) -> PriceRow:
    return PriceRow(
        provider="user",
        instance_type=rate.instance_type,
        region=rate.region or "all",
        zone=None,
        option=rate.option,
        usd_per_hour=rate.usd_per_hour,
        date=rate.date or today,
        standing="default",
        source=rate.source or f"the user's file {name}",
    )


def _refuse_doubles(found: OwnRates, document: Document) -> None:
    """Refuse two entries for one thing."""
    keys: list[tuple[str, int, tuple[object, ...]]] = [
        ("rates", place, (rate.instance_type, rate.region, rate.option, rate.date))
        for place, rate in enumerate(found.rates)
    ]
    keys += [("owned", place, (owned.instance_type,)) for place, owned in enumerate(found.owned)]
    seen: set[tuple[object, ...]] = set()
    for name, place, key in keys:
        if (name, *key) in seen:
            raise ConfigError(
                f"{document.where((name, place))}: a second entry of {name} for {key[0]}",
                hint="keep one, or give each its own region, option or date",
            )
        seen.add((name, *key))


def _check_owned(found: OwnRates, document: Document) -> None:
    """Refuse machines that gain in value, and rates out of bounds."""
    for place, owned in enumerate(found.owned):
        where = document.where(("owned", place))
        if owned.residual_usd >= owned.capital_usd:
            raise ConfigError(
                f"{where}: residual_usd: {owned.residual_usd} is not less than the capital of "
                f"{owned.capital_usd}",
                hint="say what it is still worth when it is written off",
            )
        rate = owned_usd_per_hour(owned)
        if not 0 < rate <= MAX_USD_PER_HOUR:
            raise ConfigError(
                f"{where}: {owned.instance_type} comes to ${rate} an hour, which is no price",
                hint="look at its capital_usd, years, power_watts and utilization",
            )


def _said(value: object) -> str:
    return f" {value}" if isinstance(value, Decimal) else f" {value!r}"


def _problems(error: pydantic.ValidationError, document: Document) -> list[Problem]:
    """Give each complaint its line, key and value."""
    found = []
    for fault in error.errors(include_url=False):
        path = tuple(fault["loc"])
        keys = [str(key) for key in path if isinstance(key, str)]
        value = "" if fault["type"] in ("missing", "extra_forbidden") else _said(fault["input"])
        message = fault["msg"][0].lower() + fault["msg"][1:]
        found.append(
            Problem(
                f"{document.where(path)}: {'.'.join(keys) or 'the file'}:{value[:60]} {message}",
                HINT,
            )
        )
    return found
