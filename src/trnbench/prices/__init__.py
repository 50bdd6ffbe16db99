"""Where a price may come from, first answer wins: one file a source, one line here."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from trnbench.prices.aws.source import AwsSource
from trnbench.prices.base import NoPrice, PriceRequest, PriceSource
from trnbench.prices.cache import CachedSource
from trnbench.prices.fallback import LiveOrTable
from trnbench.prices.own_file import read_rates_file
from trnbench.prices.table import TableSource
from trnbench.prices.user import UserRateSource
from trnbench.schema.price import Price, PriceSourceName

_LIVE = CachedSource(AwsSource())

SOURCES: Mapping[PriceSourceName, tuple[PriceSource, ...]] = {
    "table": (UserRateSource(), TableSource()),
    "live": (UserRateSource(), _LIVE),
    "live_or_table": (UserRateSource(), LiveOrTable(_LIVE, TableSource())),
}
"""Whom `price.source` asks, in order."""

PRICE_SOURCES: tuple[PriceSource, ...] = SOURCES["table"]
"""Whom everything asks that was not told otherwise: nobody beyond this machine."""


def sources_for(
    name: PriceSourceName, file: Path | None = None, today: date | None = None
) -> Sequence[PriceSource]:
    """Return whom to ask, in order.

    Args:
        name: as `price.source` has it.
        file: the user's own rates: then nobody else is asked, but for what its discounts are off.
        today: the day of the rates there that have no date; needed with a file.

    Raises:
        ConfigError: the file cannot be read.
    """
    if file is None or today is None:
        return SOURCES[name]
    return (UserRateSource(), read_rates_file(file, today, SOURCES[name][-1]))


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
