"""`trnbench noise`: a config compared with itself, and what a gate costs on this machine."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from trnbench.cli.options import (
    TERMINAL,
    Configs,
    DeviceChoice,
    FormatOption,
    InstanceRate,
    Interpreter,
    OutputFolder,
    Settings,
    read_overrides,
)


def noise(
    configs: Configs = None,
    launches: Annotated[
        int, typer.Option(metavar="N", min=3, max=100, help="Fresh processes for each arm.")
    ] = 6,
    output: OutputFolder = None,
    device: DeviceChoice = None,
    settings: Settings = None,
    python: Interpreter = sys.executable,
    usd_per_hour: InstanceRate = None,
    format_: FormatOption = TERMINAL,
) -> None:
    """Measure this machine's noise: run the same work as two arms in turns, and compare them."""
    from trnbench.cli.output import show
    from trnbench.cli.prepare import default_folder, prepare, read_cases
    from trnbench.cli.run import LAUNCHES_KEY, end_with, measure_in_turns
    from trnbench.compare.noise import find_noise
    from trnbench.reports.noise import REPORT

    overrides = read_overrides(settings, device=device, usd_per_hour=usd_per_hour)
    overrides[LAUNCHES_KEY] = str(launches)
    prepared = prepare(read_cases(configs, overrides), python)
    folder = output or default_folder(f"{prepared.plans[0].suite} noise", datetime.now(UTC))
    first, second, endings = measure_in_turns(
        (prepared.plans, prepared.plans), prepared, folder, python
    )
    end_with(endings, folder)
    show(REPORT, find_noise(first, second), format_)
