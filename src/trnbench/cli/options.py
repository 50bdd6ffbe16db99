"""The options that two commands share, and what their texts mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.catalog.backends import BACKENDS
from trnbench.errors import ConfigError
from trnbench.reports import FORMATS
from trnbench.schema.rent import PRICE_SOURCE_NAMES, RENT_OPTIONS

if TYPE_CHECKING:
    from trnbench.compare.gates import Terms

DEFAULT_RESULTS = Path("results")

OptionName = StrEnum("OptionName", {n.upper(): n for n in RENT_OPTIONS})  # type: ignore[misc]
SourceName = StrEnum("SourceName", {n.upper(): n for n in PRICE_SOURCE_NAMES})  # type: ignore[misc]
Format = StrEnum("Format", {n.upper(): n for n in FORMATS})  # type: ignore[misc]
TERMINAL, JSON = Format("terminal"), Format("json")


class Correcting(StrEnum):
    """How a comparison corrects for the number of metrics and cases."""

    HOLM = "holm"
    BH = "bh"
    NONE = "none"


# --- what is read and written ---------------------------------------------------------------------

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[PATH]...",
        help="Folders of cases, of runs, or of many runs.",
        show_default="results",
    ),
]
Configs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG]...",
        help="YAML files, or names of configs that ship with trnbench.",
        show_default="quick",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="The format of the output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")]
OutputFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of to stdout."),
]
OutputFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="The folder for the results. If it holds an earlier run, that run is completed, and "
        "nothing is measured twice.",
        show_default="results/<date and suite>",
    ),
]

# --- what is measured -----------------------------------------------------------------------------

DeviceChoice = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:INDEX]",
        help=f"The device to use; it replaces the config's: auto, {', '.join(BACKENDS)}.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the config, with dots: workload.global_batch_size=16. Can be "
        "repeated.",
    ),
]
Interpreter = Annotated[
    str,
    typer.Option(
        metavar="PATH",
        help="The Python interpreter that runs the training, e.g. that of a Trainium image's "
        "environment. It needs only torch.",
        show_default="the one that runs trnbench",
    ),
]
InstanceRate = Annotated[
    str | None,
    typer.Option(metavar="USD", help="The price of the whole instance; it replaces the table's."),
]

# --- what an instance costs -----------------------------------------------------------------------

PriceFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file of your own rates, CSV or YAML (docs/prices.md): contracts, discounts, "
        "machines that you bought.",
    ),
]
PriceSourceChoice = Annotated[
    SourceName | None,
    typer.Option(
        help="Where the instance's price comes from: the bundled table, AWS now (live), or AWS now "
        "and else the table.",
    ),
]
PriceOption = Annotated[
    OptionName | None,
    typer.Option(help="Use the price of this way of renting the instance."),
]
Region = Annotated[
    str | None, typer.Option(metavar="REGION", help="Use the prices of this region.")
]
ResultRate = Annotated[
    str | None, typer.Option(metavar="USD", help="Use this price for the whole instance.")
]
AllOptions = Annotated[
    bool,
    typer.Option(
        "--all-options", help="Show each result at the price of every way of renting its instance."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChoice:
    """The price options of one call; None keeps what the result says."""

    option: OptionName | None = None
    region: str | None = None
    usd_per_hour: str | None = None
    file: Path | None = None
    source: SourceName | None = None

    @property
    def is_any(self) -> bool:
        """Whether the call has a price option at all."""
        asked = (self.option, self.region, self.usd_per_hour, self.file, self.source)
        return any(each is not None for each in asked)


def did_you_mean(near: Sequence[str], otherwise: str) -> str:
    """Return the hint for a name that is not known: the names near it, or else another hint."""
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def read_rate(option: str, text: str) -> Decimal:
    """Read a rate as exactly as it was written, by the same rule as a config's."""
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


def read_overrides(
    settings: Sequence[str] | None, *, device: str | None, usd_per_hour: str | None
) -> dict[str, str]:
    """Read the options that replace keys of the config, as texts by key."""
    overrides = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {setting}: is not KEY=VALUE",
                hint="write e.g. --set workload.global_batch_size=16",
            )
        overrides[key.strip()] = value
    if device is not None:
        overrides["device"] = device
    if usd_per_hour is not None:
        overrides["price.usd_per_hour"] = usd_per_hour
    return overrides


# --- how two sides are compared -------------------------------------------------------------------

Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="'METRIC > -N%'",
        help="Exit with code 6 if this does not hold, e.g. 'tokens_per_second > -2%'. The whole "
        "interval must hold, not only the point. Can be repeated.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="An undecided gate counts as failed.")]
Margin = Annotated[
    str, typer.Option(metavar="N%", help="A change up to this size does not matter.")
]
DEFAULT_MARGIN = "2%"
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="KEY",
        help="Compare even if the work differs in this key, e.g. precision. Can be repeated.",
    ),
]


def make_terms(
    *,
    gates: list[str] | None,
    margin: str,
    allow: list[str] | None,
    metrics: list[str] | None = None,
    correction: Correcting = Correcting.HOLM,
    is_paired: bool = False,
    target_excess_nats: float = 0.25,
) -> "Terms":
    """Read how a comparison is to be made."""
    from trnbench.compare.gates import ALLOWED_KEYS, DEFAULT_METRICS, Terms, parse_gates
    from trnbench.compare.metrics import COMPARABLES

    for metric in metrics or ():
        if metric not in COMPARABLES:
            raise ConfigError(
                f"--metric {metric}: is not a comparable metric",
                hint=f"use one of {', '.join(COMPARABLES)}",
            )
    for key in allow or ():
        if key not in ALLOWED_KEYS:
            raise ConfigError(
                f"--allow {key}: is not a key in which work can differ",
                hint=f"use one of {', '.join(ALLOWED_KEYS)}",
            )
    if not 0 < target_excess_nats <= 20:
        raise ConfigError(
            f"--target-excess-nats {target_excess_nats}: is not a loss above 0 and up to 20 nats",
            hint="write e.g. --target-excess-nats 0.25",
        )
    return Terms(
        metrics=tuple(metrics) if metrics else DEFAULT_METRICS,
        margin=_read_margin(margin),
        correction=correction.value,
        gates=parse_gates(list(dict.fromkeys(gates or []))),
        allowed=tuple(dict.fromkeys(allow or [])),
        is_paired=is_paired,
        target_excess_nats=target_excess_nats,
    )


def _read_margin(text: str) -> float:
    number, percent, rest = text.strip().partition("%")
    try:
        margin = float(number) / 100
    except ValueError:
        margin = -1.0
    if not percent or rest or not 0 <= margin <= 1:
        raise ConfigError(
            f"--margin {text}: is not a percentage from 0% to 100%", hint="write e.g. --margin 1%"
        )
    return margin
