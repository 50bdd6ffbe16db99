"""The options that two commands share: single ones, and groups as dataclasses."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from trnbench.catalog.backends import BACKENDS
from trnbench.cli import complete
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError
from trnbench.reports import FORMATS

if TYPE_CHECKING:
    from trnbench.config.device import DeviceConfig

Format = StrEnum("Format", {n.upper(): n for n in FORMATS})  # type: ignore[misc]
TERMINAL, JSON = Format("terminal"), Format("json")


# --- what is read and written ---------------------------------------------------------------------


def read_name(text: str) -> str:
    """Refuse the empty name of an unset variable."""
    if not text.strip():
        raise typer.BadParameter("is empty; name a file or a folder")
    return text


def read_path(text: str | Path) -> Path:
    """Refuse the empty name of an unset variable: it would be the current folder."""
    return Path(read_name(str(text)))


Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        parser=read_path,
        help="Folders of cases, of runs, or of many runs.",
        show_default="results",
    ),
]
Configs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG",
        help="YAML files, names of configs that ship with trnbench, or names of models.",
        autocompletion=complete.configs,
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
    metavar="FORMAT",
    callback=choose_format,
    help=f"The format of the output: {', '.join(FORMATS)}. Where -o names a file, its suffix "
    f"chooses: {', '.join(each.suffix for each in FORMATS.values() if each.suffix)}. parquet and "
    "xlsx need packages: pip install 'trnbench[reports,parquet]'.",
)
FormatOption = Annotated[Format, FORMAT]


def read_output_file(text: str) -> Path:
    """Refuse a file that cannot be written before anything is read or measured."""
    path = read_path(text)
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
        rich_help_panel="Output",
        metavar="FOLDER",
        parser=read_path,
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
        rich_help_panel="Output",
        parser=read_path,
        help="The folder for the results. If it holds an earlier run, that run is completed, and "
        "nothing is measured twice.",
        show_default="results/<date and suite>",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatChoice:
    """The format of stdout; `--json` is short for `--format json`."""

    PANEL: ClassVar[str] = "Output"

    format: FormatOption = TERMINAL
    as_json: bool = cli_option(False, "--json", help="Write one JSON document to stdout.")

    @property
    def name(self) -> Format:
        """The format that was chosen."""
        return JSON if self.as_json else self.format


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputChoice(FormatChoice):
    """Where a report goes, and in which format."""

    output: OutputFile = None


# --- what is measured -----------------------------------------------------------------------------

DeviceChoice = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:FIRST[-LAST]]",
        autocompletion=complete.devices,
        help=f"The devices to use; it replaces the config's: auto, {', '.join(BACKENDS)}. With "
        "numbers, counted from 0, those of its kind: cuda:1, neuron:0-15.",
    ),
]


def read_interpreter(text: str) -> str:
    """Refuse the empty name of an unset variable."""
    if not text.strip():
        raise typer.BadParameter("is empty; name a Python interpreter")
    return text


Interpreter = Annotated[
    str,
    typer.Option(
        metavar="PATH",
        parser=read_interpreter,
        help="The Python interpreter that runs the training, e.g. that of a Trainium image's "
        "environment. It needs only torch.",
        show_default="the one that runs trnbench",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOptions:
    """What trains the cases, and which keys of their configs are replaced."""

    PANEL: ClassVar[str] = "Case"

    device: DeviceChoice = None
    settings: list[str] | None = cli_option(
        None,
        "--set",
        metavar="KEY=VALUE",
        autocompletion=complete.settings,
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
    "measure.max_minutes": "--max-minutes",
    "price.file": "--prices",
    "price.instance": "--instance",
    "price.option": "--price-option",
    "price.region": "--region",
    "price.source": "--price-source",
    "price.usd_per_hour": "--usd-per-hour",
}
"""Options that replace a key of the config."""


# --- how texts are read ---------------------------------------------------------------------------


def read_device_option(text: str | None) -> "DeviceConfig":
    """Read `--device` by the same rule as a config's key."""
    from trnbench.config.device import read_device

    try:
        return read_device(text or "auto")
    except ValueError as error:
        what, _, hint = str(error).partition("; ")
        raise ConfigError(f"--device {text}: {what}", hint=hint) from None
