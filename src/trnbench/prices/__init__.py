"""What an hour costs: who is asked, in order, and what is asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trnbench.prices.base import NoPrice, PriceRequest, PriceSource, UserRateSource
from trnbench.prices.table import TableSource
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, PriceSourceName, RentOption

if TYPE_CHECKING:
    from trnbench.schema.result import Result

PRICE_SOURCES: tuple[PriceSource, ...] = (UserRateSource(), TableSource())
"""Asked where nothing else was chosen: none of them leaves this machine."""


class KnownMachine(Protocol):
    """A machine that was looked at; None is what it does not tell."""

    @property
    def instance(self) -> str | None:
        """The instance type."""

    @property
    def region(self) -> str | None:
        """Where it is."""

    @property
    def rent_option(self) -> RentOption | None:
        """How it is rented."""

    @property
    def spot_zone(self) -> str | None:
        """The zone whose spot rate is its own."""

    @property
    def instance_reason(self) -> str | None:
        """Why the instance type is not known."""


def request_of(
    subject: "KnownMachine | Result | str",
    today: date,
    *,
    option: RentOption | None = None,
    region: str | None = None,
    zone: str | None = None,
    usd_per_hour: Decimal | None = None,
) -> PriceRequest:
    """Return the request for the price of a machine, a result's machine, or a named instance type.

    Args:
        subject: whose price; a result is asked for as it was priced.
        today: the day for which the rate must hold.
        option: how it is rented; None, as for the other choices, leaves it as the subject has it.
        region: by AWS's name.
        zone: an availability zone by name or id.
        usd_per_hour: a rate of the user's, which is then the answer.
    """
    from trnbench.schema.result import Result  # here, for `trnbench prices` reads none

    if isinstance(subject, str):
        known = PriceRequest(instance=subject, option=None, region=None, today=today)
    elif isinstance(subject, Result):
        price = subject.price
        known = PriceRequest(
            instance=subject.device.instance,
            option=next((o for o in RENT_OPTIONS if price and price.option == o), None),
            region=price.region if price else None,
            zone=price.zone if price else None,
            is_this_machine=subject.device.is_instance_recognised,
            today=today,
        )
    else:
        known = PriceRequest(
            instance=subject.instance,
            option=subject.rent_option,
            region=subject.region,
            zone=subject.spot_zone,
            is_this_machine=True,
            instance_reason=subject.instance_reason,
            today=today,
        )
    return replace(
        known,
        option=option or known.option,
        region=region or known.region,
        zone=zone or known.zone,
        usd_per_hour=usd_per_hour,
    )


def find_price(
    request: PriceRequest, sources: Sequence[PriceSource] = PRICE_SOURCES
) -> Price | NoPrice:
    """Ask each source in turn; return the first price, or the last reason why there is none."""
    answer: Price | NoPrice = NoPrice("no source of prices was asked", "give `--usd-per-hour`")
    for source in sources:
        answer = source.quote(request)
        if isinstance(answer, Price):
            return answer
    return answer


def sources_for(
    name: PriceSourceName, file: Path | None = None, today: date | None = None
) -> Sequence[PriceSource]:
    """Return the sources to ask, in order.

    Args:
        name: as `price.source` has it.
        file: the user's own rates: then no other source is asked, but for the base of discounts.
        today: the day of the rates there that have no date; needed with a file.

    Raises:
        ConfigError: the file cannot be read.
    """
    user, table = PRICE_SOURCES
    match name:
        case "table":
            source = table
        case "live":
            source = _live()
        case "live_or_table":
            source = LiveOrTable(_live(), table)
    if file is None or today is None:
        return user, source
    from trnbench.prices.own_file import read_rates_file

    return user, read_rates_file(file, today, source)


@cache
def _live() -> PriceSource:
    """Return the cloud's rates; one source for the process, since it remembers what failed."""
    from trnbench.prices.aws.source import AwsSource
    from trnbench.prices.cache import CachedSource

    return CachedSource(AwsSource())


@dataclass(frozen=True, slots=True)
class LiveOrTable:
    """Answers as `live` does; where that has no rate, as `table`, and says since when and why."""

    live: PriceSource
    table: PriceSource

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return the live rate, else the table's with the reason in its note."""
        answer = self.live.quote(request)
        if isinstance(answer, Price):
            return answer
        kept = self.table.quote(request)
        if isinstance(kept, NoPrice):
            if kept.reason == answer.reason:
                return kept
            return replace(kept, reason=f"{kept.reason}; live: {answer.reason}")
        why = f"the table's rate of {kept.date}, because {answer.reason}"
        return kept.model_copy(update={"note": f"{kept.note}; {why}" if kept.note else why})
