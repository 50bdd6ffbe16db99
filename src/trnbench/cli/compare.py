"""`trnbench compare`: two sides of results, their ratios with intervals, and gates."""

from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.options import (
    DEFAULT_MARGIN,
    Allow,
    Correcting,
    Gates,
    Margin,
    OutputFile,
    Strict,
    make_terms,
    read_rate,
)
from trnbench.errors import CheckFailed, ConfigError, Problem
from trnbench.redact import redact
from trnbench.reports import formats_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trnbench.compare.launches import Launch
    from trnbench.schema.comparison import Comparison


ComparisonFormat = StrEnum(  # type: ignore[misc]
    "ComparisonFormat", {name.upper(): name for name in formats_of("comparison")}
)
TERMINAL = ComparisonFormat("terminal")

Sides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="BASE CAND",
        help="The two sides. Each is a folder of a case, of a run or of many runs; git:REF[:PATH], "
        "the results in a git ref; or last:N:PATH, the newest N launches of each case below PATH.",
        show_default=False,
    ),
]
MoreBase = Annotated[
    list[str] | None,
    typer.Option("--base", metavar="PATH", help="Add these launches to BASE. Can be repeated."),
]
MoreCand = Annotated[
    list[str] | None,
    typer.Option("--cand", metavar="PATH", help="Add these launches to CAND. Can be repeated."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="METRIC", help="Compare this metric. Can be repeated."),
]
Correction = Annotated[
    Correcting, typer.Option(help="The correction for the number of comparisons.")
]
Paired = Annotated[
    bool,
    typer.Option("--paired", help="Pair the n-th launches of both sides, which ran in turns."),
]
TargetExcess = Annotated[
    float,
    typer.Option(
        metavar="NATS",
        help="The target loss, above the lowest possible on the learnable stream.",
    ),
]
BaseRate = Annotated[
    str | None, typer.Option(metavar="USD", help="Use this price for BASE's instance.")
]
CandRate = Annotated[
    str | None, typer.Option(metavar="USD", help="Use this price for CAND's instance.")
]
Format = Annotated[
    ComparisonFormat, typer.Option("--format", "-f", help="The format of the output.")
]
Write = Annotated[
    list[str] | None,
    typer.Option(
        "--write",
        metavar="FORMAT=FILE",
        help="Also write this format to this file, e.g. junit=gate.xml. Can be repeated.",
    ),
]
Summary = Annotated[
    bool,
    typer.Option("--github-summary", help="Append to the step summary of GitHub Actions."),
]
Confirm = Annotated[
    bool,
    typer.Option("--confirm", help="Before a gate fails, measure its cases again on this machine."),
]
ConfirmLaunches = Annotated[
    int, typer.Option(metavar="N", min=3, max=64, help="Launches of each side for --confirm.")
]
ConfirmFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The folder for the launches of --confirm.",
        show_default="results/<date>-confirm",
    ),
]
Interpreter = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="With --confirm: the interpreter that trains CAND.",
        show_default="the one that runs this",
    ),
]
BaseInterpreter = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="With --confirm: the interpreter that trains BASE; without it only CAND is measured "
        "again.",
    ),
]


def compare(
    sides: Sides = None,
    base: MoreBase = None,
    cand: MoreCand = None,
    gates: Gates = None,
    strict: Strict = False,
    metrics: Metrics = None,
    margin: Margin = DEFAULT_MARGIN,
    allow: Allow = None,
    correction: Correction = Correcting.HOLM,
    paired: Paired = False,
    target_excess_nats: TargetExcess = 0.25,
    base_usd_per_hour: BaseRate = None,
    cand_usd_per_hour: CandRate = None,
    format_: Format = TERMINAL,
    output: OutputFile = None,
    write: Write = None,
    github_summary: Summary = False,
    confirm: Confirm = False,
    confirm_launches: ConfirmLaunches = 4,
    confirm_folder: ConfirmFolder = None,
    python: Interpreter = None,
    base_python: BaseInterpreter = None,
) -> None:
    """Compare CAND with BASE: ratios with intervals, verdicts, and gates for CI."""
    from trnbench.cli.output import find_targets, write_comparison
    from trnbench.compare.compare import compare as compare_sides
    from trnbench.run.baselines import read_sides

    sources = _sort_sources(sides or [], base or [], cand or [])
    terms = make_terms(
        metrics=metrics,
        margin=margin,
        correction=correction,
        gates=gates,
        allow=allow,
        is_paired=paired,
        target_excess_nats=target_excess_nats,
    )
    targets = find_targets(format_.value, output, write or [], has_summary=github_summary)
    rates = _read_rate("base", base_usd_per_hour), _read_rate("cand", cand_usd_per_hour)
    base_launches, cand_launches = map(_at_rate, read_sides(*sources), rates)
    base_sources, cand_sources = (list(map(redact, side)) for side in sources)
    comparison = compare_sides(
        base_launches, cand_launches, terms, base_sources=base_sources, cand_sources=cand_sources
    )
    if confirm:
        from trnbench.cli.confirm import Confirmation

        comparison = Confirmation(
            count=confirm_launches,
            folder=confirm_folder,
            python=python,
            base_python=base_python,
            reprice=[partial(_at_rate, rate=rate) for rate in rates],
        ).look_again(comparison, base_launches, cand_launches, terms)
    write_comparison(comparison, targets)
    raise_for_gates(comparison, is_strict=strict)


def _sort_sources(
    positional: list[str], base: list[str], cand: list[str]
) -> tuple[list[str], list[str]]:
    """Return the sources of BASE and of CAND."""
    if len(positional) not in (0, 2):
        raise ConfigError(
            f"compare takes BASE and CAND; it was given {len(positional)}: {' '.join(positional)}",
            hint="add further folders of a side by --base PATH and --cand PATH",
        )
    sides = ([*positional[:1], *base], [*positional[1:], *cand])
    for side, label in zip(sides, ("BASE", "CAND"), strict=True):
        if not side:
            raise ConfigError(
                f"compare: {label} is missing",
                hint="write `trnbench compare BASE CAND`, e.g. results/base results/new",
            )
    return sides


def _read_rate(side: str, text: str | None) -> Decimal | None:
    return None if text is None else read_rate(f"--{side}-usd-per-hour", text)


def _at_rate(launches: "Sequence[Launch]", rate: Decimal | None) -> "list[Launch]":
    """Return launches at the user's rate, or as they are where none was given."""
    from datetime import UTC, datetime

    from trnbench.analysis.analyze import recost
    from trnbench.prices import request_of
    from trnbench.prices.base import user_price

    if rate is None:
        return list(launches)
    today = datetime.now(UTC).date()
    return [
        replace(
            launch,
            result=recost(launch.result, user_price(request_of(launch.result, today), rate), None),
        )
        for launch in launches
    ]


def raise_for_gates(comparison: "Comparison", *, is_strict: bool) -> None:
    """Raise the gates' verdict, after everything has been written."""
    from trnbench.reports.comparison import say_evidence

    problems = []
    for gate in comparison.gates:
        if gate.state == "passed" or (gate.state == "undecided" and not is_strict):
            continue
        problems.append(
            Problem(
                f"gate {gate.gate!r} {gate.state.replace('_', ' ')} on {gate.case}: "
                f"{say_evidence(gate)}",
                gate.advice or "if the change is intended, use these results as the next baseline",
            )
        )
    if problems:
        raise CheckFailed.of(problems)
