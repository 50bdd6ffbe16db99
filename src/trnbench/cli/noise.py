"""`trnbench noise`: a config compared with itself, and what a gate costs on this machine."""

from typing import Annotated

import typer

from trnbench.cli import options

EXAMPLES = ("trnbench noise quick --launches 6",)
"""For `--help`."""


def noise(
    *,
    configs: options.Configs = None,
    launches: Annotated[
        int, typer.Option(metavar="N", min=3, max=100, help="Fresh processes for each arm.")
    ] = 6,
    output: options.OutputFolder = None,
    case: options.CaseOptions,
    price: options.PriceChoice,
    form: options.FormatChoice,
) -> None:
    """Measure this machine's noise: run the same work as two arms in turns, and compare them."""
    from trnbench.cli.output import show
    from trnbench.cli.prepare import default_folder, prepare, read_cases
    from trnbench.cli.run import LAUNCHES_KEY, end_with, measure_in_turns
    from trnbench.compare.noise import find_noise
    from trnbench.reports.noise import REPORT

    overrides = case.overrides({**price.keys(), LAUNCHES_KEY: launches})
    prepared = prepare(read_cases(configs, overrides), case.python)
    folder = output or default_folder(f"{prepared.plans[0].suite} noise")
    first, second, endings = measure_in_turns(prepared, (prepared.plans, prepared.plans), folder)
    end_with(endings, folder)
    show(REPORT, find_noise(first, second), form.name)
