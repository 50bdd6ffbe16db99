"""`trnbench compare --confirm`: measure the cases of a failed gate again, and judge it again."""

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from trnbench.cli.compare import ConfirmOptions
from trnbench.cli.live import make_observer
from trnbench.cli.prepare import default_folder
from trnbench.cli.reprice import PriceFinder
from trnbench.compare.compare import cases_to_confirm, compare, launches_of, with_second_look
from trnbench.compare.gates import Terms
from trnbench.compare.launches import Launch
from trnbench.errors import ConfigError
from trnbench.reports.texts import plural
from trnbench.run.baselines import FolderSource
from trnbench.run.looking import look_around
from trnbench.run.turns import Arm, Label, check_again, measure_again
from trnbench.run.watch import noted_signals
from trnbench.schema.comparison import Comparison


def look_again(
    options: ConfirmOptions,
    first: Comparison,
    sides: Sequence[Sequence[Launch]],
    finders: Sequence[PriceFinder],
    terms: Terms,
) -> Comparison:
    """Return the comparison with every gate decided that fresh launches can decide.

    `sides` and `finders` are BASE's and CAND's: the first launches, and what prices new ones.
    """
    cases = cases_to_confirm(first)
    if not cases:
        return first
    base_of_cases, cand_of_cases = (
        [launches_of(case, side, is_base=is_base) for case in cases]
        for side, is_base in zip(sides, (True, False), strict=True)
    )
    arms = [_arm("cand", options.python or sys.executable, cand_of_cases)]
    if options.base_python is not None:
        arms.insert(0, _arm("base", options.base_python, base_of_cases))
    folder = _empty_folder(options.confirm_folder)
    count = options.confirm_launches
    sys.stderr.write(
        f"confirming {plural(len(cases), 'case')} with {count} launches a side in {folder}\n"
    )
    launches = count * sum(len(arm.plans) for arm in arms)
    with noted_signals() as interruption, make_observer(launches=launches) as observer:
        made = measure_again(arms, count, folder, observer=observer, interruption=interruption)
    if interruption.signal is not None:
        raise typer.Exit(128 + interruption.signal)
    base_finder, cand_finder = finders
    fresh_cand = cand_finder.reprice_launches(_load(made["cand"]))
    if options.base_python is None:
        fresh_base = [launch for launches in base_of_cases for launch in launches]
    else:
        fresh_base = base_finder.reprice_launches(_load(made["base"]))
    names = {
        launches[-1].result.case_id: case.name
        for case, launches in zip(cases, cand_of_cases, strict=True)
    }
    return with_second_look(first, compare(fresh_base, fresh_cand, terms), names)


def _arm(label: Label, python: str, cases: Sequence[Sequence[Launch]]) -> Arm:
    """Return what measures a side again; refuse it if something for that is missing."""
    plans, names = {}, set()
    for launches in cases:
        plan = launches[-1].plan
        if plan is None:
            raise ConfigError(
                f"--confirm: the plan of {launches[-1].result.case_id} is missing",
                hint="keep plan.json beside result.json, or leave --confirm out",
            )
        plans[plan.case_id] = plan
        names |= {launch.result.device_name for launch in launches}
    machine, devices = look_around(python)
    arm = Arm(
        label=label, plans=tuple(plans.values()), python=python, machine=machine, devices=devices
    )
    check_again(arm, frozenset(name for name in names if name is not None))
    return arm


def _empty_folder(named: Path | None) -> Path:
    """Return a folder without results: with them a run would measure nothing."""
    if named is None:
        return default_folder("confirm")
    if named.exists() and (not named.is_dir() or any(named.iterdir())):
        raise ConfigError(
            f"--confirm-folder {named}: is not an empty folder",
            hint="the new launches need an empty folder",
        )
    return named


def _load(runs: Sequence[Path]) -> list[Launch]:
    return [launch for run in runs for launch in FolderSource(path=run).load(frozenset())]
