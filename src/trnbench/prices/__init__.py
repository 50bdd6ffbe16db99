"""Where a price may come from, first answer wins: one file a source, one line here."""

from collections.abc import Mapping, Sequence

from trnbench.prices.aws.source import AwsSource
from trnbench.prices.base import NoPrice, PriceRequest, PriceSource
from trnbench.prices.cache import CachedSource
from trnbench.prices.fallback import LiveOrTable
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
