"""The options that two commands share: single ones, and groups as dataclasses."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.catalog.backends import BACKENDS
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError
from trnbench.reports import FORMATS
from trnbench.schema.rent import PriceSourceName, RentOption

if TYPE_CHECKING:
    from trnbench.compare.gates import Terms
    from trnbench.config.device import DeviceConfig

Format = StrEnum("Format", {n.upper(): n for n in FORMATS})  # type: ignore[misc]
TERMINAL, JSON = Format("terminal"), Format("json")


# --- what is read and written ---------------------------------------------------------------------

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        help="Folders of cases, of runs, or of many runs.",
        show_default="results",
    ),
]
Configs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG",
        help="YAML files, or names of configs that ship with trnbench.",
        show_default="quick",
    ),
]


def choose_format(
    context: typer.Context, parameter: typer.CallbackParam, given: StrEnum
) -> StrEnum:
    """Return the format that was named, else that of the output file's suffix.

    Raises:
        ConfigError: a binary format would go to a terminal.
        UnavailableError: a package that the format needs is not installed.
    """
    takes_file = any(each.name == "output" and each.is_eager for each in context.command.params)
    path: Path | None = context.params.get("output") if takes_file else None
    if path is not None and not _is_named(context, parameter):
        given = next(
            (type(given)(name) for name, each in FORMATS.items() if each.suffix == path.suffix),
            given,
        )
    require_format(given, is_to_terminal=path is None and sys.stdout.isatty())
    return given


def _is_named(context: typer.Context, parameter: typer.CallbackParam) -> bool:
    source = context.get_parameter_source(parameter.name or "")
    return source is not None and source.name != "DEFAULT"


def require_format(name: str, *, is_to_terminal: bool) -> None:
    """Raise before anything starts where a format could not be written."""
    format_ = FORMATS.get(name)  # else one of a comparison's own, which need nothing
    if format_ is None:
        return
    if format_.is_binary and is_to_terminal:
        raise ConfigError(
            f"--format {name}: is binary, and stdout is a terminal",
            hint=f"write it to a file: add `> FILE{format_.suffix}`, or -o where the command has "
            "-o FILE",
        )
    if format_.packages:
        from trnbench.reports.extras import require_installed

        require_installed(format_.packages)


FORMAT = typer.Option(
    "--format",
    "-f",
    callback=choose_format,
    help="The format of the output. Where -o names a file, its suffix chooses: "
    f"{', '.join(each.suffix for each in FORMATS.values() if each.suffix)}. parquet and xlsx need "
    "packages: pip install 'trnbench[reports,parquet]'.",
)
FormatOption = Annotated[Format, FORMAT]


def read_output(text: str) -> Path:
    """Refuse the empty name of an unset variable: it would be the current folder."""
    if not text.strip():
        raise typer.BadParameter("is empty; name a file or a folder")
    return Path(text)


def read_output_file(text: str) -> Path:
    """Refuse a file that cannot be written before anything is read or measured."""
    path = read_output(text)
    if path.is_dir():
        raise ConfigError(
            f"{path}: is a folder", hint=f"name a file, e.g. -o {path / 'report.csv'}"
        )
    if not path.parent.is_dir():
        raise ConfigError(
            f"{path}: cannot be written: there is no folder {path.parent}",
            hint="name a file in a folder that exists",
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(
            f"{path}: cannot be written: Permission denied",
            hint="check its permissions, or name another file",
        )
    return path


OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        parser=read_output_file,
        is_eager=True,  # it is known when the format is chosen
        help="Write to this file instead of to stdout.",
    ),
]
Plots = Annotated[
    Path | None,
    typer.Option(
        "--plots",
        metavar="FOLDER",
        parser=read_output,
        help="Also write the report's figures into this folder, as SVG and PNG; needs "
        "vl-convert-python.",
    ),
]
OutputFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        parser=read_output,
        help="The folder for the results. If it holds an earlier run, that run is completed, and "
        "nothing is measured twice.",
        show_default="results/<date and suite>",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatChoice:
    """The format of stdout; `--json` is short for `--format json`."""

    format: FormatOption = TERMINAL
    as_json: bool = cli_option(False, "--json", help="Write one JSON document to stdout.")

    @property
    def name(self) -> Format:
        """The format that was chosen."""
        return JSON if self.as_json else self.format


# --- what is measured -----------------------------------------------------------------------------

DeviceChoice = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:FIRST[-LAST]]",
        help=f"The devices to use; it replaces the config's: auto, {', '.join(BACKENDS)}. With "
        "numbers, counted from 0, those of its kind: cuda:1, neuron:0-15.",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOptions:
    """What trains the cases, and which keys of their configs are replaced."""

    device: DeviceChoice = None
    settings: list[str] | None = cli_option(
        None,
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the config, with dots: workload.global_batch_size=16. Can be "
        "repeated.",
    )
    python: Interpreter = sys.executable

    def overrides(self, more: Mapping[str, object | None] | None = None) -> dict[str, str]:
        """Return what replaces keys of the config, as YAML by key; `more` is of other options."""
        overrides = {}
        for setting in self.settings or ():
            key, equals, value = setting.partition("=")
            if not equals or not key:
                raise ConfigError(
                    f"--set {setting}: is not KEY=VALUE",
                    hint="write e.g. --set workload.global_batch_size=16",
                )
            overrides[key.strip()] = value
        from trnbench.config.explain import OptionText

        typed = {"device": self.device, **(more or {})}
        return overrides | {
            key: OptionText.of(
                OPTION_OF_KEY[key],
                str(value),
                # YAML too: no name of a file is read as more.
                json.dumps(str(value)) if isinstance(value, Path) else None,
            )
            for key, value in typed.items()
            if value is not None
        }


OPTION_OF_KEY = {
    "device": "--device",
    "measure.launches": "--launches",
    "price.file": "--prices",
    "price.source": "--price-source",
    "price.usd_per_hour": "--usd-per-hour",
}
"""Options that replace a key of the config."""


# --- what an instance costs -----------------------------------------------------------------------

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
        help="Where the instance's price comes from: the bundled table; AWS (live); or AWS, and "
        "the table if AWS does not answer.",
    ),
]
AllOptions = Annotated[
    bool,
    typer.Option(
        "--all-options", help="Show each result at the price of every way of renting its instance."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChoice:
    """At which price stored results are shown; None keeps what the result says."""

    option: RentOption | None = cli_option(
        None, "--price-option", help="Use the price of this way of renting the instance."
    )
    region: str | None = cli_option(None, metavar="REGION", help="Use the prices of this region.")
    usd_per_hour: str | None = cli_option(
        None, metavar="USD", help="Use this price for the whole instance."
    )
    file: PriceFile = None
    source: PriceSourceChoice = None

    @property
    def is_any(self) -> bool:
        """Whether a price was chosen at all."""
        return self != PriceChoice()


# --- how two sides are compared -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """The gates on a comparison, and what counts as the same work and as a change."""

    gates: list[str] | None = cli_option(
        None,
        "--gate",
        metavar="'METRIC > -N%'",
        help="Exit with code 6 if this does not hold, e.g. 'tokens_per_second > -2%'. The "
        "whole interval must hold, not only the point. Can be repeated.",
    )
    strict: bool = cli_option(False, "--strict", help="An undecided gate counts as failed.")
    margin: str = cli_option("2%", metavar="N%", help="A change up to this size does not matter.")
    allow: list[str] | None = cli_option(
        None,
        metavar="KEY",
        help="Compare even if the work differs in this key, e.g. precision. Can be repeated.",
    )

    def terms(self) -> "Terms":
        """Return the terms of the comparison."""
        from trnbench.compare.gates import ALLOWED_KEYS, Terms, parse_gates

        for key in self.allow or ():
            if key not in ALLOWED_KEYS:
                raise ConfigError(
                    f"--allow {key}: is not a key in which work can differ",
                    hint=f"use one of {', '.join(ALLOWED_KEYS)}",
                )
        return Terms(
            margin=_read_margin(self.margin),
            gates=parse_gates(list(dict.fromkeys(self.gates or []))),
            allowed=tuple(dict.fromkeys(self.allow or [])),
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


# --- how texts are read ---------------------------------------------------------------------------


def read_device_option(text: str | None) -> "DeviceConfig":
    """Read `--device` by the same rule as a config's key."""
    from trnbench.config.device import read_device

    try:
        return read_device(text or "auto")
    except ValueError as error:
        what, _, hint = str(error).partition("; ")
        raise ConfigError(f"--device {text}: {what}", hint=hint) from None


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
