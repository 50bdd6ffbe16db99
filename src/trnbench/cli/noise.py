"""`trnbench noise`: the same thing against itself, and what a gate costs on this machine."""

import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from trnbench.cli.preparing import DeviceChoice, Interpreter, Output, Settings, UsdPerHour

DEFAULT_CONFIG = "quick"


class NoiseFormat(StrEnum):
    """What can be named as a format."""

    TERMINAL = "terminal"
    CSV = "csv"
    MARKDOWN = "markdown"
    JSON = "json"


def noise(
    configs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG]...",
            help="What to measure against itself, as for `trnbench run`.  [default: quick]",
            show_default=False,
        ),
    ] = None,
    launches: Annotated[
        int, typer.Option(metavar="N", min=3, max=100, help="Fresh processes of each arm.")
    ] = 6,
    output: Output = None,
    device: DeviceChoice = None,
    settings: Settings = None,
    python: Interpreter = sys.executable,
    usd_per_hour: UsdPerHour = None,
    format_: Annotated[
        NoiseFormat, typer.Option("--format", "-f", help="What to write to stdout.")
    ] = NoiseFormat.TERMINAL,
) -> None:
    """Measure this machine's noise: the same work in two arms, launch by launch in turns."""
    from trnbench.cli.ab import LAUNCHES_KEY, end_with, measure_in_turns
    from trnbench.cli.preparing import default_folder, prepare, read_cases, read_overrides
    from trnbench.cli.screen import page_of_stdout
    from trnbench.compare.noise import find_noise
    from trnbench.reports import render
    from trnbench.reports.noise import REPORT

    overrides = read_overrides(settings, device=device, usd_per_hour=usd_per_hour)
    overrides[LAUNCHES_KEY] = str(launches)
    prepared = prepare(read_cases(configs or [DEFAULT_CONFIG], overrides), python)
    folder = output or default_folder(f"{prepared.plans[0].suite} noise", datetime.now(UTC))
    first, second, endings = measure_in_turns(
        (prepared.plans, prepared.plans), prepared, folder, python
    )
    end_with(endings, folder)
    text = render(REPORT, find_noise(first, second), format_.value, page_of_stdout())
    sys.stdout.write(text)
