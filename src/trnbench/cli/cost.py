"""`trnbench cost`: what training costs at a result's speed, as a range, and what moves that."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.price_options import OptionName, SourceName
from trnbench.schema.errors import ConfigError, DataError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from trnbench.cost.training import CostSheet, TrainingJob
    from trnbench.schema.result import Result

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[PATH]...",
        help="Folders of cases, of runs, or of many runs.  [default: results]",
        show_default=False,
    ),
]
Tokens = Annotated[str, typer.Option(metavar="COUNT", help="Tokens to train: 1T, 300B, 15e12.")]


def cost(
    paths: Paths = None,
    tokens: Tokens = "1T",
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
        Path | None, typer.Option(metavar="FILE", help="Your own rates, as for `trnbench report`.")
    ] = None,
    price_source: Annotated[
        SourceName | None, typer.Option(help="Whom to ask what it costs.")
    ] = None,
    failures_per_day: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="RATE",
            help="Failures of one instance in a day; by default what was published of Llama 3's "
            "training on H100s.",
        ),
    ] = None,
    restart: Annotated[
        str, typer.Option(metavar="TIME", help="From a failure to the first step after it.")
    ] = "15min",
    checkpoint: Annotated[
        str, typer.Option(metavar="TIME", help="For which training stands still at a checkpoint.")
    ] = "60s",
    checkpoint_every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Between checkpoints; by default the best interval."),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="TIME", help="From the first paid second to the first step.")
    ] = "0s",
    compilation: Annotated[
        str | None,
        typer.Option(
            "--compile", metavar="TIME", help="The first time; by default the result's first step."
        ),
    ] = None,
    evaluation: Annotated[
        str, typer.Option(metavar="TIME", help="Evaluating, over the whole job.")
    ] = "0s",
    idle: Annotated[
        str, typer.Option(metavar="TIME", help="Paid for and not used, over the whole job.")
    ] = "0s",
    pue: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Power of the room over that of its machines; by default the cloud's average.",
        ),
    ] = None,
    grid: Annotated[
        float | None,
        typer.Option(min=0, metavar="GRAMS", help="gCO2e of a kWh; by default the region's."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Put one JSON document on stdout.")
    ] = False,
) -> None:
    """Work out what training at a result's speed costs, as a range, and what moves it."""
    from trnbench.analysis.surroundings import find_surroundings
    from trnbench.cli.repricing import PriceChoice, make_repricer
    from trnbench.cli.results import load_results
    from trnbench.cost.training import Reliability, TrainingJob, make_cost_sheet
    from trnbench.schema.units import read_count, read_seconds

    def seconds(name: str, text: str) -> float:
        return _read(f"--{name}", text, read_seconds)

    reliability = Reliability(
        **({} if failures_per_day is None else {"failures_per_instance_day": failures_per_day}),
        restart_seconds=seconds("restart", restart),
        checkpoint_seconds=seconds("checkpoint", checkpoint),
        checkpoint_interval_seconds=None
        if checkpoint_every is None
        else seconds("checkpoint-every", checkpoint_every),
    )
    _check(reliability.checkpoint_interval_seconds, reliability.checkpoint_seconds)

    def job(result: "Result") -> "TrainingJob":
        first = result.timing.first_step_seconds or 0.0
        return TrainingJob(
            tokens=_read("--tokens", tokens, read_count),
            reliability=reliability,
            start_seconds=seconds("start", start),
            compile_seconds=first if compilation is None else seconds("compile", compilation),
            evaluation_seconds=seconds("evaluation", evaluation),
            idle_seconds=seconds("idle", idle),
        )

    reprice = make_repricer(
        PriceChoice(
            option=price_option,
            region=region,
            usd_per_hour=usd_per_hour,
            file=prices,
            source=price_source,
        )
    )
    problems: list[Problem] = []
    sheets = []
    for loaded in load_results(paths or [Path("results")], problems):
        result = reprice(loaded)
        sheets.append(
            (
                result,
                make_cost_sheet(result, job(result), find_surroundings(result.price, pue, grid)),
            )
        )
    _show(sheets, as_json=as_json)
    if problems:
        raise DataError.of(problems)


def _show(sheets: "list[tuple[Result, CostSheet | str]]", *, as_json: bool) -> None:
    from trnbench.cli.sheet import show_section
    from trnbench.cost.training import CostSheet
    from trnbench.reports.clean import escaped_json, one_line
    from trnbench.reports.cost_sheet import sheet_as_json, sheet_rows
    from trnbench.reports.results import device_cell, model_cell

    if as_json:
        documents = [
            sheet_as_json(sheet)
            if isinstance(sheet, CostSheet)
            else {"case_id": result.case_id, "run_id": result.run_id, "reason": sheet}
            for result, sheet in sheets
        ]
        typer.echo(escaped_json(json.dumps({"costs": documents}, indent=1)))
        return
    for result, sheet in sheets:
        title = one_line(f"{model_cell(result)} on {device_cell(result)}")
        rows = [("no cost", sheet)] if isinstance(sheet, str) else sheet_rows(sheet)
        show_section(title, [(label, one_line(text)) for label, text in rows])


def _read(option: str, text: str, read: "Callable[[str], float]") -> float:
    try:
        return read(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}", hint=f"see `{option}` in --help") from None


def _check(interval: float | None, blocked: float) -> None:
    if interval is None and blocked == 0:
        raise ConfigError(
            "--checkpoint 0s: checkpoints that take no time have no best interval",
            hint="name one with --checkpoint-every",
        )
    if interval == 0:
        raise ConfigError("--checkpoint-every 0s: is no interval", hint="write e.g. 1h")
