"""What the training interpreter can train on, and whether it is what was asked for."""

import contextlib
import time
from collections.abc import Callable

from trnbench.run.environment import environment_of_probe
from trnbench.run.launch import Ended, Line, Overflow, Worker, worker_command
from trnbench.run.machine import Devices
from trnbench.run.scrub import scrub
from trnbench.schema.errors import UnavailableError
from trnbench.wire import (
    CHILD_RECORDS,
    WIRE_VERSION,
    Failed,
    FoundDevice,
    Inventory,
    Probe,
    WireError,
    decode,
)

Clock = Callable[[], float]

INVENTORY_SECONDS = 20.0
PROBE_SECONDS = 120.0
"""An accelerator's runtime may take half a minute to come up; a probe longer than this hangs."""

PYTHON_HINT = "name an interpreter that has torch with `--python PATH`"


def take_inventory(python: str, clock: Clock = time.perf_counter) -> Inventory:
    """Read what the training interpreter has installed: nothing is imported, no device touched.

    Raises:
        ConfigError: the interpreter cannot be started.
        UnavailableError: it hangs, dies, or is no Python that this version can use.
    """
    worker = Worker(worker_command(python, "inventory"))
    record = _first_answer(python, worker, INVENTORY_SECONDS, clock)
    if isinstance(record, Inventory):
        return record
    raise _refusal(record)


def probe_devices(python: str, clock: Clock = time.perf_counter) -> Devices:
    """Ask the training interpreter which devices it can train on.

    Raises:
        ConfigError: the interpreter cannot be started.
        UnavailableError: it has no torch, hangs, dies, or is no Python.
    """
    inventory = take_inventory(python, clock)
    worker = Worker(worker_command(python, "probe"), environment_of_probe(inventory.neuron))
    record = _first_answer(python, worker, PROBE_SECONDS, clock)
    if isinstance(record, Probe):
        return _devices(record)
    raise _refusal(record)


def _first_answer(
    python: str, worker: Worker, limit_seconds: float, clock: Clock
) -> Inventory | Probe | Failed:
    """Wait for the one record that the worker was asked for, and end it."""
    began = clock()
    try:
        for event in worker.events():
            if isinstance(event, Line):
                with contextlib.suppress(WireError):
                    record = decode(event.text, CHILD_RECORDS)
                    if isinstance(record, Inventory | Probe | Failed):
                        return record
            if isinstance(event, Overflow | Ended) or clock() - began > limit_seconds:
                break
        said = scrub(worker.last_words().strip()).splitlines()
    finally:
        worker.end()
    last = f"; it last said: {said[-1][:200]}" if said else ""
    raise UnavailableError(
        f"{python}: did not answer as a Python with torch does{last}", hint=PYTHON_HINT
    )


def _refusal(record: Inventory | Probe | Failed) -> UnavailableError:
    if isinstance(record, Failed):
        return UnavailableError(scrub(record.message), hint=record.hint or PYTHON_HINT)
    return UnavailableError(f"the worker answered with {record.kind}", hint=PYTHON_HINT)


def _devices(record: Probe) -> Devices:
    if record.wire_version != WIRE_VERSION:
        raise UnavailableError(
            f"the worker speaks version {record.wire_version} of the records, not {WIRE_VERSION}",
            hint="this is a mixed installation: install trnbench again",
        )
    return Devices(tuple(record.devices), record.versions)


def require_device(asked: str, devices: Devices) -> None:
    """Make sure that the device asked for is here and can be used.

    Args:
        asked: a backend's name, with or without an index, or `auto` for the best device here.
        devices: what was found.

    Raises:
        UnavailableError: it is not here, this version cannot drive it, or `auto` would have to
            pass over an accelerator that is here.
    """
    usable = [device.backend for device in devices.found if device.supported]
    kind, _, index = asked.partition(":")
    for device in devices.found:
        if kind in ("auto", device.backend):
            if device.supported:
                _require_index(device, index)
                return
            raise UnavailableError(
                f"device {device.backend!r} is here, but {device.note or 'cannot be used'}",
                hint=f"to train on another, name it: --device {' | '.join(usable)}",
            )
    found = ", ".join(usable) or "nothing"
    raise UnavailableError(
        f"device {asked!r} is not here; that interpreter's torch can use: {found}",
        hint="check its driver, or use `--device auto`, or another interpreter by `--python PATH`",
    )


def _require_index(device: FoundDevice, index: str) -> None:
    if index and int(index) >= device.device_count:
        last = device.device_count - 1
        raise UnavailableError(
            f"device {device.backend}:{index} is not here: there are {device.device_count}, "
            "counted from 0",
            hint=f"use {device.backend}:0{f' to {device.backend}:{last}' if last else ''}",
        )
