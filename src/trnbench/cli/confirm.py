"""`trnbench compare --confirm`: measure the cases of a failed gate again, and judge it again."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from trnbench.cli.live import make_observer
from trnbench.cli.prepare import look_around
from trnbench.compare.compare import cases_to_confirm, compare, launches_of, with_second_look
from trnbench.compare.gates import Terms
from trnbench.compare.launches import Launch
from trnbench.errors import ConfigError
from trnbench.machine.describe import describe_machine
from trnbench.run.baselines import FolderSource
from trnbench.run.turns import Arm, Label, check_again, measure_again
from trnbench.run.watch import noted_signals
from trnbench.schema.comparison import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """How the cases of a failed gate are measured again."""

    count: int
    """Launches a side."""
    folder: Path | None
    python: str | None
    base_python: str | None
    """None leaves BASE as it was measured."""
    reprice: Sequence[Callable[[Sequence[Launch]], list[Launch]]]
    """For BASE and for CAND: puts launches at the price that was asked for."""

    def look_again(
        self, first: Comparison, base: Sequence[Launch], cand: Sequence[Launch], terms: Terms
    ) -> Comparison:
        """Return the comparison with every gate decided that fresh launches can decide."""
        cases = cases_to_confirm(first)
        if not cases:
            return first
        named = {
            "base": [launches_of(case, base, is_base=True) for case in cases],
            "cand": [launches_of(case, cand, is_base=False) for case in cases],
        }
        labels: tuple[Label, ...] = ("base", "cand") if self.base_python else ("cand",)
        arms = [self._arm(label, named[label]) for label in labels]
        folder = self._empty_folder()
        names = {
            launches[-1].result.case_id: case.name
            for case, launches in zip(cases, named["cand"], strict=True)
        }
        sys.stderr.write(
            f"confirming {len(cases)} {'case' if len(cases) == 1 else 'cases'} with "
            f"{self.count} launches a side in {folder}\n"
        )
        made = self._measure(arms, folder)
        reprice_base, reprice_cand = self.reprice
        fresh_cand = reprice_cand(_load(made["cand"]))
        fresh_base = (
            reprice_base(_load(made["base"]))
            if self.base_python
            else [launch for launches in named["base"] for launch in launches]
        )
        second = compare(fresh_base, fresh_cand, terms)
        return with_second_look(first, second, names)

    def _measure(self, arms: Sequence[Arm], folder: Path) -> dict[Label, list[Path]]:
        with noted_signals() as interruption, make_observer() as observer:
            made = measure_again(
                arms, self.count, folder, observer=observer, interruption=interruption
            )
        if interruption.signal is not None:
            raise typer.Exit(128 + interruption.signal)
        return made

    def _arm(self, label: Label, cases: Sequence[Sequence[Launch]]) -> Arm:
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
        python = (self.base_python if label == "base" else self.python) or sys.executable
        machine, devices = look_around(describe_machine(), python)
        arm = Arm(
            label=label,
            plans=tuple(plans.values()),
            python=python,
            machine=machine,
            devices=devices,
        )
        check_again(arm, frozenset(name for name in names if name is not None))
        return arm

    def _empty_folder(self) -> Path:
        """Return a folder without results: with them a run would measure nothing."""
        if self.folder is None:
            return Path("results") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-confirm"
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ConfigError(
                f"--confirm-folder {self.folder}: is not an empty folder",
                hint="the new launches need an empty folder",
            )
        return self.folder


def _load(runs: Sequence[Path]) -> list[Launch]:
    return [launch for run in runs for launch in FolderSource(path=run).load(frozenset())]
