"""`trnbench profile`: where the time of one case's steps goes, by torch's profiler."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from trnbench.cli import options
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError

if TYPE_CHECKING:
    from trnbench.config.load import CaseConfig

EXAMPLES = ("trnbench profile gpt2-124m --steps 10",)
"""For `--help`."""


Config = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG",
        help="A YAML file of one case, or the name of a config that ships with trnbench.",
        show_default="the first case of quick",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """How much is profiled, and where it is kept."""

    PANEL: ClassVar[str] = "Profile"

    steps: int = cli_option(
        5,
        metavar="N",
        min=1,
        max=100,
        help="Steps under the profiler; the same number runs without it before and after.",
    )
    output: Path | None = cli_option(
        None,
        "--output",
        "-o",
        metavar="FOLDER",
        parser=options.read_path,
        help="The folder for profile.json and trace.json.gz; it must not hold a profile.",
        show_default="results/<date and suite>-profile",
    )


def profile(
    *,
    config: Config = None,
    how: ProfileOptions,
    case: options.CaseOptions,
    plots: options.Plots = None,
    form: options.FormatChoice,
) -> None:
    """Show where the time of one case's steps goes: by class, by operator, and as a trace."""
    from trnbench.cli.output import prepare_plots, say_steps, show
    from trnbench.cli.prepare import default_folder, prepare, require_sizes
    from trnbench.reports.profile import REPORT
    from trnbench.run.profile import profile_case
    from trnbench.run.watch import noted_signals

    prepare_plots(plots)
    (plan,) = prepare([read_one_case(config, case.overrides())], case.python).plans
    require_sizes([plan])
    folder = how.output or default_folder(f"{plan.suite} profile")
    with noted_signals() as interruption:
        made = profile_case(
            plan,
            folder=folder,
            python=case.python,
            steps=how.steps,
            interruption=interruption,
            notify=lambda line: typer.echo(line, err=True),
        )
    if made is None:
        sys.stderr.write(f"{interruption.reason}: no profile was kept\n")
        raise typer.Exit(128 + (interruption.signal or 0))
    show(REPORT, made, form.name, plots=plots)
    sys.stderr.write(f"profile and trace: {folder}\n")
    if form.name == options.TERMINAL:
        named = shlex.quote(config) if config else "quick"
        trace = shlex.quote(str(folder / "trace.json.gz"))
        steps = (
            (f"open {trace}", "at ui.perfetto.dev: each operator on its stream, in time"),
            ("trnbench peak", "how fast this device's matmuls and memory could be"),
            (f"trnbench run {named}", "the step's time without the profiler, with its interval"),
        )
        sys.stderr.write(say_steps(steps))


def read_one_case(config: str | None, overrides: dict[str, str]) -> "CaseConfig":
    """Read a config of one case; without one, take the first of the quick suite's."""
    from trnbench.cli.prepare import read_cases

    cases = read_cases(None if config is None else [config], overrides)
    if config is not None and len(cases) > 1:
        choice = " ".join(_chosen(key, value) for key, value in cases[0].swept.items())
        raise ConfigError(
            f"{config}: holds {len(cases)} cases, but profile takes one",
            hint=f"choose one, e.g. the first: {choice}",
        )
    return cases[0]


def _chosen(key: str, value: object) -> str:
    """Return the option that leaves one value of a swept key, as a shell takes it."""
    from trnbench.config.yaml import parse_value

    text = str(value)
    try:
        is_plain = parse_value(f"[{text}]", key) == [value]
    except ConfigError:
        is_plain = False
    written = text if is_plain else json.dumps(value)  # YAML too
    return f"--set {shlex.quote(f'sweep.{key}=[{written}]')}"
