"""`trnbench compare`: two sides of results, their ratios with intervals, and gates."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from trnbench.cli import complete
from trnbench.cli.gates import GateOptions
from trnbench.cli.groups import cli_option
from trnbench.cli.options import FORMAT, OutputFile, Plots, read_name
from trnbench.cli.price_options import PriceTerms
from trnbench.errors import CheckFailed, ConfigError, Problem
from trnbench.redact import redact
from trnbench.reports import formats_of

if TYPE_CHECKING:
    from trnbench.compare.gates import Terms
    from trnbench.schema.comparison import Comparison

EXAMPLES = ("trnbench compare results/base results/new --gate 'tokens_per_second > -2%'",)
"""For `--help`."""


ComparisonFormat = StrEnum(  # type: ignore[misc]
    "ComparisonFormat", {name.upper(): name for name in formats_of("comparison")}
)
TERMINAL, JSON = ComparisonFormat("terminal"), ComparisonFormat("json")

Sides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="BASE CAND",
        parser=read_name,
        help="The two sides. Each is a folder of a case, of a run or of many runs; git:REF[:PATH], "
        "the results in a git ref; or last:N:PATH, the newest N launches of each case below PATH.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideOptions:
    """What is added to the two sides, and what their instances cost."""

    PANEL: ClassVar[str] = "Sides"

    base: list[str] | None = cli_option(
        None, metavar="PATH", help="Add these launches to BASE. Can be repeated."
    )
    cand: list[str] | None = cli_option(
        None, metavar="PATH", help="Add these launches to CAND. Can be repeated."
    )
    base_usd_per_hour: str | None = cli_option(
        None, metavar="USD", help="Use this price for BASE's instance."
    )
    cand_usd_per_hour: str | None = cli_option(
        None, metavar="USD", help="Use this price for CAND's instance."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TermOptions(GateOptions):
    """What is compared, and how."""

    metrics: list[str] | None = cli_option(
        None,
        "--metric",
        metavar="METRIC",
        help="Compare this metric. Can be repeated.",
        autocompletion=complete.metrics,
    )
    correction: Literal["holm", "bh", "none"] = cli_option(
        "holm", help="The correction for the number of comparisons."
    )
    paired: bool = cli_option(
        False, "--paired", help="Pair the n-th launches of both sides, which ran in turns."
    )
    target_excess_nats: float = cli_option(
        0.25,
        metavar="NATS",
        help="The target loss, above the lowest possible on the learnable stream.",
    )

    def terms(self) -> "Terms":
        """Return the terms of the comparison."""
        from trnbench.compare.gates import DEFAULT_METRICS
        from trnbench.compare.metrics import COMPARABLES

        for metric in self.metrics or ():
            if metric not in COMPARABLES:
                raise ConfigError(
                    f"--metric {metric}: is not a comparable metric",
                    hint=f"use one of {', '.join(COMPARABLES)}",
                )
        if not 0 < self.target_excess_nats <= 20:
            raise ConfigError(
                f"--target-excess-nats {self.target_excess_nats}: is not a loss above 0 and up to "
                "20 nats",
                hint="write e.g. --target-excess-nats 0.25",
            )
        return replace(
            GateOptions.terms(self),
            metrics=tuple(self.metrics) if self.metrics else DEFAULT_METRICS,
            correction=self.correction,
            is_paired=self.paired,
            target_excess_nats=self.target_excess_nats,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """Where the comparison is written, and in which formats."""

    PANEL: ClassVar[str] = "Output"

    format: Annotated[ComparisonFormat, FORMAT] = TERMINAL
    as_json: bool = cli_option(False, "--json", help="Write one JSON document.")
    output: OutputFile = None
    write: list[str] | None = cli_option(
        None,
        metavar="FORMAT=FILE",
        help="Also write this format to this file, e.g. junit=gate.xml. Can be repeated.",
    )
    plots: Plots = None
    github_summary: bool = cli_option(
        False, "--github-summary", help="Append to the step summary of GitHub Actions."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmOptions:
    """Whether and how the cases of a failed gate are measured again."""

    PANEL: ClassVar[str] = "Confirm"

    confirm: bool = cli_option(
        False, "--confirm", help="Before a gate fails, measure its cases again on this machine."
    )
    confirm_launches: int = cli_option(
        4, metavar="N", min=3, max=64, help="Launches of each side for --confirm."
    )
    confirm_folder: Path | None = cli_option(
        None,
        metavar="FOLDER",
        help="The folder for the launches of --confirm.",
        show_default="results/<date>-confirm",
    )
    python: str | None = cli_option(
        None,
        metavar="PATH",
        help="With --confirm: the interpreter that trains CAND.",
        show_default="the one that runs this",
    )
    base_python: str | None = cli_option(
        None,
        metavar="PATH",
        help="With --confirm: the interpreter that trains BASE; without it only CAND is "
        "measured again.",
    )

    def require_sense(self, *, has_gates: bool) -> None:
        """Refuse what would do nothing.

        Raises:
            ConfigError: there is no gate to confirm, or no `--confirm` beside its options.
        """
        if self.confirm and not has_gates:
            raise ConfigError(
                "--confirm: there is no gate to confirm",
                hint="set one: --gate 'tokens_per_second > -2%'",
            )
        given = {
            "--confirm-folder": self.confirm_folder,
            "--python": self.python,
            "--base-python": self.base_python,
        }
        alone = next((option for option, value in given.items() if value is not None), None)
        if alone is not None and not self.confirm:
            raise ConfigError(f"{alone}: applies only to --confirm", hint="add --confirm")


def compare(
    *,
    sides: Sides = None,
    more: SideOptions,
    price: PriceTerms,
    how: TermOptions,
    where: TargetOptions,
    again: ConfirmOptions,
) -> None:
    """Compare CAND with BASE: ratios with intervals, verdicts, and gates for CI."""
    from trnbench.cli.output import find_targets, prepare_plots, write_comparison
    from trnbench.cli.reprice import PriceFinder
    from trnbench.compare.compare import compare as compare_sides
    from trnbench.run.baselines import read_sides

    sources = _sort_sources(sides or [], more.base or [], more.cand or [])
    terms = how.terms()
    again.require_sense(has_gates=bool(terms.gates))
    prepare_plots(where.plots)
    targets = find_targets(
        JSON if where.as_json else where.format,
        where.output,
        where.write or [],
        has_summary=where.github_summary,
    )
    finders = [
        PriceFinder.of(price.at(rate), f"--{side}-usd-per-hour")
        for side, rate in (("base", more.base_usd_per_hour), ("cand", more.cand_usd_per_hour))
    ]
    base, cand = map(PriceFinder.reprice_launches, finders, read_sides(*sources))
    base_sources, cand_sources = (list(map(redact, side)) for side in sources)
    comparison = compare_sides(
        base, cand, terms, base_sources=base_sources, cand_sources=cand_sources
    )
    if again.confirm:
        from trnbench.cli.confirm import look_again

        comparison = look_again(again, comparison, (base, cand), finders, terms)
    write_comparison(comparison, targets, where.plots)
    raise_for_gates(comparison, is_strict=how.strict)


def _sort_sources(
    positional: list[str], base: list[str], cand: list[str]
) -> tuple[list[str], list[str]]:
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


def raise_for_gates(comparison: "Comparison", *, is_strict: bool) -> None:
    """Raise the gates' verdict, after everything has been written."""
    from trnbench.reports.comparison import say_evidence

    advice = {"failed": "if the change is intended, use these results as the next baseline"}
    problems = [
        Problem(
            f"gate {gate.gate!r} {gate.state.replace('_', ' ')} on {gate.case}: "
            f"{say_evidence(gate)}",
            gate.advice or advice.get(gate.state, "measure what is missing, and compare again"),
        )
        for gate in comparison.gates
        if gate.state != "passed" and (gate.state != "undecided" or is_strict)
    ]
    if problems:
        raise CheckFailed.of(problems)
