"""Stored results, at the prices that the command line asks for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast

from trnbench.analysis.analyze import recost
from trnbench.cli.options import PriceChoice, read_rate
from trnbench.prices import find_price, request_of, sources_for
from trnbench.prices.base import NoPrice, PriceRequest, PriceSource
from trnbench.reports.results import Offered
from trnbench.run.results import load_result
from trnbench.run.store import find_cases
from trnbench.schema.errors import DataError, Problem, UnavailableError
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, PriceSourceName, RentOption
from trnbench.schema.result import Result

Reprice = Callable[[Result], Result]


def load_results(paths: Sequence[Path], problems: list[Problem]) -> Iterator[Result]:
    """Yield every result that can be read; add to `problems` what is wrong with the others."""
    for path in paths:
        try:
            cases = list(find_cases([path]))
        except DataError as error:
            problems.extend(error.problems)
            continue
        for case in cases:
            try:
                yield load_result(case)
            except DataError as error:
                problems.extend(error.problems)


@dataclass(frozen=True, slots=True)
class PriceFinder:
    """Finds the price of an instance as it was chosen on the command line."""

    choice: PriceChoice
    sources: Sequence[PriceSource]
    usd_per_hour: Decimal | None
    _answers: dict[PriceRequest, Price | NoPrice] = field(default_factory=dict)
    """By what was asked: a thousand results are of a few machines."""

    @classmethod
    def of(cls, choice: PriceChoice) -> "PriceFinder":
        """Read what was chosen."""
        typed = choice.usd_per_hour
        rate = None if typed is None else read_rate("--usd-per-hour", typed)
        name = cast(PriceSourceName, choice.source.value if choice.source else "table")
        return cls(choice, sources_for(name, choice.file, today()), rate)

    def of_result(self, result: Result, option: RentOption | None = None) -> Price | NoPrice:
        """Return what a result's machine costs; what was not asked is as its own price has it.

        Args:
            result: whose instance, region and option count.
            option: another way of renting, whatever was chosen.
        """
        price = self._find(
            request_of(
                result,
                today(),
                option=option or self._option,
                region=self.choice.region,
                usd_per_hour=self.usd_per_hour,
            )
        )
        is_live = self.choice.source is not None and self.choice.source.value == "live"
        if isinstance(price, Price) or not is_live or result.device.instance is None:
            return price
        if option is None or price.is_failure:
            raise UnavailableError(f"--price-source live: {price.reason}", hint=price.hint)
        return price

    def of_instance(
        self, instance: str, *, all_options: bool = False
    ) -> list[tuple[Price | None, str | None]]:
        """Return what an instance costs as it was chosen, or under every way of renting it.

        Each is a price, or none and the reason; there is always one at least.
        """
        found: list[tuple[Price | None, str | None]] = []
        why = None
        for option in RENT_OPTIONS if all_options else (self._option,):
            price = self._find(
                request_of(instance, today(), option=option, region=self.choice.region)
            )
            if isinstance(price, Price):
                if (price, None) not in found:
                    found.append((price, None))
                continue
            is_live = self.choice.source is not None and self.choice.source.value == "live"
            if is_live and price.is_failure:
                raise UnavailableError(f"--price-source live: {price.reason}", hint=price.hint)
            why = why or f"{price.reason}; {price.hint}"
        return found or [(None, why)]

    @property
    def _option(self) -> RentOption | None:
        return cast(RentOption, self.choice.option.value) if self.choice.option else None

    def _find(self, request: PriceRequest) -> Price | NoPrice:
        if request not in self._answers:
            self._answers[request] = find_price(request, self.sources)
        return self._answers[request]


def make_repricer(choice: PriceChoice) -> Reprice:
    """Return what gives a result its price: itself, where nothing about prices was asked."""
    if not choice.is_any:
        return lambda result: result
    finder = PriceFinder.of(choice)

    return lambda result: repriced(result, finder)


def repriced(result: Result, finder: PriceFinder) -> Result:
    """Return a result at the price that was chosen, or at none and why."""
    price = finder.of_result(result)
    if isinstance(price, NoPrice):
        return recost(result, None, f"{price.reason}; {price.hint}")
    return recost(result, price, None)


def under_all_options(result: Result, finder: PriceFinder) -> list[Offered]:
    """Return a result at the price of each way of renting, or once with the reason for none.

    The user's own rate is one of them. A way of renting whose rates differ, or whose source
    failed, is listed with the reason; one that is not sold is left out.
    """
    offered = []
    if result.price is not None and result.price.option not in RENT_OPTIONS:
        offered.append(Offered(result.price.option, result))
    reasons = []
    for option in RENT_OPTIONS:
        price = finder.of_result(result, option)
        if isinstance(price, Price):
            offered.append(Offered(price.option, recost(result, price, None)))
        elif price.is_open or price.is_failure:
            told = f"{price.reason}; {price.hint}"
            offered.append(Offered(option, recost(result, None, told)))
        else:
            reasons.append(f"{price.reason}; {price.hint}")
    seen: dict[tuple[object, ...], Offered] = {}
    for each in offered:
        key = each.option if each.result.price is None else each.result.price.model_dump_json()
        seen.setdefault((key,), each)
    return list(seen.values()) or [Offered("none", recost(result, None, reasons[0]))]


def today() -> date:
    """Return the day for which prices are asked, in UTC."""
    return datetime.now(UTC).date()
