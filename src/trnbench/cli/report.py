"""`trnbench report`: stored results as text, at their own price or another."""

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from trnbench.cli import options, price_options
from trnbench.errors import ConfigError, DataError, Problem
from trnbench.model.flops import CONVENTIONS

EXAMPLES = (
    "trnbench report results --usd-per-hour 2.50",
    "trnbench report results -f html -o report.html",
)
"""For `--help`."""

Convention = StrEnum("Convention", {n.upper(): n for n in CONVENTIONS})  # type: ignore[misc]

FlopsConvention = Annotated[
    Convention | None, typer.Option(help="Compute MFU by this convention for FLOPs.")
]

WithPublished = Annotated[
    bool,
    typer.Option(
        "--with-published", help="Add the published runs of the same model and sequence length."
    ),
]


def report(
    *,
    paths: options.Paths = None,
    plots: options.Plots = None,
    price: price_options.PriceChoice,
    all_options: price_options.AllOptions = False,
    flops_convention: FlopsConvention = None,
    with_published: WithPublished = False,
    form: options.OutputChoice,
) -> None:
    """Show results as a table, a web page, CSV, Parquet, Excel or JSON; price them anew."""
    from trnbench.cli.output import prepare_plots, show
    from trnbench.cli.reprice import PriceFinder
    from trnbench.reports import offers as of_offers
    from trnbench.reports.results import REPORT
    from trnbench.run.results import Places, find_trace, load_results

    if all_options and (price.option or price.usd_per_hour):
        raise ConfigError(
            "--all-options shows every way of renting, and another option chooses one",
            hint="leave --price-option and --usd-per-hour out",
        )
    if with_published and (all_options or flops_convention):
        raise ConfigError(
            f"--with-published: does not go with "
            f"{'--all-options' if all_options else '--flops-convention'}",
            hint="leave one of them out",
        )
    prepare_plots(plots)
    finder = PriceFinder.of(price)
    problems: list[Problem] = []
    places: Places = {}
    results = finder.reprice_each(load_results(paths, problems, places))
    if flops_convention is not None:
        from trnbench.analysis.analyze import recount

        results = [recount(result, flops_convention.value) for result in results]
    if results and with_published:
        from trnbench.reports import beside

        traces = partial(find_trace, places)
        found = beside.beside(results)
        show(beside.REPORT, found, form.name, form.output, plots=plots, traces=traces)
    elif results and all_options:
        offers = [offer for result in results for offer in finder.reprice_all(result)]
        show(of_offers.REPORT, offers, form.name, form.output, plots=plots)
    elif results:
        traces = partial(find_trace, places)
        show(REPORT, results, form.name, form.output, plots=plots, traces=traces)
    if problems:
        raise DataError.of(problems)
