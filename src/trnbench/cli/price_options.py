"""Options of every command that prices: how instances are rented, and where the rates are from."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from trnbench.cli import complete
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError
from trnbench.schema.rent import RENT_OPTIONS, PriceSourceName, RentOption

PriceFile = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        metavar="FILE",
        help="A file of your own rates, CSV or YAML (docs/prices.md): contracts, discounts, "
        "machines that you bought.",
    ),
]
PriceSourceChoice = Annotated[
    PriceSourceName | None,
    typer.Option(
        "--price-source",
        metavar="SOURCE",
        help="Where the instance's price comes from: table, the bundled one; live, AWS now; "
        "live_or_table, AWS, and the table if it does not answer.",
    ),
]
AllOptions = Annotated[
    bool,
    typer.Option(
        "--all-options",
        rich_help_panel="Price",
        help="Show each result at the price of every way of renting its instance.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTerms:
    """How instances are rented, and where their prices are from; None keeps what is known."""

    PANEL: ClassVar[str] = "Price"

    option: RentOption | None = cli_option(
        None,
        "--price-option",
        metavar="OPTION",
        help=f"Use the price of this way of renting the instance: {', '.join(RENT_OPTIONS)}.",
    )
    region: str | None = cli_option(
        None,
        metavar="REGION",
        help="Use the prices of this region.",
        autocompletion=complete.regions,
    )
    file: PriceFile = None
    source: PriceSourceChoice = None

    def at(self, usd_per_hour: str | None) -> "PriceChoice":
        """Return the same with a rate of one's own."""
        return PriceChoice(
            usd_per_hour=usd_per_hour,
            option=self.option,
            region=self.region,
            file=self.file,
            source=self.source,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChoice(PriceTerms):
    """At which price results are shown, or cases measured; None keeps what they say."""

    usd_per_hour: str | None = cli_option(
        None, metavar="USD", help="Use this price for the whole instance."
    )

    @property
    def is_any(self) -> bool:
        """Whether a price was chosen at all."""
        return self != PriceChoice()

    def require_rate(self) -> None:
        """Refuse a way of renting, or a place, of machines that are of no known instance type.

        Raises:
            ConfigError: neither a rate nor a file of rates was given with it.
        """
        named = {"--price-option": self.option, "--region": self.region}
        option = next((each for each in named if named[each]), None)
        if option is not None and self.usd_per_hour is None and self.file is None:
            raise ConfigError(
                f"{option} {named[option]}: none of these results is of a rented instance whose "
                "type is known",
                hint="--usd-per-hour gives their rate; before a run `price.instance` names a type",
            )

    def keys(self) -> dict[str, object | None]:
        """Return the keys of a config that say the same."""
        return {
            "price.option": self.option,
            "price.region": self.region,
            "price.usd_per_hour": self.usd_per_hour,
            "price.source": self.source,
            "price.file": self.file,
        }


def read_rate(option: str, text: str | None) -> Decimal | None:
    """Read a rate as exactly as it was written, by the same rule as a config's."""
    if text is None:
        return None
    import pydantic

    from trnbench.schema.price import UsdPerHour

    reader: pydantic.TypeAdapter[Decimal] = pydantic.TypeAdapter(UsdPerHour)
    try:
        return reader.validate_python(text)
    except pydantic.ValidationError:
        raise ConfigError(
            f"{option} {text}: is not a rate in dollars above 0 and up to 100,000",
            hint=f"write e.g. {option} 35.76",
        ) from None
