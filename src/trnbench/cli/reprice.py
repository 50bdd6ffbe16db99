"""Stored results, at the prices that the command line asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from trnbench.cli.price_options import PriceChoice, read_rate
from trnbench.errors import ConfigError, UnavailableError
from trnbench.prices import find_price, request_of, sources_for
from trnbench.prices.base import NoPrice, PriceRequest, PriceSource
from trnbench.prices.table import DEFAULT_REGIONS, OPTION_ORDER
from trnbench.reports.offers import Offered
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, RentOption
from trnbench.schema.result import Result

if TYPE_CHECKING:  # numpy, which stored results at their own price need not
    from trnbench.compare.launches import Launch


@dataclass(frozen=True, slots=True)
class PriceFinder:
    """Finds prices as the command line asks for them."""

    choice: PriceChoice
    sources: Sequence[PriceSource]
    usd_per_hour: Decimal | None
    today: date = field(default_factory=lambda: _today())
    """The day on which the rates are asked for."""
    _answers: dict[PriceRequest, Price | NoPrice] = field(default_factory=dict)
    """By request, because a thousand results are of a few machines."""

    @classmethod
    def of(
        cls,
        choice: PriceChoice,
        rate_option: str = "--usd-per-hour",
        today: date | None = None,
    ) -> "PriceFinder":
        """Read the rate, and the file of rates; `today` is another day than this one."""
        rate = read_rate(rate_option, choice.usd_per_hour)
        day = today or _today()
        return cls(choice, sources_for(choice.source or "table", choice.file, day), rate, day)

    def find(self, subject: Result | str, option: RentOption | None = None) -> Price | NoPrice:
        """Return the price of a result's machine, or of a published run's instance type.

        A result's own price says what the command line does not. `option` is a way of renting that
        may not be sold.

        Raises:
            UnavailableError: only a live price was asked for, and there is none.
        """
        if is_result := isinstance(subject, Result):
            request = request_of(subject, self.today)
        else:
            request = PriceRequest(instance=subject, today=self.today)
        request = request.choose(
            option=option or self.choice.option,
            region=self.choice.region,
            usd_per_hour=self.usd_per_hour if is_result else None,
        )
        answer = self._ask(request)
        if isinstance(answer, Price) or self.choice.source != "live" or request.instance is None:
            return answer
        if answer.is_failure or (is_result and option is None):
            raise UnavailableError(f"--price-source live: {answer.reason}", hint=answer.hint)
        return answer

    def settle(self, instance: str) -> Price | NoPrice:
        """Return the cheapest rate at which a person can rent an instance type that day.

        Without a way of renting the cheaper of on demand and of capacity blocks is taken; without a
        region the rule of docs/prices.md chooses one.
        """
        request = PriceRequest(instance=instance, today=self.today, is_settled=True)
        request = request.choose(option=self.choice.option, region=self.choice.region)
        options = [self.choice.option] if self.choice.option else [None, *OPTION_ORDER]
        answers = [self._ask(request.choose(option=option)) for option in options]
        prices = [answer for answer in answers if isinstance(answer, Price)]
        newest_first = sorted(prices, key=lambda price: price.date, reverse=True)
        return min(newest_first, key=lambda price: price.usd_per_hour, default=answers[0])

    @property
    def rule(self) -> str:
        """Say which price `settle` takes."""
        option, region = self.choice.option, self.choice.region
        default = f"{', else '.join(DEFAULT_REGIONS)}, else the cheapest region"
        return (
            f"{option or 'the cheaper of on_demand and capacity_block'}, in {region or default}; "
            "of differing zones the cheapest; --on, --region and --price-option take others"
        )

    def _ask(self, request: PriceRequest) -> Price | NoPrice:
        if request not in self._answers:
            self._answers[request] = find_price(request, self.sources)
        return self._answers[request]

    def reprice(self, result: Result) -> Result:
        """Return a result at the price that was chosen; as it is, if no price was chosen."""
        if not self.choice.is_any:
            return result
        return _at(result, self.find(result))

    def reprice_each(self, results: "Iterable[Result]") -> list[Result]:
        """Return results at the price that was chosen.

        Raises:
            ConfigError: it was chosen by what says nothing of any of their machines.
        """
        found = list(results)
        if found and not any(result.device.instance for result in found):
            self.choice.require_rate()
        return [*map(self.reprice, found)]

    def reprice_launches(self, launches: "Sequence[Launch]") -> "list[Launch]":
        """Return launches with their results at the price that was chosen."""
        return [replace(launch, result=self.reprice(launch.result)) for launch in launches]

    def reprice_all(self, result: Result) -> list[Offered]:
        """Return a result at the price of each way of renting, or once with the reason for none.

        The user's own rate is one of them. A way of renting whose rates differ, or whose source
        failed, is listed with the reason; one that is not sold is left out.
        """
        answers = {option: self.find(result, option) for option in RENT_OPTIONS}
        offers = [
            Offered(answer.option if isinstance(answer, Price) else option, _at(result, answer))
            for option, answer in answers.items()
            if isinstance(answer, Price) or answer.is_open or answer.is_failure
        ]
        if result.price is not None and result.price.option not in RENT_OPTIONS:
            offers.insert(0, Offered(result.price.option, result))
        unlike: dict[Price | str, Offered] = {}
        for offer in offers:
            unlike.setdefault(offer.result.price or offer.option, offer)
        return [*unlike.values()] or [Offered("none", _at(result, answers[RENT_OPTIONS[0]]))]

    def offers_of(self, instance: str, *, all_options: bool) -> list[Price | NoPrice]:
        """Return the different prices of an instance type, or the reason why there is none."""
        answers = [self.find(instance, each) for each in (RENT_OPTIONS if all_options else (None,))]
        prices = [answer for answer in answers if isinstance(answer, Price)]
        return [*dict.fromkeys(prices)] or answers[:1]


def _at(result: Result, answer: Price | NoPrice) -> Result:
    from trnbench.analysis.analyze import recost

    if isinstance(answer, Price):
        return recost(result, answer, None)
    return recost(result, None, f"{answer.reason}; {answer.hint}")


def read_day(option: str, text: str | None) -> date | None:
    """Read a day on which prices are asked for; None without one.

    Raises:
        ConfigError: it is no day, or after today, of which no table knows the prices.
    """
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} {text}: is not a day", hint=f"write e.g. {option} 2026-03-01"
        ) from None
    if day > _today():
        from trnbench.catalog.prices import price_rows

        newest = max(row.date for row in price_rows())
        raise ConfigError(
            f"{option} {text}: is after today, {_today()}; no price of that day is known",
            hint=f"the newest rate of the table is of {newest}",
        )
    return day


def _today() -> date:
    return datetime.now(UTC).date()
