"""`trnbench compare`: two sides of results, the difference with its interval, and the gate."""

from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.schema.errors import CheckFailed, ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trnbench.analysis.comparison.launch import Launch
    from trnbench.analysis.comparison.terms import Terms
    from trnbench.schema.comparison import Comparison


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


class Correcting(StrEnum):
    """How many comparisons are allowed for."""

    HOLM = "holm"
    BH = "bh"
    NONE = "none"


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
Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="'METRIC > -N%'",
        help="Leave with exit code 6 where this does not hold, e.g. 'tokens_per_second > -2%'. "
        "Reads the interval, not the point. May be repeated.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="A gate that is undecided counts as failed.")
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="METRIC", help="Compare this one. May be repeated."),
]
Margin = Annotated[
    str, typer.Option(metavar="N%", help="A change up to this size does not matter.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="KEY",
        help="Compare though the work differs in this, e.g. precision. May be repeated.",
    ),
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
    from trnbench.analysis.comparison.compare import compare as compare_sides
    from trnbench.cli.comparison_output import open_outputs
    from trnbench.run.baselines import read_sides
    from trnbench.run.scrub import scrub

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


def make_terms(
    *,
    gates: list[str] | None,
    margin: str,
    allow: list[str] | None,
    metrics: list[str] | None = None,
    correction: Correcting = Correcting.HOLM,
    is_paired: bool = False,
    target_excess_nats: float = 0.25,
) -> "Terms":
    """Read how a comparison is to be made.

    Raises:
        ConfigError: a text means nothing; it is named.
    """
    from trnbench.analysis.comparison.gates import parse_gates
    from trnbench.analysis.comparison.terms import DEFAULT_METRICS, Terms

    return Terms(
        metrics=_known_metrics(metrics) if metrics else DEFAULT_METRICS,
        margin=_margin(margin),
        correction=correction.value,
        gates=parse_gates(list(dict.fromkeys(gates or []))),
        allowed=_allowed(allow or []),
        is_paired=is_paired,
        target_excess_nats=_target(target_excess_nats),
    )


def raise_for(comparison: "Comparison", *, is_strict: bool) -> None:
    """Raise what the gates come to, when everything has been written.

    Raises:
        CheckFailed: a gate failed or could not be judged; with `is_strict`, or is undecided.
    """
    from trnbench.reports.comparison.view import say_evidence

    problems = []
    for gate in comparison.gates:
        if gate.state == "passed" or (gate.state == "undecided" and not is_strict):
            continue
        problems.append(
            Problem(
                f"gate {gate.gate!r} {gate.state.replace('_', ' ')} on {gate.case}: "
                f"{say_evidence(gate)}",
                gate.advice or "if this change is meant, take these results for the next baseline",
            )
        )
    if problems:
        raise CheckFailed.of(problems)


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


def _known_metrics(metrics: list[str]) -> tuple[str, ...]:
    from trnbench.analysis.comparison.comparables import COMPARABLES

    for metric in metrics:
        if metric not in COMPARABLES:
            raise ConfigError(
                f"--metric {metric}: is no metric that can be compared",
                hint=f"use one of {', '.join(COMPARABLES)}",
            )
    return tuple(metrics)


def _allowed(keys: list[str]) -> tuple[str, ...]:
    from trnbench.analysis.comparison.terms import ALLOWED_KEYS

    for key in keys:
        if key not in ALLOWED_KEYS:
            raise ConfigError(
                f"--allow {key}: is nothing in which work can differ",
                hint=f"use one of {', '.join(ALLOWED_KEYS)}",
            )
    return tuple(dict.fromkeys(keys))


def _margin(text: str) -> float:
    number, percent, rest = text.strip().partition("%")
    try:
        margin = float(number) / 100
    except ValueError:
        margin = -1.0
    if not percent or rest or not 0 <= margin <= 1:
        raise ConfigError(
            f"--margin {text}: is no percentage from 0% to 100%", hint="write e.g. --margin 1%"
        )
    return margin


def _target(nats: float) -> float:
    if not 0 < nats <= 20:
        raise ConfigError(
            f"--target-excess-nats {nats}: is no loss above 0 and up to 20 nats",
            hint="write e.g. --target-excess-nats 0.25",
        )
    return nats


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
    from trnbench.schema.price import Price

    if rate is None:
        return list(launches)
    today = datetime.now(UTC).date()
    return [
        replace(
            launch,
            result=recost(
                launch.result,
                Price(
                    usd_per_hour=rate,
                    instance=launch.result.device.instance,
                    option="user",
                    region=None,
                    date=today,
                    source="given by the user",
                ),
                None,
            ),
        )
        for launch in launches
    ]
