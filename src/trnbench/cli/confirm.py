"""`trnbench compare --confirm`: measure the cases of a failed gate again, and judge it again."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from trnbench.cli.compare import ConfirmOptions
from trnbench.cli.live import make_observer
from trnbench.cli.prepare import default_folder, look_around
from trnbench.compare.compare import cases_to_confirm, compare, launches_of, with_second_look
from trnbench.compare.gates import Terms
from trnbench.compare.launches import Launch
from trnbench.errors import ConfigError
from trnbench.machine.describe import describe_machine
from trnbench.run.baselines import FolderSource
from trnbench.run.turns import Arm, Label, check_again, measure_again
from trnbench.run.watch import noted_signals
from trnbench.schema.comparison import Comparison

Reprice = Callable[[Sequence[Launch]], list[Launch]]
"""Puts launches at the price that was asked for."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How the cases of a failed gate are measured again."""

    options: ConfirmOptions
    reprice_base: Reprice
    reprice_cand: Reprice

    def look_again(
        self, first: Comparison, base: Sequence[Launch], cand: Sequence[Launch], terms: Terms
    ) -> Comparison:
        """Return the comparison with every gate decided that fresh launches can decide."""
        cases = cases_to_confirm(first)
        if not cases:
            return first
        base_of_cases = [launches_of(case, base, is_base=True) for case in cases]
        cand_of_cases = [launches_of(case, cand, is_base=False) for case in cases]
        python, base_python = self.options.python or sys.executable, self.options.base_python
        arms = [_arm("cand", python, cand_of_cases)]
        if base_python is not None:
            arms.insert(0, _arm("base", base_python, base_of_cases))
        folder = _empty_folder(self.options.confirm_folder)
        sys.stderr.write(
            f"confirming {len(cases)} {'case' if len(cases) == 1 else 'cases'} with "
            f"{self.options.confirm_launches} launches a side in {folder}\n"
        )
        made = self._measure(arms, folder)
        fresh_cand = self.reprice_cand(_load(made["cand"]))
        if base_python is None:
            fresh_base = [launch for launches in base_of_cases for launch in launches]
        else:
            fresh_base = self.reprice_base(_load(made["base"]))
        names = {
            launches[-1].result.case_id: case.name
            for case, launches in zip(cases, cand_of_cases, strict=True)
        }
        return with_second_look(first, compare(fresh_base, fresh_cand, terms), names)

    def _measure(self, arms: Sequence[Arm], folder: Path) -> dict[Label, list[Path]]:
        with noted_signals() as interruption, make_observer() as observer:
            made = measure_again(
                arms,
                self.options.confirm_launches,
                folder,
                observer=observer,
                interruption=interruption,
            )
        if interruption.signal is not None:
            raise typer.Exit(128 + interruption.signal)
        return made


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
    machine, devices = look_around(describe_machine(), python)
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
