"""`trnbench export`: results and their steps, for the stores of other programs."""

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from trnbench.cli import options, price_options
from trnbench.errors import ConfigError, DataError, Problem
from trnbench.reports.exports import TARGETS, Run

EXAMPLES = (
    "trnbench export mlflow results -o mlruns",
    "trnbench export mllog results",
)
"""For `--help`."""

TargetName = StrEnum("TargetName", {n.upper(): n for n in TARGETS})  # type: ignore[misc]

Wanted = Annotated[
    TargetName,
    typer.Argument(metavar="|".join(TARGETS), help="What the files are for.", show_default=False),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        parser=options.read_path,
        rich_help_panel="Output",
        help="The folder for the files; it must be new or empty.",
        show_default="export-<target>",
    ),
]


def export(
    *,
    target: Wanted,
    paths: options.Paths = None,
    output: Folder = None,
    price: price_options.PriceChoice,
) -> None:
    """Write results and their steps for MLflow, W&B (offline), TensorBoard or MLPerf's parser."""
    from trnbench.cli.output import write
    from trnbench.cli.reprice import PriceFinder
    from trnbench.reports.extras import require_installed
    from trnbench.run.results import Places, find_trace, load_results

    wanted = TARGETS[target]
    require_installed(wanted.packages)
    folder = output or Path(f"export-{target}")
    _refuse_unless_empty(folder)
    finder = PriceFinder.of(price)
    problems: list[Problem] = []
    places: Places = {}
    results = finder.reprice_each(load_results(paths, problems, places))
    runs = [Run(result, find_trace(places, result)) for result in results]
    if runs:
        _make(folder)
        import_module(f"trnbench.reports.exports.{wanted.module}").export(runs, folder)
        without = sum(run.trace is None for run in runs)
        steps = f"; {without} without their steps, whose records are not kept" if without else ""
        write(f"{len(runs)} results for {target}: {folder}{steps}\n")
    if problems:
        raise DataError.of(problems)


def _refuse_unless_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: is not an empty folder", hint="name a new one, so that nothing is mixed up"
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be made: {error.strerror}", hint="name a folder that can be made"
        ) from error
