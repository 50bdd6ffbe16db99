"""`trnbench report`: results to text, at their own price or another."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.price_options import OptionName, SourceName
from trnbench.model.flops import CONVENTIONS
from trnbench.schema.errors import ConfigError, DataError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trnbench.cli.repricing import PriceChoice
    from trnbench.schema.result import Result

Convention = StrEnum("Convention", {n.upper(): n for n in CONVENTIONS})  # type: ignore[misc]


class Format(StrEnum):
    """What can be named after `--format`; a test holds it to `reports.formats_of`."""

    TERMINAL = "terminal"
    CSV = "csv"
    MARKDOWN = "markdown"
    JSON = "json"


def report(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Folders of cases, of runs, or of many runs.  [default: results]",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="What to write.")
    ] = Format.TERMINAL,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there instead of to stdout."),
    ] = None,
    price_option: Annotated[
        OptionName | None, typer.Option(help="Cost it as if it were rented so.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="Cost it at the rate of this region.")
    ] = None,
    usd_per_hour: Annotated[
        str | None, typer.Option(metavar="USD", help="Cost it at this rate for an instance.")
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Cost it at your own rates, CSV or YAML (docs/prices.md): contracts, discounts, "
            "machines that you bought.",
        ),
    ] = None,
    price_source: Annotated[
        SourceName | None,
        typer.Option(help="Cost it at what the table says, or the cloud does now, or either."),
    ] = None,
    all_options: Annotated[
        bool,
        typer.Option(
            "--all-options", help="Cost it under every way of renting its machine, side by side."
        ),
    ] = False,
    flops_convention: Annotated[
        Convention | None, typer.Option(help="Count MFU by this convention.")
    ] = None,
) -> None:
    """Show results as a table, CSV, Markdown or JSON; re-cost old ones at other prices."""
    from trnbench.analysis.analyze import recount
    from trnbench.cli.repricing import PriceChoice, make_repricer
    from trnbench.cli.results import load_results
    from trnbench.cli.screen import page_of_stdout
    from trnbench.reports import render
    from trnbench.reports.results import REPORT

    choice = PriceChoice(
        option=price_option,
        region=region,
        usd_per_hour=usd_per_hour,
        file=prices,
        source=price_source,
    )
    if all_options and (price_option or usd_per_hour):
        raise ConfigError(
            "--all-options: every way of renting was asked for, and one alone",
            hint="leave --price-option and --usd-per-hour out",
        )
    reprice = make_repricer(choice)
    problems: list[Problem] = []
    results = []
    for result in load_results(paths or [Path("results")], problems):
        repriced = reprice(result)
        results.append(
            repriced if flops_convention is None else recount(repriced, flops_convention.value)
        )
    if results and all_options:
        _write(_under_all_options(results, choice, format_), output)
    elif results:
        _write(render(REPORT, results, format_.value, page_of_stdout()), output)
    if problems:
        raise DataError.of(problems)


def _under_all_options(results: "Sequence[Result]", choice: "PriceChoice", format_: Format) -> str:
    """Return each result under every way of renting its machine."""
    from trnbench.cli.repricing import PriceFinder, under_all_options
    from trnbench.cli.screen import page_of_stdout
    from trnbench.reports import render
    from trnbench.reports.results import OFFERS

    finder = PriceFinder.of(choice)
    offered = [each for result in results for each in under_all_options(result, finder)]
    return render(OFFERS, offered, format_.value, page_of_stdout())


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--output {output}: cannot be written: {error.strerror}",
            hint="name a file in a folder that exists",
        ) from error
