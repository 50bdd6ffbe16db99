"""`trnbench published`: the training runs that others have published, as a catalog."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trnbench.cli import complete
from trnbench.cli.groups import cli_option
from trnbench.cli.options import OutputChoice
from trnbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from trnbench.catalog.published import PublishedResult

EXAMPLES = ("trnbench published --model llama3.1-8b --chip H100",)
"""For `--help`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which published runs are listed."""

    PANEL: ClassVar[str] = "Filters"

    model: str | None = cli_option(
        None,
        metavar="NAME",
        help="Only of this model, or of another with the same sizes.",
        autocompletion=complete.models,
    )
    chip: str | None = cli_option(
        None, metavar="NAME", help="Only on this chip, as sources call it: H100, Trainium2."
    )
    source: str | None = cli_option(
        None, metavar="TEXT", help="Only where the source or the run's name has this text."
    )


def published(*, filters: Filters, form: OutputChoice) -> None:
    """List published training runs with their sources, and their MFU in one convention."""
    from trnbench.cli.output import show
    from trnbench.reports.published import REPORT, publications

    show(REPORT, publications(_chosen(filters)), form.name, form.output)


def _chosen(filters: Filters) -> "list[PublishedResult]":
    """Return the newest first.

    Raises:
        ConfigError: nothing is published with a name, or with all filters together.
    """
    from trnbench.catalog.published import find_model, published_results

    runs = list(published_results())
    if filters.model is not None:
        model = find_model(filters.model)
        of_model = [run for run in runs if model is not None and model.is_of(run)]
        known = {run.model for run in runs}
        runs = _or_refuse(
            of_model, "--model", filters.model, known, "`trnbench published` lists them all"
        )
    if filters.chip is not None:
        chip = filters.chip.lower()
        known = {run.accelerator for run in published_results()}
        on_chip = [run for run in runs if run.accelerator.lower() == chip]
        if not on_chip and chip in {name.lower() for name in known}:
            raise _nothing_left(filters)
        runs = _or_refuse(on_chip, "--chip", filters.chip, known, f"chips: {', '.join(known)}")
    if filters.source is not None:
        text = filters.source.lower()
        with_text = [run for run in runs if text in f"{run.source} {run.name}".lower()]
        if not with_text and any(text in run.source.lower() for run in published_results()):
            raise _nothing_left(filters)
        names = {run.publication for run in published_results()}
        rest = f"publications: {', '.join(sorted(names))}"
        runs = _or_refuse(with_text, "--source", filters.source, names, rest)
    return sorted(runs, key=lambda run: run.date, reverse=True)


def _or_refuse(
    runs: "list[PublishedResult]", option: str, given: str, known: Iterable[str], rest: str
) -> "list[PublishedResult]":
    if not runs:
        raise ConfigError(
            f"{option} {given}: no published run has it", hint=did_you_mean(given, known) or rest
        )
    return runs


def _nothing_left(filters: Filters) -> ConfigError:
    said = " ".join(
        f"--{name} {value}"
        for name, value in (
            ("model", filters.model), ("chip", filters.chip), ("source", filters.source),
        )
        if value is not None
    )  # fmt: skip
    return ConfigError(f"{said}: no published run has all of these", hint="leave one of them out")
