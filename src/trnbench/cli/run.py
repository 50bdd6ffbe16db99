"""`trnbench run`: measure suites, or with `--ab` two configs in turns; print the results."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.options import (
    DEFAULT_MARGIN,
    Allow,
    AsJson,
    Configs,
    DeviceChoice,
    Gates,
    InstanceRate,
    Interpreter,
    Margin,
    OutputFolder,
    PriceFile,
    PriceSourceChoice,
    Settings,
    Strict,
    make_terms,
    read_overrides,
)
from trnbench.cli.prepare import Prepared, default_folder, plan_only, prepare, read_cases
from trnbench.errors import ConfigError

if TYPE_CHECKING:
    from trnbench.compare.gates import Terms
    from trnbench.compare.launches import Launch
    from trnbench.run.session import Ending
    from trnbench.schema.plan import Plan

LAUNCHES_KEY = "measure.launches"

DEFAULT_AB_LAUNCHES = 6
"""Of each arm; even, so that A B B A is complete. Source: docs/metrics.md, "Comparison"."""

Arms = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--ab",
        metavar="A B",
        help="Measure two configs in turns, each launch in a fresh process, and compare B with A.",
        show_default=False,
    ),
]
Launches = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=100,
        help="Fresh processes for each case, as measure.launches.",
        show_default="the config's; 6 with --ab",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and its predictions; train nothing.")
]


def run(
    configs: Configs = None,
    output: OutputFolder = None,
    device: DeviceChoice = None,
    settings: Settings = None,
    python: Interpreter = sys.executable,
    usd_per_hour: InstanceRate = None,
    price_source: PriceSourceChoice = None,
    prices: PriceFile = None,
    launches: Launches = None,
    ab: Arms = None,
    gates: Gates = None,
    strict: Strict = False,
    margin: Margin = DEFAULT_MARGIN,
    allow: Allow = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure each case: train real steps, and print the results as a table."""
    overrides = read_overrides(settings, device=device, usd_per_hour=usd_per_hour)
    if prices is not None:
        overrides["price.file"] = json.dumps(str(prices))  # YAML too: no name is read as more
    if price_source is not None:
        overrides["price.source"] = price_source.value
    if launches is not None:
        overrides[LAUNCHES_KEY] = str(launches)
    if ab is not None:
        if configs:
            raise ConfigError(
                f"run --ab takes exactly two configs; it was also given {' '.join(configs)}",
                hint="write `trnbench run --ab A.yaml B.yaml`",
            )
        terms = make_terms(gates=gates, margin=margin, allow=allow)
        overrides = {LAUNCHES_KEY: str(DEFAULT_AB_LAUNCHES), **overrides}
        first, second = (read_cases([config], overrides) for config in ab)
        if dry_run:
            plan_only([*first, *second], python, is_json=as_json)
            return
        prepared = prepare([*first, *second], python)
        arms = prepared.plans[: len(first)], prepared.plans[len(first) :]
        _measure_ab(arms, ab, terms, prepared, output, python, is_strict=strict, is_json=as_json)
        return
    if gates or allow or strict or margin != DEFAULT_MARGIN:
        raise ConfigError(
            "run: --gate, --allow, --strict and --margin compare two sides; this run has one",
            hint="add `--ab A.yaml B.yaml`, or use `trnbench compare` on results",
        )
    cases = read_cases(configs, overrides)
    if dry_run:
        plan_only(cases, python, is_json=as_json)
        return
    _measure(prepare(cases, python), output, python, is_json=as_json)


def _measure(prepared: Prepared, output: Path | None, python: str, *, is_json: bool) -> None:
    from trnbench.cli.live import make_observer
    from trnbench.cli.output import show
    from trnbench.reports.results import REPORT
    from trnbench.run.session import Session
    from trnbench.run.watch import noted_signals

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
    if ending.results or is_json:
        show(REPORT, ending.results, "json" if is_json else "terminal")
    end_with([ending], folder)


def _measure_ab(
    arms: "tuple[Sequence[Plan], Sequence[Plan]]",
    names: tuple[str, str],
    terms: "Terms",
    prepared: Prepared,
    output: Path | None,
    python: str,
    *,
    is_strict: bool,
    is_json: bool,
) -> None:
    from dataclasses import replace

    from trnbench.cli.compare import raise_for_gates
    from trnbench.cli.output import Target, write_comparison
    from trnbench.compare.compare import compare
    from trnbench.compare.matching import require_counterparts
    from trnbench.redact import redact

    require_counterparts(*arms, terms.allowed)
    folder = output or default_folder(f"{arms[0][0].suite} ab", datetime.now(UTC))
    base, cand, endings = measure_in_turns(arms, prepared, folder, python)
    if not base or not cand:
        end_with(endings, folder)
        return
    is_paired = len(base) == len(cand)  # an interrupted experiment may not be
    base_source, cand_source = map(redact, names)
    made = compare(
        base,
        cand,
        replace(terms, is_paired=is_paired),
        base_sources=[base_source],
        cand_sources=[cand_source],
    )
    write_comparison(made, [Target("json" if is_json else "terminal", None)])
    end_with(endings, folder)
    raise_for_gates(made, is_strict=is_strict)


def measure_in_turns(
    plans: "tuple[Sequence[Plan], Sequence[Plan]]", prepared: Prepared, folder: Path, python: str
) -> "tuple[list[Launch], list[Launch], list[Ending]]":
    """Launch both arms in turns; return the launches of each arm and the sessions' endings."""
    from trnbench.cli.live import make_observer
    from trnbench.run.baselines import FolderSource
    from trnbench.run.turns import FOLDERS, Arm, Label, interleave
    from trnbench.run.watch import noted_signals

    labels: tuple[Label, Label] = ("base", "cand")
    arms = [
        Arm(
            label=label,
            plans=tuple(own),
            python=python,
            machine=prepared.machine,
            devices=prepared.devices,
        )
        for label, own in zip(labels, plans, strict=True)
    ]
    with noted_signals() as interruption, make_observer() as observer:
        endings = interleave(arms, folder, observer=observer, interruption=interruption)
    base, cand = (
        FolderSource(path=folder / FOLDERS[label]).load(frozenset())
        if label in endings and endings[label].results
        else []
        for label in labels
    )
    return base, cand, list(endings.values())


def end_with(endings: "Sequence[Ending]", folder: Path) -> None:
    """Print where the results are, and exit as the worst session ended."""
    from trnbench.run.session import raise_for

    sys.stderr.write(f"results: {folder}\n")
    for ending in endings:
        if ending.signal is not None:
            raise typer.Exit(128 + ending.signal)
        raise_for(ending, folder)
