"""The user's own rates, contracts, discounts and machines, as a source of prices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from trnbench.catalog.prices import PriceRow
from trnbench.config.rates import OwnDiscount, OwnedHardware, OwnRate, read_rates
from trnbench.prices.base import NoPrice, PriceRequest, PriceSource, add_note
from trnbench.prices.table import OWN_RATE, TableSource
from trnbench.schema.price import Price
from trnbench.units import say_usd


def read_rates_file(path: Path, today: date, base: PriceSource) -> PriceSource:
    """Read a file of the user's own rates, whose discounts are off those of `base`."""
    found = read_rates(path, today)
    rows: dict[str, list[PriceRow]] = {}
    for rate in found.rates:
        rows.setdefault(rate.instance_type, []).append(_as_row(rate, path.name, today))
    return OwnFileSource(
        rates=TableSource(lambda: rows, name=path.name),
        owned={each.instance_type: each for each in found.owned},
        discounts=found.discounts,
        base=base,
        name=path.name,
        today=today,
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
        owned = self.owned.get(request.instance or "")
        if owned is not None and request.option is None:
            return self._of_owned(owned)
        answer = self.rates.quote(request)
        if isinstance(answer, Price) or request.instance is None:
            return answer
        if owned is not None:
            return self._of_owned(owned)
        if not any(d.instance_type in (None, request.instance) for d in self.discounts):
            return answer
        return self._discounted(self.base.quote(request), request)

    def _of_owned(self, owned: OwnedHardware) -> Price:
        said = (
            f"{say_usd(owned.capital_usd)} over {owned.years} years, "
            f"{owned.power_watts / 1000:f} kW at ${owned.usd_per_kwh} a kWh, PUE {owned.pue}, "
            f"used {owned.utilization:.0%} of the time"
        )
        return Price(
            usd_per_hour=owned.usd_per_hour,
            instance=owned.instance_type,
            option="owned",
            region=None,
            date=owned.date or self.today,
            source=f"{owned.source or self.name}: {said}",
        )

    def _discounted(self, base: Price | NoPrice, request: PriceRequest) -> Price | NoPrice:
        if isinstance(base, NoPrice):
            return base
        fitting = [
            each
            for each in self.discounts
            if each.instance_type in (None, base.instance)
            and each.option in (None, base.option)
            and each.region in (None, base.region)
        ]
        if len(fitting) != 1:
            how_many = f"{len(fitting)} discounts" if fitting else "no discount"
            return NoPrice(
                f"{self.name} has {how_many} for {request.instance} {base.option}",
                f"let exactly one fit, by its option and region; {OWN_RATE}",
            )
        (discount,) = fitting
        off = f"{discount.percent_off} % off ${base.usd_per_hour}"
        return add_note(base, f"{off} ({discount.source or self.name})").model_copy(
            update={"usd_per_hour": base.usd_per_hour * (100 - discount.percent_off) / 100}
        )
