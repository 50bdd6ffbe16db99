"""Where a price may come from, first answer wins: one file a source, one line here."""

from collections.abc import Sequence

from trnbench.prices.base import NoPrice, PriceRequest, PriceSource
from trnbench.prices.table import TableSource
from trnbench.prices.user import UserRateSource
from trnbench.schema.price import Price

PRICE_SOURCES: tuple[PriceSource, ...] = (UserRateSource(), TableSource())


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
