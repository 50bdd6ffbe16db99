"""`trnbench tune`: search layout, pass size, recomputation and execution for the best step."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from trnbench.cli import complete, options, price_options
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError, RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trnbench.cli.prepare import Prepared
    from trnbench.schema.plan import Plan
    from trnbench.tune.space import Space
    from trnbench.tune.study import Study

EXAMPLES = (
    "trnbench tune mine.yaml --max-usd 20 --write best.yaml",
    "trnbench tune mine.yaml --trials 12 --max-minutes 60 -o results/tuned",
    "trnbench tune mine.yaml --dry-run",
)
"""For `--help`."""

DEFAULT_TRIALS = 20
SHOWN_WAYS = 12

Suites = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG",
        help="A YAML file, the name of a config that ships with trnbench, or of a model.",
        autocompletion=complete.configs,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """How long to search, and where the best goes."""

    PANEL: ClassVar[str] = "Search"

    trials: int = cli_option(
        DEFAULT_TRIALS, metavar="N", min=1, max=10_000, help="The most ways that are tried."
    )
    max_usd: float | None = cli_option(
        None,
        metavar="USD",
        min=0.01,
        help="The most that all trials of this command may cost, by the second.",
        show_default="no limit",
    )
    max_minutes: float | None = cli_option(
        None,
        metavar="N",
        min=0.01,
        help="The most minutes that all trials of this command may take.",
        show_default="no limit",
    )
    write: Path | None = cli_option(
        None,
        metavar="FILE",
        parser=options.read_output_file,
        help="Write the best way as a config of its own.",
    )
    dry_run: bool = cli_option(
        False,
        "--dry-run",
        help="Print which ways there are, the first ones first, and in other formats their "
        "plans; train nothing.",
    )


def tune(
    *,
    configs: Suites,
    how: TuneOptions,
    output: options.OutputFolder = None,
    case: options.CaseOptions,
    price: price_options.PriceChoice,
    form: options.FormatChoice,
) -> None:
    """Search the fastest and cheapest way to carry out a config's step, within a budget."""
    from trnbench.cli.output import show
    from trnbench.cli.prepare import default_folder, prepare, read_cases
    from trnbench.reports.plans import REPORT as PLANS
    from trnbench.reports.tuning import REPORT
    from trnbench.tune.space import check_swept, make_space, open_sizes

    if len(configs) > 1:
        raise ConfigError(
            f"tune takes one config; it was given {' '.join(configs)}",
            hint="tune them one after the other: ways of different work are no choice",
        )
    cases = open_sizes(read_cases(configs, case.overrides(price.keys())))
    check_swept(cases)  # before any device is looked for
    prepared = prepare(cases, case.python)
    space = make_space(cases, lambda each: prepared.make([each])[0])
    if how.dry_run:
        if form.name == options.TERMINAL:
            _say_order(space)
        else:
            show(PLANS, [way.plan for way in space.ways], form.name)
        return
    _check_budget(how, space)
    folder = output or default_folder(f"{cases[0].config.name} tune")
    study, signal = _search(space, prepared, folder, how)
    show(REPORT, study, form.name, kept_in=folder)
    sys.stderr.write(f"results: {folder}\n")
    if how.write is not None and study.best is not None:
        _write_best(study, how.write)
    if signal is not None:
        raise typer.Exit(128 + signal)
    if study.best is None:
        last = study.trials[-1].result.outcome if study.trials else None
        raise RunError(
            f"no trial has a figure that counts: {last.reason if last else study.ended}",
            hint=(last.hint if last else None) or f"see the trials in {folder}",
        )


def _say_order(space: "Space") -> None:
    from trnbench.units import say_seconds

    basis = "guessed, which only orders ways" if space.is_guessed else "estimated"
    lines = [f"{len(space.ways)} ways; a step's seconds are {basis}; tried first:"]
    for number, way in enumerate(space.ways[:SHOWN_WAYS], start=1):
        lines.append(f"{number:>3}  {space.say(way)}  about {say_seconds(way.expected_seconds)}")
    if len(space.ways) > SHOWN_WAYS:
        lines.append(f"     and {len(space.ways) - SHOWN_WAYS} more")
    if space.does_not_fit:
        lines.append(f"left out: {space.does_not_fit}, predicted not to fit the memory")
    typer.echo("\n".join(lines))


def _check_budget(how: TuneOptions, space: "Space") -> None:
    """Refuse limits that do not pay for one trial, before anything starts.

    Raises:
        ConfigError: they do not, or a limit in dollars has no price.
    """
    from trnbench.cli.run import spending_of
    from trnbench.run.stopping import LEAST_SECONDS, Budget

    plans: Sequence[Plan] = [way.plan for way in space.ways]
    spending = spending_of(how.max_usd, plans)
    if how.max_minutes is not None and how.max_minutes * 60 < LEAST_SECONDS:
        raise ConfigError(
            f"--max-minutes {how.max_minutes:g} affords no trial, which takes "
            f"{LEAST_SECONDS:g} s at least",
            hint="allow a few minutes for each trial",
        )
    if not Budget.of(plans[0], spending=spending).pays_for_a_launch():
        raise ConfigError(
            f"--max-usd {how.max_usd:g} affords no trial: it pays for less than "
            f"{LEAST_SECONDS:g} s of the machine",
            hint="allow more dollars, or take a cheaper machine",
        )


def _search(
    space: "Space", prepared: "Prepared", folder: Path, how: TuneOptions
) -> "tuple[Study, int | None]":
    import math

    from trnbench.cli.live import make_observer
    from trnbench.cli.run import spending_of
    from trnbench.run.session import Session
    from trnbench.run.study import StudyRun
    from trnbench.run.watch import noted_signals

    plans = [way.plan for way in space.ways]
    with noted_signals() as interruption, make_observer(most_usd=how.max_usd) as observer:
        study = StudyRun(
            space=space,
            folder=folder,
            open_session=partial(
                Session,
                python=prepared.python,
                machine=prepared.machine,
                devices=prepared.devices,
                observer=observer,
                interruption=interruption,
                spending=spending_of(how.max_usd, plans),
            ),
            interruption=interruption,
            most_seconds=math.inf if how.max_minutes is None else how.max_minutes * 60,
            notify=partial(typer.echo, err=True),
        ).run(how.trials)
        return study, interruption.signal


def _write_best(study: "Study", path: Path) -> None:
    from trnbench.cli.output import write
    from trnbench.tune.best import config_of

    if study.best is not None:
        write(config_of(study.space, study.best), path)
        sys.stderr.write(f"best: {path}\n")
