"""Two arms on one machine, launch by launch in turns: A B B A A B B A, each a fresh process.

A machine that drifts hits both arms alike. Each arm is an ordinary run in a folder of its own, so
whatever reads runs reads arms; an interrupted experiment is taken up where it was left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trnbench.machine.describe import Devices, Machine
from trnbench.run.case import Observer
from trnbench.run.confirm import Label, order_of
from trnbench.run.session import Ending, Session
from trnbench.run.watch import Interruption
from trnbench.schema.plan import Plan

FOLDERS: dict[Label, Literal["a", "b"]] = {"base": "a", "cand": "b"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the two: A, which is compared with, or B, which is compared."""

    label: Label
    plans: tuple[Plan, ...]
    folder: Path


def arms_of(a: Sequence[Plan], b: Sequence[Plan], folder: Path) -> tuple[Arm, Arm]:
    """Return both arms, with their folders inside the experiment's."""
    return (
        Arm(label="base", plans=tuple(a), folder=folder / FOLDERS["base"]),
        Arm(label="cand", plans=tuple(b), folder=folder / FOLDERS["cand"]),
    )


def interleave(
    arms: tuple[Arm, Arm],
    *,
    python: str,
    machine: Machine,
    devices: Devices,
    observer: Observer,
    interruption: Interruption,
    open_session: Callable[..., Session] = Session,
) -> dict[Label, Ending]:
    """Launch every case of both arms in turns, as often as their plans say.

    It ends early with the first launch that failed, or that gave no figure that may be used: the
    arms cannot be compared then, and every further launch would be paid for in vain.

    Args:
        arms: A and B.
        python: the interpreter that trains.
        machine: what is written down of this machine.
        devices: what the interpreter found.
        observer: told of all that happens.
        interruption: looked at between events.
        open_session: what makes a session.

    Returns:
        How the last session of each arm that was reached ended; the one that ended it all is last.

    Raises:
        ConfigError: a folder cannot be written.
        RunError: another process measures into it, or the disk is full before the first case.
    """
    by_label = {arm.label: arm for arm in arms}
    made: dict[Label, int] = dict.fromkeys(by_label, 0)
    endings: dict[Label, Ending] = {}
    launches = max(plan.measure.launches for arm in arms for plan in arm.plans)
    for label in order_of(launches, [arm.label for arm in arms]):
        if interruption.signal is not None:
            break
        arm = by_label[label]
        made[label] += 1
        endings.pop(label, None)
        endings[label] = ending = open_session(
            arm.plans,
            folder=arm.folder,
            python=python,
            machine=machine,
            devices=devices,
            observer=observer,
            interruption=interruption,
            most_launches=made[label],
        ).run()
        if ending.failed or ending.storage_full is not None:
            break
    return endings
