"""`trnbench run`: measure suites, or with `--ab` two configs in turns; print the results."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import typer

from trnbench.cli import options, price_options
from trnbench.cli.gates import GateOptions
from trnbench.cli.groups import cli_option
from trnbench.cli.nodes import enter_allocation, joined_nodes
from trnbench.cli.prepare import (
    Prepared,
    default_folder,
    expand,
    plan_only,
    prepare,
    read_cases,
    read_suites,
    require_sizes,
    settle_pass_sizes,
)
from trnbench.cli.sweeps import require_yes
from trnbench.errors import ConfigError

if TYPE_CHECKING:
    from trnbench.compare.launches import Launch
    from trnbench.run.ending import Ending
    from trnbench.run.stopping import Spending
    from trnbench.schema.plan import Plan
    from trnbench.schema.result import Result

EXAMPLES = (
    "trnbench run",
    "trnbench run llama3.2-1b --dry-run",
    "trnbench run mine.yaml --set workload.micro_batch_size=2 -o results/mine",
)
"""For `--help`."""

LAUNCHES_KEY = "measure.launches"


class Retry(StrEnum):
    """Cases that are measured again after they failed."""

    SOME = "some"
    ALL = "all"
    NONE = "none"


DEFAULT_AB_LAUNCHES = 6
"""Of each arm; even, so that A B B A is complete. Source: docs/metrics.md, "Comparison"."""


QUICK = """\
quick suite: trains two tiny models on the best device here, in under two minutes. It shows that
      this machine trains correctly and roughly how fast; it ranks no chip. For a real model:
      `trnbench run llama3.2-1b --dry-run`, then without --dry-run, or `trnbench init`.
"""
"""What is said where no config is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What is launched, and how often."""

    PANEL: ClassVar[str] = "Run"

    launches: int | None = cli_option(
        None,
        metavar="N",
        min=1,
        max=100,
        help="Fresh processes for each case, as measure.launches.",
        show_default="the config's; 6 with --ab",
    )
    ab: tuple[str, str] | None = cli_option(
        None,
        metavar="A B",
        help="Measure two configs in turns, each launch in a fresh process, and compare B with A.",
        show_default=False,
    )
    max_usd: float | None = cli_option(
        None,
        metavar="USD",
        min=0.01,
        help="The most that all cases together may cost, by the second; a worker is ended there.",
        show_default="no limit but each case's measure.max_usd",
    )
    max_cases: int | None = cli_option(
        None,
        metavar="N",
        min=1,
        help="Measure this many cases of each sweep at most, the first ones in its order: of more "
        "than 100 they are spread over all keys. With a larger N later, the rest.",
        show_default="all",
    )
    yes: bool = cli_option(
        False,
        "--yes",
        help="Measure more than 1,000 cases. Without it, `run` says what they could take and cost, "
        "and measures nothing.",
    )
    retry: Retry = cli_option(
        Retry.SOME,
        metavar="WHICH",
        help="Which cases are measured again that failed in the folder before, after all others: "
        "some, but those whose failure is an answer, as out_of_memory is; all; none.",
    )
    dry_run: bool = cli_option(
        False,
        "--dry-run",
        help="Print the plan and its predictions; train nothing. With --strict, exit with code 3 "
        "if a plan cannot run on this machine.",
    )


def run(
    *,
    configs: options.Configs = None,
    output: options.OutputFolder = None,
    case: options.CaseOptions,
    price: price_options.PriceChoice,
    how: RunOptions,
    gate: GateOptions,
    form: options.FormatChoice,
) -> None:
    """Measure each case: train real steps, and print the results as a table."""
    place = enter_allocation(is_of_one_node=how.dry_run)
    overrides = case.overrides({**price.keys(), LAUNCHES_KEY: how.launches})
    if how.ab is None:
        if gate != GateOptions(strict=gate.strict and how.dry_run):
            raise ConfigError(
                "run: --gate, --allow, --strict and --margin compare two sides; this run has one",
                hint="add `--ab A.yaml B.yaml`, or use `trnbench compare` on results",
            )
        suites = read_suites(configs, overrides)
        if not how.yes and not how.dry_run:
            require_yes(suites, how.max_cases, case.python)
        cases = expand(suites, how.max_cases)
        if not configs and place.is_first:
            sys.stderr.write(QUICK)
        if how.dry_run:
            plan_only(cases, case.python, form, nodes=place.nodes, is_strict=gate.strict)
            return
        with joined_nodes(place, case.python) as nodes:
            _measure(prepare(cases, case.python, nodes), how, output, form)
        return
    if any(name.startswith("-") for name in how.ab):
        raise ConfigError(
            f"run --ab {' '.join(how.ab)}: takes two configs, and one of these is an option",
            hint="write `trnbench run --ab A.yaml B.yaml --dry-run`",
        )
    if configs:
        raise ConfigError(
            f"run --ab takes exactly two configs; it was also given {' '.join(configs)}",
            hint="write `trnbench run --ab A.yaml B.yaml`",
        )
    if how.retry is not Retry.SOME:
        raise ConfigError(
            f"--retry {how.retry}: does not go with --ab, which makes a failed launch again",
            hint="leave --retry out",
        )
    gate.terms()  # a typo is an error before anything is measured
    overrides = {LAUNCHES_KEY: str(DEFAULT_AB_LAUNCHES), **overrides}
    first, second = (read_cases([config], overrides, how.max_cases) for config in how.ab)
    both = [*first, *second]
    if how.dry_run:
        plan_only(both, case.python, form, nodes=place.nodes, is_strict=gate.strict)
        return
    with joined_nodes(place, case.python) as nodes:
        prepared = prepare(both, case.python, nodes)
        arms = prepared.plans[: len(first)], prepared.plans[len(first) :]
        _measure_ab(prepared, arms, how, output, gate, form)


# --- one run --------------------------------------------------------------------------------------


def _measure(
    prepared: Prepared, how: RunOptions, output: Path | None, form: options.FormatChoice
) -> None:
    from trnbench.cli.live import make_observer
    from trnbench.cli.output import show
    from trnbench.reports.results import REPORT
    from trnbench.run.session import Session
    from trnbench.run.watch import noted_signals

    folder = output or default_folder(prepared.plans[0].suite)
    spending = spending_of(how.max_usd, prepared.plans)
    with (
        noted_signals(prepared.nodes) as interruption,
        make_observer(most_usd=how.max_usd) as observer,
    ):
        plans = settle_pass_sizes(
            prepared, folder, observer=observer, interruption=interruption, spending=spending
        )
        ending = Session(
            plans,
            folder=folder,
            python=prepared.python,
            machine=prepared.machine,
            devices=prepared.devices,
            observer=observer,
            interruption=interruption,
            spending=spending,
            retry=how.retry.value,
            nodes=prepared.nodes,
        ).run()
    results = ending.load_results(folder)
    if results or form.name != options.TERMINAL:
        show(REPORT, results, form.name, kept_in=folder)
    if results and ending.signal is None and form.name == options.TERMINAL:
        sys.stderr.write(say_next(results, folder))
    end_with([ending], folder)


def spending_of(max_usd: float | None, plans: "Sequence[Plan]") -> "Spending":
    """Return the limit of all launches, which each case needs a price for."""
    from trnbench.run.stopping import Spending

    unpriced = next((plan for plan in plans if plan.price is None), None)
    if max_usd is not None and unpriced is not None:
        raise ConfigError(
            f"--max-usd {max_usd:g} cannot be kept without a price: {unpriced.price_reason}",
            hint="set your own rate by --usd-per-hour",
        )
    return Spending(max_usd)


def say_next(results: "Sequence[Result]", folder: Path) -> str:
    """Return three commands that follow a run, or one where it has no figure, and what for."""
    from trnbench.cli.output import say_steps
    from trnbench.run.configs import DEFAULT_CONFIG

    run = shlex.quote(str(folder))
    if not any(result.standing in ("sound", "doubtful") for result in results):
        return "next: trnbench doctor  what disturbs this machine, and how to mend it\n"
    steps = [
        (f"trnbench cost {run} --tokens 1T", "what a whole training costs at this speed")
        if all(result.price for result in results)
        else (f"trnbench report {run} --usd-per-hour RATE", "the cost at your own rate"),
        ("trnbench doctor", "what disturbs this machine, and how to mend it")
        if any(result.standing != "sound" for result in results)
        else (f"trnbench report {run} --format html -o report.html", "a page to keep and to show"),
        ("trnbench init", "write a config of your own for this machine")
        if all(result.suite == DEFAULT_CONFIG for result in results)
        else (f"trnbench compare {run} OTHER", "what changed against another run"),
    ]
    return say_steps(steps)


def end_with(endings: "Sequence[Ending]", folder: Path) -> None:
    """Print where the results are, and exit as the worst session ended."""
    from trnbench.run.ending import raise_for

    sys.stderr.write(f"results: {folder}\n")
    for ending in endings:
        if ending.signal is not None:
            if not any(each.cases for each in endings):
                sys.stderr.write(
                    "trnbench: stopped before a case had begun: nothing was measured\n"
                    f"          run the same command with `-o {folder}` to measure it\n"
                )
            raise typer.Exit(128 + ending.signal)
        raise_for(ending, folder)


# --- two arms in turns ----------------------------------------------------------------------------


def _measure_ab(
    prepared: Prepared,
    arms: "tuple[Sequence[Plan], Sequence[Plan]]",
    how: RunOptions,
    output: Path | None,
    gate: GateOptions,
    form: options.FormatChoice,
) -> None:
    from dataclasses import replace

    from trnbench.cli.compare import raise_for_gates
    from trnbench.cli.output import show
    from trnbench.compare.compare import compare
    from trnbench.compare.matching import require_counterparts
    from trnbench.redact import redact
    from trnbench.reports.comparison import REPORT

    terms = gate.terms()
    require_counterparts(*arms, terms.allowed)
    folder = output or default_folder(f"{arms[0][0].suite} ab")
    base, cand, endings = measure_in_turns(prepared, arms, folder, how.max_usd)
    if not base or not cand:
        end_with(endings, folder)
        return
    is_paired = len(base) == len(cand)  # an interrupted experiment may not be
    base_sources, cand_sources = ([redact(name)] for name in how.ab or ())
    made = compare(
        base,
        cand,
        replace(terms, is_paired=is_paired),
        base_sources=base_sources,
        cand_sources=cand_sources,
    )
    show(REPORT, made, form.name)
    end_with(endings, folder)
    raise_for_gates(made, is_strict=gate.strict)


def measure_in_turns(
    prepared: Prepared,
    plans: "tuple[Sequence[Plan], Sequence[Plan]]",
    folder: Path,
    max_usd: float | None = None,
) -> "tuple[list[Launch], list[Launch], list[Ending]]":
    """Launch both arms in turns; return the launches of each arm and the sessions' endings."""
    from trnbench.cli.live import make_observer
    from trnbench.run.baselines import FolderSource
    from trnbench.run.turns import FOLDERS, Arm, Label, interleave
    from trnbench.run.watch import noted_signals

    require_sizes([*plans[0], *plans[1]])
    labels: tuple[Label, Label] = ("base", "cand")
    arms = [
        Arm(
            label=label,
            plans=tuple(own),
            python=prepared.python,
            machine=prepared.machine,
            devices=prepared.devices,
            nodes=prepared.nodes,
        )
        for label, own in zip(labels, plans, strict=True)
    ]
    spending = spending_of(max_usd, prepared.plans)
    count = sum(plan.measure.launches for arm in arms for plan in arm.plans)
    with (
        noted_signals(prepared.nodes) as interruption,
        make_observer(most_usd=max_usd, launches=count) as observer,
    ):
        endings = interleave(
            arms, folder, observer=observer, interruption=interruption, spending=spending
        )
    base, cand = (
        FolderSource(path=folder / FOLDERS[label]).load(frozenset())
        if label in endings and endings[label].cases
        else []
        for label in labels
    )
    return base, cand, list(endings.values())
