"""Measuring again: whose turn it is, and what is refused before anything is launched."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.builders import CPU, make_machine, make_plan, make_result
from trnbench.cli.live import LineObserver
from trnbench.errors import ConfigError, RunError, UnavailableError
from trnbench.machine.describe import Devices
from trnbench.protocol.records import FoundDevice
from trnbench.run.ending import EndedCase, Ending
from trnbench.run.turns import Arm, check_again, measure_again
from trnbench.run.watch import Interruption
from trnbench.schema.plan import Plan

DEVICES = Devices((CPU,), {"torch": "2.13.0"})


class Sessions:
    """Stands for `Session`: notes what it was asked to measure, and says how that ended."""

    def __init__(self, endings: Iterator[Ending] | None = None, stops_after: int = 99) -> None:
        self.folders: list[str] = []
        self._endings = endings
        self._stops_after = stops_after

    def __call__(self, plans: Sequence[Plan], **details: Any) -> "Sessions":
        self.folders.append(details["folder"].name)
        if len(self.folders) == self._stops_after:
            details["interruption"].signal = 2
        return self

    def run(self) -> Ending:
        if self._endings is not None:
            return next(self._endings)
        return Ending(cases=[EndedCase.of(make_result())], signal=None, storage_full=None)


HERE = frozenset({"AMD EPYC"})


def again(label: str = "cand", plan: Plan | None = None, **changes: Any) -> Arm:
    fields: dict[str, Any] = {
        "label": label, "plans": (plan or make_plan(),), "python": "python", "devices": DEVICES,
        "machine": make_machine(),
    }  # fmt: skip
    return Arm(**(fields | changes))


def measure(arms: Sequence[Arm], sessions: Sessions, tmp_path: Path, count: int = 4) -> Any:
    return measure_again(
        arms,
        count,
        tmp_path,
        observer=LineObserver(io.StringIO()),
        interruption=Interruption(),
        open_session=sessions,  # type: ignore[arg-type]
    )


def test_two_sides_take_turns_that_a_drift_cannot_favour(tmp_path: Path) -> None:
    both, one = Sessions(), Sessions()
    measure([again("base"), again("cand")], both, tmp_path, count=4)
    turns = [folder.partition("-")[0] for folder in both.folders]
    assert turns == ["base", "cand", "cand", "base", "base", "cand", "cand", "base"]
    measure([again("cand")], one, tmp_path, count=3)
    assert one.folders == ["cand-1", "cand-2", "cand-3"]


def test_every_launch_has_a_folder_of_its_own(tmp_path: Path) -> None:
    sessions = Sessions()
    made = measure([again("base"), again("cand")], sessions, tmp_path, count=2)
    assert sessions.folders == ["base-1", "cand-1", "cand-2", "base-2"]
    assert [path.name for path in made["base"]] == ["base-1", "base-2"]
    assert [path.name for path in made["cand"]] == ["cand-1", "cand-2"]


def test_an_interruption_ends_it(tmp_path: Path) -> None:
    sessions = Sessions(stops_after=2)
    measure([again()], sessions, tmp_path)
    assert len(sessions.folders) == 2


def test_a_full_disk_ends_it_with_an_error(tmp_path: Path) -> None:
    full = iter([Ending(cases=[], signal=None, storage_full="no space left")])
    with pytest.raises(RunError, match="no space left; nothing was confirmed"):
        measure([again()], Sessions(full), tmp_path)


def test_what_is_here_and_of_this_version_can_be_measured_again() -> None:
    check_again(again(), HERE)
    check_again(again(), frozenset())


def test_a_plan_of_another_version_is_refused() -> None:
    plan = make_plan()
    old = plan.model_copy(update={"order": dataclasses.replace(plan.order, wire_version=1)})
    with pytest.raises(ConfigError, match="whose worker this version cannot drive"):
        check_again(again(plan=old), HERE)


def test_a_device_that_is_not_here_is_refused() -> None:
    plan = make_plan()
    there = plan.model_copy(update={"order": dataclasses.replace(plan.order, backend="cuda")})
    with pytest.raises(UnavailableError, match="'cuda:0' is not here"):
        check_again(again(plan=there), HERE)


def test_another_processor_is_refused() -> None:
    with pytest.raises(UnavailableError, match="was measured on Xeon, and here is AMD EPYC"):
        check_again(again(), frozenset({"Xeon"}))


def test_another_chip_is_refused_and_the_same_by_another_name_is_not() -> None:
    plan = make_plan()
    planned = plan.model_copy(
        update={
            "order": dataclasses.replace(plan.order, backend="cuda"),
            "device": plan.device.model_copy(update={"accelerator": "h100-sxm"}),
        }
    )

    def here(name: str) -> Arm:
        found = FoundDevice(backend="cuda", device_name=name, device_count=1, proven=False)
        return again(plan=planned, devices=Devices((found,), {}))

    names = frozenset({"NVIDIA H100"})

    with pytest.raises(UnavailableError, match="was measured on h100-sxm"):
        check_again(here("NVIDIA H200"), names)
    check_again(here("NVIDIA H100 80GB HBM3"), names)
