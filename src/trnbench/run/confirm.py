"""Measuring again what a gate did not see pass, before it fails a build.

CAND's cases are measured as their stored plans say. Where BASE's software is still here, BASE is
measured between them, in the order A B B A, so that a drift of the machine hits both sides alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trnbench.catalog.accelerators import accelerator_of_device
from trnbench.machine.describe import Devices, Machine
from trnbench.run.case import Observer
from trnbench.run.questions import require_device
from trnbench.run.session import Ending, Session
from trnbench.run.watch import Interruption
from trnbench.schema.errors import ConfigError, RunError, UnavailableError
from trnbench.schema.plan import Plan
from trnbench.wire import WIRE_VERSION

Label = Literal["base", "cand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """One side to be measured again."""

    label: Label
    plans: tuple[Plan, ...]
    python: str
    machine: Machine
    devices: Devices
    device_names: frozenset[str]
    """What the devices were called that its launches ran on."""


@dataclass(slots=True, kw_only=True)
class Measured:
    """Folders of the fresh launches."""

    base: list[Path] = field(default_factory=list)
    cand: list[Path] = field(default_factory=list)


def check_again(side: Again) -> None:
    """Refuse, before anything is launched, what would not be the same measurement.

    Raises:
        ConfigError: a plan was made by another version of the worker's protocol.
        UnavailableError: its device is not here, or is another one.
    """
    for plan in side.plans:
        if plan.order.wire_version != WIRE_VERSION:
            raise ConfigError(
                f"--confirm: {plan.case_id} was planned by trnbench {plan.trnbench_version}, "
                "whose worker this version cannot drive",
                hint="measure both sides again with this version",
            )
        require_device(plan.order.backend, side.devices)
        here = next(d for d in side.devices.found if d.backend == plan.order.backend)
        if _is_another(plan, here.device_name, side.device_names):
            measured_on = plan.device.accelerator or ", ".join(sorted(side.device_names))
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


def order_of(count: int, labels: Sequence[Label]) -> list[Label]:
    """Return whose turn it is, `count` times each: A B B A A B B A … for two sides."""
    turns: list[Label] = []
    for number in range(count):
        turns += labels if number % 2 == 0 else tuple(reversed(labels))
    return turns


def measure_again(
    sides: Sequence[Again],
    *,
    count: int,
    folder: Path,
    observer: Observer,
    interruption: Interruption,
    open_session: Callable[..., Session] = Session,
) -> Measured:
    """Launch every case of every side `count` times.

    Args:
        sides: CAND, and BASE before it where it is measured again too.
        count: launches a side.
        folder: where the runs go, one folder a launch.
        observer: told of all that happens.
        interruption: looked at between events.
        open_session: what makes a session.

    Raises:
        RunError: the disk is full, or the folder is in use.
        ConfigError: the folder cannot be written.
    """
    by_label = {side.label: side for side in sides}
    made = Measured()
    for label in order_of(count, [side.label for side in sides]):
        if interruption.signal is not None:
            break
        runs = made.base if label == "base" else made.cand
        side, path = by_label[label], folder / f"{label}-{len(runs) + 1}"
        ending: Ending = open_session(
            side.plans,
            folder=path,
            python=side.python,
            machine=side.machine,
            devices=side.devices,
            observer=observer,
            interruption=interruption,
        ).run()
        if ending.storage_full is not None:
            raise RunError(
                f"{path}: {ending.storage_full}; nothing was confirmed",
                hint="free some disk and compare again",
            )
        runs.append(path)
    return made
