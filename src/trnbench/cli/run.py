"""`trnbench run`: measure suites, and end with the table."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.preparing import (
    DeviceChoice,
    Interpreter,
    Output,
    Prepared,
    Settings,
    UsdPerHour,
    default_folder,
    plan_only,
    prepare,
    read_cases,
    read_overrides,
)
from trnbench.cli.price_options import SourceName
from trnbench.cli.terms import Allow, Gates, Margin, Strict, make_terms
from trnbench.schema.errors import ConfigError

if TYPE_CHECKING:
    pass

Configs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG]...",
        help="YAML files, or names of configs that ship with trnbench.  [default: quick]",
        show_default=False,
    ),
]
SourceOfPrices = Annotated[
    SourceName | None,
    typer.Option(
        "--price-source",
        help="Whom to ask what the instance costs: the bundled table, the cloud, or the cloud and "
        "else the table.",
    ),
]
PriceFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Your own rates, as for `trnbench report`."),
]
Arms = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--ab",
        metavar="A B",
        help="Measure two configs in turns, each launch a fresh process, and end with how B "
        "compares with A.",
        show_default=False,
    ),
]
Launches = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=100,
        help="Fresh processes of each case, as measure.launches says.  [default: the config's; 6 "
        "with --ab]",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and its predictions; train nothing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Put one JSON document on stdout.")]


def run(
    configs: Configs = None,
    output: Output = None,
    device: DeviceChoice = None,
    settings: Settings = None,
    python: Interpreter = sys.executable,
    usd_per_hour: UsdPerHour = None,
    price_source: SourceOfPrices = None,
    prices: PriceFile = None,
    launches: Launches = None,
    ab: Arms = None,
    gates: Gates = None,
    strict: Strict = False,
    margin: Margin = "2%",
    allow: Allow = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure: train real steps of each case, and end with the table."""
    from trnbench.run.configs import DEFAULT_CONFIG

    overrides = read_overrides(settings, device=device, usd_per_hour=usd_per_hour)
    if prices is not None:
        overrides["price.file"] = json.dumps(str(prices))  # YAML too: no name is read as more
    if price_source is not None:
        overrides["price.source"] = price_source.value
    if launches is not None:
        overrides["measure.launches"] = str(launches)
    if ab is not None:
        from trnbench.cli.ab import run_ab

        if configs:
            raise ConfigError(
                f"run --ab takes its two configs and no other, and was given {' '.join(configs)}",
                hint="write `trnbench run --ab A.yaml B.yaml`",
            )
        terms = make_terms(gates=gates, margin=margin, allow=allow)
        run_ab(ab, terms, output, overrides, python,
               is_strict=strict, is_dry=dry_run, is_json=as_json)  # fmt: skip
        return
    if gates or allow or strict or margin != "2%":
        raise ConfigError(
            "run: --gate, --allow, --strict and --margin say how two sides are compared, and there "
            "is one",
            hint="add `--ab A.yaml B.yaml`, or use `trnbench compare` on results",
        )
    cases = read_cases(configs or [DEFAULT_CONFIG], overrides)
    if dry_run:
        plan_only(cases, python, is_json=as_json)
        return
    _measure(prepare(cases, python), output, python, is_json=as_json)


def _measure(prepared: Prepared, output: Path | None, python: str, *, is_json: bool) -> None:
    from trnbench.cli.live import make_observer
    from trnbench.cli.screen import page_of_stdout
    from trnbench.reports import render
    from trnbench.reports.results import REPORT
    from trnbench.run.interruption import noted_signals
    from trnbench.run.session import Session, raise_for

    plans, machine, devices = prepared
    folder = output or default_folder(plans[0].suite, datetime.now(UTC))
    with noted_signals() as interruption, make_observer() as observer:
        ending = Session(
            plans,
            folder=folder,
            python=python,
            machine=machine,
            devices=devices,
            observer=observer,
            interruption=interruption,
        ).run()
    form = "json" if is_json else "terminal"
    if ending.results or is_json:
        typer.echo(render(REPORT, ending.results, form, page_of_stdout()), nl=False)
    sys.stderr.write(f"results: {folder}\n")
    if ending.signal is not None:
        raise typer.Exit(128 + ending.signal)
    raise_for(ending, folder)
