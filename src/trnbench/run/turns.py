"""Arms measured in turns on one machine: A B B A A B B A, each launch a fresh process.

A machine's drift slows both arms alike. `run --ab` measures two configs so, each arm a run in a
folder of its own, and continues an interrupted experiment. `compare --confirm` measures again what
did not pass a CI gate, by the stored plans, each launch in a folder of its own; where BASE's
software is gone, CAND is the only arm.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trnbench.catalog.accelerators import accelerator_of_device
from trnbench.config.device import DeviceConfig
from trnbench.errors import ConfigError, RunError, UnavailableError
from trnbench.machine.describe import Devices, Machine
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.run.case import Observer
from trnbench.run.ending import Ending
from trnbench.run.nodes import Nodes
from trnbench.run.questions import require_device
from trnbench.run.session import Session
from trnbench.run.stopping import Spending
from trnbench.run.watch import Interruption
from trnbench.schema.plan import Plan

Label = Literal["base", "cand"]

FOLDERS: dict[Label, Literal["a", "b"]] = {"base": "a", "cand": "b"}
"""Of the arms of `run --ab`, inside the experiment's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the two: A, the baseline, or B, the candidate."""

    label: Label
    plans: tuple[Plan, ...]
    python: str
    machine: Machine
    devices: Devices
    nodes: Nodes | None = None

    def measure(
        self,
        folder: Path,
        most_launches: int | None,
        observer: Observer,
        interruption: Interruption,
        open_session: Callable[..., Session],
        spending: Spending | None = None,
    ) -> Ending:
        """Measure its plans into a folder, up to `most_launches` of each in all sessions there."""
        return open_session(
            self.plans,
            folder=folder,
            python=self.python,
            machine=self.machine,
            devices=self.devices,
            observer=observer,
            interruption=interruption,
            most_launches=most_launches,
            spending=spending,
            nodes=self.nodes,
        ).run()


def turns(arms: Sequence[Arm], count: int, interruption: Interruption) -> Iterator[tuple[Arm, int]]:
    """Yield whose turn it is, and the number of that arm's turn from 1, until a signal comes."""
    for number in range(count):
        for arm in arms if number % 2 == 0 else reversed(arms):
            if interruption.signal is not None:
                return
            yield arm, number + 1


def interleave(
    arms: Sequence[Arm],
    folder: Path,
    *,
    observer: Observer,
    interruption: Interruption,
    open_session: Callable[..., Session] = Session,
    spending: Spending | None = None,
) -> dict[Label, Ending]:
    """Launch every case of both arms in turns, as often as their plans say.

    It ends with the first launch that failed, whose figure must not be used, or that `spending`
    does not pay for: the arms cannot be compared then, and further launches would only cost money.

    Returns:
        How the last session of each arm that was reached ended, the latest last.
    """
    endings: dict[Label, Ending] = {}
    launches = max(plan.measure.launches for arm in arms for plan in arm.plans)
    for arm, turn in turns(arms, launches, interruption):
        place = folder / FOLDERS[arm.label]
        ending = arm.measure(place, turn, observer, interruption, open_session, spending)
        endings.pop(arm.label, None)
        endings[arm.label] = ending
        if ending.failed or ending.unpaid or ending.storage_full is not None:
            break
    return endings


def measure_again(
    arms: Sequence[Arm],
    count: int,
    folder: Path,
    *,
    observer: Observer,
    interruption: Interruption,
    open_session: Callable[..., Session] = Session,
) -> dict[Label, list[Path]]:
    """Launch every case of every arm `count` times; return the folders of each arm's launches."""
    made: dict[Label, list[Path]] = {"base": [], "cand": []}
    for arm, turn in turns(arms, count, interruption):
        place = folder / f"{arm.label}-{turn}"
        ending = arm.measure(place, None, observer, interruption, open_session)
        if ending.storage_full is not None:
            raise RunError(
                f"{place}: {ending.storage_full}; nothing was confirmed",
                hint="free some disk and compare again",
            )
        made[arm.label].append(place)
    return made


def check_again(arm: Arm, device_names: frozenset[str]) -> None:
    """Refuse, before anything is launched, what would be another measurement.

    `device_names` are of the devices that the arm's launches ran on.

    Raises:
        ConfigError: a plan was made by another version of the worker's protocol.
        UnavailableError: its device is not here, or is another one.
    """
    for plan in arm.plans:
        if plan.order.wire_version != PROTOCOL_VERSION:
            raise ConfigError(
                f"--confirm: {plan.case_id} was planned by trnbench {plan.trnbench_version}, "
                "whose worker this version cannot drive",
                hint="measure both sides again with this version",
            )
        asked = DeviceConfig(
            kind=plan.order.backend,
            first=plan.order.device_index or 0,
            count=plan.device.devices_used // plan.parallel.nodes,
        )
        here = require_device(asked, arm.devices)
        if _is_another(plan, here.device_name, device_names):
            measured_on = plan.device.accelerator or ", ".join(sorted(device_names))
            raise UnavailableError(
                f"--confirm: {plan.case_id} was measured on {measured_on}, and here is "
                f"{here.device_name}",
                hint="confirm on the kind of machine that measured it",
            )


def _is_another(plan: Plan, here: str, measured_on: frozenset[str]) -> bool:
    """Tell whether a device is of another kind: another chip, or another processor."""
    if plan.device.accelerator is not None:
        chip = accelerator_of_device(here)
        return chip is not None and chip.name != plan.device.accelerator
    return bool(measured_on) and here not in measured_on
