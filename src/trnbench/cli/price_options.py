"""Names of ways of renting and of sources of prices, as the command line takes them."""

from enum import StrEnum

from trnbench.schema.price import PRICE_SOURCE_NAMES, RENT_OPTIONS

OptionName = StrEnum("OptionName", {n.upper(): n for n in RENT_OPTIONS})  # type: ignore[misc]
SourceName = StrEnum("SourceName", {n.upper(): n for n in PRICE_SOURCE_NAMES})  # type: ignore[misc]
