"""`trnbench compare`: two sides of results, the difference with its interval, and the gate."""

from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.terms import Allow, Correcting, Gates, Margin, Strict, make_terms, raise_for
from trnbench.schema.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trnbench.compare.launches import Launch


class ComparisonFormat(StrEnum):
    """What can be named as a format; a test holds it to `reports.comparison`."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"
    GITHUB_ACTION_BENCHMARK = "github-action-benchmark"
    BMF = "bmf"
    OPENMETRICS = "openmetrics"


Sides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="BASE CAND",
        help="What is compared with, and what is compared: a folder of a case, of a run or of many "
        "runs; git:REF[:PATH], as a git ref holds it; last:N:PATH, the newest N launches of each "
        "case below PATH.",
        show_default=False,
    ),
]
MoreBase = Annotated[
    list[str] | None,
    typer.Option("--base", metavar="PATH", help="More of BASE's launches. May be repeated."),
]
MoreCand = Annotated[
    list[str] | None,
    typer.Option("--cand", metavar="PATH", help="More of CAND's launches. May be repeated."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="METRIC", help="Compare this one. May be repeated."),
]
Correction = Annotated[Correcting, typer.Option(help="How many comparisons are allowed for.")]
Paired = Annotated[
    bool,
    typer.Option("--paired", help="The n-th launches of both sides were made one after the other."),
]
TargetExcess = Annotated[
    float,
    typer.Option(
        metavar="NATS", help="The target loss, above the best possible on the learnable stream."
    ),
]
BaseRate = Annotated[
    str | None, typer.Option(metavar="USD", help="Cost BASE at this rate for an instance.")
]
CandRate = Annotated[
    str | None, typer.Option(metavar="USD", help="Cost CAND at this rate for an instance.")
]
Format = Annotated[
    ComparisonFormat, typer.Option("--format", "-f", help="What to write to stdout.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write there instead of to stdout."),
]
Write = Annotated[
    list[str] | None,
    typer.Option(
        "--write",
        metavar="FORMAT=FILE",
        help="Write this format to this file too, e.g. junit=gate.xml. May be repeated.",
    ),
]
Summary = Annotated[
    bool,
    typer.Option("--github-summary", help="Append to the step summary of GitHub Actions."),
]
Confirm = Annotated[
    bool,
    typer.Option(
        "--confirm", help="Measure again here what a gate did not see pass, before it fails."
    ),
]
ConfirmLaunches = Annotated[
    int, typer.Option(metavar="N", min=3, max=64, help="Launches a side with --confirm.")
]
ConfirmFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where the launches of --confirm go.  [default: results/<date>-confirm]",
        show_default=False,
    ),
]
Interpreter = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="With --confirm: the interpreter that trains CAND.  [default: the one that runs this]",
        show_default=False,
    ),
]
BaseInterpreter = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="With --confirm: the interpreter that trains BASE, which is then measured again too.",
    ),
]


def compare(
    sides: Sides = None,
    base: MoreBase = None,
    cand: MoreCand = None,
    gates: Gates = None,
    strict: Strict = False,
    metrics: Metrics = None,
    margin: Margin = "2%",
    allow: Allow = None,
    correction: Correction = Correcting.HOLM,
    paired: Paired = False,
    target_excess_nats: TargetExcess = 0.25,
    base_usd_per_hour: BaseRate = None,
    cand_usd_per_hour: CandRate = None,
    format_: Format = ComparisonFormat.TERMINAL,
    output: Output = None,
    write: Write = None,
    github_summary: Summary = False,
    confirm: Confirm = False,
    confirm_launches: ConfirmLaunches = 4,
    confirm_folder: ConfirmFolder = None,
    python: Interpreter = None,
    base_python: BaseInterpreter = None,
) -> None:
    """Compare CAND with BASE: ratios with intervals, verdicts, and gates for CI."""
    from trnbench.cli.comparison_output import open_outputs
    from trnbench.compare.compare import compare as compare_sides
    from trnbench.redact import scrub
    from trnbench.run.baselines import read_sides

    sources = _sides(sides or [], base or [], cand or [])
    terms = make_terms(
        metrics=metrics,
        margin=margin,
        correction=correction,
        gates=gates,
        allow=allow,
        is_paired=paired,
        target_excess_nats=target_excess_nats,
    )
    outputs = open_outputs(format_, output, write or [], has_summary=github_summary)
    rates = (_rate("base", base_usd_per_hour), _rate("cand", cand_usd_per_hour))
    found = read_sides(*sources)
    launches = tuple(_at_rate(side, rate) for side, rate in zip(found, rates, strict=True))
    comparison = compare_sides(
        launches[0],
        launches[1],
        terms,
        base_sources=list(map(scrub, sources[0])),
        cand_sources=list(map(scrub, sources[1])),
    )
    if confirm:
        from trnbench.cli.confirmation import Confirmation

        comparison = Confirmation(
            count=confirm_launches,
            folder=confirm_folder,
            python=python,
            base_python=base_python,
            rates=rates,
            reprice=_at_rate,
        ).look_again(comparison, launches[0], launches[1], terms)
    outputs.write(comparison)
    raise_for(comparison, is_strict=strict)


def _sides(positional: list[str], base: list[str], cand: list[str]) -> tuple[list[str], list[str]]:
    """Sort out which names stand for which side."""
    if len(positional) not in (0, 2):
        raise ConfigError(
            f"compare takes BASE and CAND, and was given {len(positional)}: {' '.join(positional)}",
            hint="several folders of one side are named by --base PATH and --cand PATH",
        )
    sides = ([*positional[:1], *base], [*positional[1:], *cand])
    for side, label in zip(sides, ("BASE", "CAND"), strict=True):
        if not side:
            raise ConfigError(
                f"compare: nothing stands for {label}",
                hint="write `trnbench compare BASE CAND`, e.g. results/base results/new",
            )
    return sides


def _rate(side: str, text: str | None) -> Decimal | None:
    """Read a rate as exactly as it was written, and as strictly as a config's."""
    if text is None:
        return None
    import pydantic

    from trnbench.schema.price import UsdPerHour

    reader: pydantic.TypeAdapter[Decimal] = pydantic.TypeAdapter(UsdPerHour)
    try:
        return reader.validate_python(text)
    except pydantic.ValidationError:
        raise ConfigError(
            f"--{side}-usd-per-hour {text}: is not a rate in dollars above 0 and up to 100,000",
            hint=f"write e.g. --{side}-usd-per-hour 35.76",
        ) from None


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
            result=recost(
                launch.result,
                user_price(request_of(launch.result, today), rate),
                None,
            ),
        )
        for launch in launches
    ]
