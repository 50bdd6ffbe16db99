"""`trnbench noise`: a config compared with itself, and what a gate costs on this machine."""

import sys
from typing import Annotated

import typer

from trnbench.cli import options, price_options

EXAMPLES = ("trnbench noise quick --launches 6",)
"""For `--help`."""

NEXT = (
    ("trnbench run --ab BASE CANDIDATE", "is a change of yours seen? two configs in turns"),
    ("trnbench compare BASE CANDIDATE --gate 'tokens_per_second > -5%'", "the same as a gate"),
    ("trnbench doctor", "what disturbs this machine, and how to mend it"),
)
"""What may follow."""


def noise(
    *,
    configs: options.Configs = None,
    launches: Annotated[
        int, typer.Option(metavar="N", min=3, max=100, help="Fresh processes for each arm.")
    ] = 6,
    output: options.OutputFolder = None,
    case: options.CaseOptions,
    price: price_options.PriceChoice,
    form: options.FormatChoice,
) -> None:
    """Measure this machine's noise: run the same work as two arms in turns, and compare them."""
    from trnbench.cli.output import say_steps, show
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
    if form.name == options.TERMINAL:
        sys.stderr.write(say_steps(NEXT))
