"""`trnbench run --ab`: two configs in turns on one machine, and how B compares with A."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from trnbench.cli.preparing import Prepared, default_folder, plan_only, prepare, read_cases
from trnbench.cli.terms import raise_for

if TYPE_CHECKING:
    from trnbench.compare.gates import Terms
    from trnbench.compare.launches import Launch
    from trnbench.run.session import Ending
    from trnbench.schema.plan import Plan

DEFAULT_LAUNCHES = 6
"""Of each arm; even, so that A B B A comes out even. Source: docs/metrics.md, "Comparison"."""

LAUNCHES_KEY = "measure.launches"


def run_ab(
    configs: tuple[str, str],
    terms: "Terms",
    output: Path | None,
    overrides: Mapping[str, str],
    python: str,
    *,
    is_strict: bool,
    is_dry: bool,
    is_json: bool,
) -> None:
    """Measure two configs in turns and print the comparison.

    Raises:
        ConfigError: a config is wrong, or the two are not of the same work.
        UnavailableError: a device or a library is not here.
        RunError: a case failed, or the disk is full; what was measured is kept.
        CheckFailed: a gate said no.
    """
    from trnbench.cli.screen import page_of_stdout
    from trnbench.compare.compare import compare
    from trnbench.compare.matching import require_counterparts
    from trnbench.redact import scrub
    from trnbench.reports.comparison import COMPARISON_REPORTS

    overrides = {LAUNCHES_KEY: str(DEFAULT_LAUNCHES), **overrides}
    first, second = (read_cases([config], overrides) for config in configs)
    if is_dry:
        plan_only([*first, *second], python, is_json=is_json)
        return
    prepared = prepare([*first, *second], python)
    a, b = prepared.plans[: len(first)], prepared.plans[len(first) :]
    require_counterparts(a, b, terms.allowed)
    folder = output or default_folder(f"{a[0].suite} ab", datetime.now(UTC))
    base, cand, endings = measure_in_turns((a, b), prepared, folder, python)
    if base and cand:
        made = compare(
            base,
            cand,
            replace(terms, is_paired=_is_even(base, cand)),
            base_sources=[scrub(configs[0])],
            cand_sources=[scrub(configs[1])],
        )
        render = COMPARISON_REPORTS["json" if is_json else "terminal"]
        sys.stdout.write(render(made, page_of_stdout()))
    end_with(endings, folder)
    if base and cand:
        raise_for(made, is_strict=is_strict)


def measure_in_turns(
    plans: "tuple[Sequence[Plan], Sequence[Plan]]", prepared: Prepared, folder: Path, python: str
) -> "tuple[list[Launch], list[Launch], list[Ending]]":
    """Launch both arms in turns; return the launches of each, and how their sessions ended.

    Raises:
        ConfigError: a folder cannot be written.
        RunError: another process measures into it, or the disk is full.
    """
    from trnbench.cli.live import make_observer
    from trnbench.run.baselines import FolderSource
    from trnbench.run.interleave import arms_of, interleave
    from trnbench.run.interruption import noted_signals

    arms = arms_of(*plans, folder)
    with noted_signals() as interruption, make_observer() as observer:
        endings = interleave(
            arms,
            python=python,
            machine=prepared.machine,
            devices=prepared.devices,
            observer=observer,
            interruption=interruption,
        )
    base, cand = (
        FolderSource(path=arm.folder).load(frozenset())
        if arm.label in endings and endings[arm.label].results
        else []
        for arm in arms
    )
    return base, cand, list(endings.values())


def end_with(endings: "Sequence[Ending]", folder: Path) -> None:
    """Say where results are, and leave as the worst session ended.

    Raises:
        typer.Exit: a signal ended it.
        RunError: a case failed, or the disk is full.
    """
    from trnbench.run.session import raise_for as raise_for_ending

    sys.stderr.write(f"results: {folder}\n")
    for ending in endings:
        if ending.signal is not None:
            raise typer.Exit(128 + ending.signal)
        raise_for_ending(ending, folder)


def _is_even(base: "Sequence[Launch]", cand: "Sequence[Launch]") -> bool:
    """Tell whether every launch has its neighbour: an experiment that was cut off may not."""
    return len(base) == len(cand)
