"""What an hour costs: who is asked, in order, and what is asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trnbench.prices.base import NoPrice, PriceRequest, PriceSource, UserRateSource, add_note
from trnbench.prices.table import TableSource
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, PriceSourceName

if TYPE_CHECKING:
    from trnbench.schema.result import Result

PRICE_SOURCES: tuple[PriceSource, ...] = (UserRateSource(), TableSource())
"""Asked where nothing else was chosen: none of them leaves this machine."""


def request_of(result: "Result", today: date) -> PriceRequest:
    """Return the request for the rate of a result's machine, rented as it was, on a day."""
    price = result.price
    return PriceRequest(
        instance=result.device.instance,
        option=next((o for o in RENT_OPTIONS if price and price.option == o), None),
        region=price.region if price else None,
        zone=price.zone if price else None,
        is_this_machine=result.device.is_instance_recognised,
        today=today,
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
        if isinstance(kept, Price):
            return add_note(kept, f"the table's rate of {kept.date}, because {answer.reason}")
        if kept.reason == answer.reason:
            return kept
        return replace(kept, reason=f"{kept.reason}; live: {answer.reason}")
