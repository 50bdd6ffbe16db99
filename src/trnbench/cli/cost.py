"""`trnbench cost`: what training costs at a result's speed, as a range, and what changes it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.options import (
    DEFAULT_RESULTS,
    JSON,
    TERMINAL,
    AsJson,
    FormatOption,
    Paths,
    PriceChoice,
    PriceFile,
    PriceOption,
    PriceSourceChoice,
    Region,
    ResultRate,
)
from trnbench.errors import ConfigError, DataError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from trnbench.cost.training import TrainingJob
    from trnbench.schema.result import Result

Tokens = Annotated[str, typer.Option(metavar="COUNT", help="Tokens to train: 1T, 300B, 15e12.")]
FailuresPerDay = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="RATE",
        help="Failures of one instance in a day; by default the published rate of Llama 3's "
        "training on H100s.",
    ),
]
Restart = Annotated[
    str, typer.Option(metavar="TIME", help="From a failure to the first step after it.")
]
Checkpoint = Annotated[
    str, typer.Option(metavar="TIME", help="How long a checkpoint stops the training.")
]
CheckpointEvery = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Between checkpoints; by default the best interval."),
]
Start = Annotated[
    str, typer.Option(metavar="TIME", help="From the first paid second to the first step.")
]
Compilation = Annotated[
    str | None,
    typer.Option(
        "--compile",
        metavar="TIME",
        help="The first compilation; by default the time of the result's first step.",
    ),
]
Evaluation = Annotated[
    str, typer.Option(metavar="TIME", help="All evaluations of the job together.")
]
Idle = Annotated[str, typer.Option(metavar="TIME", help="Paid but unused time in the whole job.")]
Pue = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="The data centre's power divided by its machines' power; by default the cloud's "
        "average.",
    ),
]
Grid = Annotated[
    float | None,
    typer.Option(min=0, metavar="GRAMS", help="gCO2e of a kWh; by default the region's."),
]


def cost(
    paths: Paths = None,
    tokens: Tokens = "1T",
    price_option: PriceOption = None,
    region: Region = None,
    usd_per_hour: ResultRate = None,
    prices: PriceFile = None,
    price_source: PriceSourceChoice = None,
    failures_per_day: FailuresPerDay = None,
    restart: Restart = "15min",
    checkpoint: Checkpoint = "60s",
    checkpoint_every: CheckpointEvery = None,
    start: Start = "0s",
    compilation: Compilation = None,
    evaluation: Evaluation = "0s",
    idle: Idle = "0s",
    pue: Pue = None,
    grid: Grid = None,
    format_: FormatOption = TERMINAL,
    as_json: AsJson = False,
) -> None:
    """Estimate what training at a result's speed costs, as a range, and what changes it."""
    from trnbench.analysis.energy import find_site
    from trnbench.cli.output import show
    from trnbench.cli.reprice import PriceFinder, load_results
    from trnbench.cost.training import make_cost_sheet
    from trnbench.reports.cost import REPORT

    make_job = _job_maker(
        tokens=tokens,
        failures_per_day=failures_per_day,
        restart=restart,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        start=start,
        compilation=compilation,
        evaluation=evaluation,
        idle=idle,
    )
    choice = PriceChoice(
        option=price_option,
        region=region,
        usd_per_hour=usd_per_hour,
        file=prices,
        source=price_source,
    )
    finder = PriceFinder.of(choice)
    problems: list[Problem] = []
    sheets = []
    for loaded in load_results(paths or [DEFAULT_RESULTS], problems):
        result = finder.reprice(loaded)
        site = find_site(result.price, pue, grid)
        sheets.append((result, make_cost_sheet(result, make_job(result), site)))
    show(REPORT, sheets, JSON if as_json else format_)
    if problems:
        raise DataError.of(problems)


def _job_maker(
    *,
    tokens: str,
    failures_per_day: float | None,
    restart: str,
    checkpoint: str,
    checkpoint_every: str | None,
    start: str,
    compilation: str | None,
    evaluation: str,
    idle: str,
) -> "Callable[[Result], TrainingJob]":
    """Read the options of the job; return what makes the job of a result."""
    from trnbench.cost.training import Reliability, TrainingJob
    from trnbench.units import read_count, read_seconds

    def seconds(option: str, text: str) -> float:
        return _read(option, text, read_seconds)

    job = TrainingJob(
        tokens=_read("--tokens", tokens, read_count),
        reliability=Reliability(
            **({} if failures_per_day is None else {"failures_per_instance_day": failures_per_day}),
            restart_seconds=seconds("--restart", restart),
            checkpoint_seconds=seconds("--checkpoint", checkpoint),
            checkpoint_interval_seconds=None
            if checkpoint_every is None
            else seconds("--checkpoint-every", checkpoint_every),
        ),
        start_seconds=seconds("--start", start),
        compile_seconds=0.0 if compilation is None else seconds("--compile", compilation),
        evaluation_seconds=seconds("--evaluation", evaluation),
        idle_seconds=seconds("--idle", idle),
    )
    _check(job.reliability.checkpoint_interval_seconds, job.reliability.checkpoint_seconds)
    if compilation is not None:
        return lambda result: job
    return lambda result: replace(job, compile_seconds=result.timing.first_step_seconds or 0.0)


def _read(option: str, text: str, read: "Callable[[str], float]") -> float:
    try:
        return read(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}", hint=f"see `{option}` in --help") from None


def _check(interval: float | None, blocked: float) -> None:
    if interval is None and blocked == 0:
        raise ConfigError(
            "--checkpoint 0s: checkpoints that take no time have no best interval",
            hint="set one with --checkpoint-every",
        )
    if interval == 0:
        raise ConfigError("--checkpoint-every 0s: is not an interval", hint="write e.g. 1h")
