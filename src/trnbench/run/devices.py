"""What the training interpreter can train on, and whether it is what was asked for."""

import time
from collections.abc import Callable
from dataclasses import replace

from trnbench.catalog.backends import backend_of, best_first
from trnbench.machine.describe import Devices
from trnbench.machine.neuron import Neuron
from trnbench.run.ask import ask_worker
from trnbench.run.environment import environment_of_probe
from trnbench.schema.errors import UnavailableError
from trnbench.wire import FoundDevice, Inventory, Probe, ProbeDevices, TakeInventory

Clock = Callable[[], float]

INVENTORY_SECONDS = 20.0
PROBE_SECONDS = 120.0
"""An accelerator's runtime may take half a minute to come up; a probe longer than this hangs."""


def probe_devices(python: str, clock: Clock = time.perf_counter) -> Devices:
    """Ask the training interpreter which devices it can train on.

    Raises:
        ConfigError: the interpreter cannot be started.
        UnavailableError: it has no torch, hangs, dies, or is no Python.
    """
    inventory = ask_worker(python, TakeInventory(), Inventory, INVENTORY_SECONDS, clock)
    variables = environment_of_probe(inventory.neuron)
    probe = ask_worker(python, ProbeDevices(), Probe, PROBE_SECONDS, clock, variables)
    found = sorted(probe.devices, key=lambda device: best_first(device.backend))
    return Devices(tuple(found), probe.versions)


def with_chips(devices: Devices, seen: Neuron) -> Devices:
    """Return the devices with what is known of Neuron's chips, which the probe must not touch."""
    return replace(devices, found=tuple(_with_chips(device, seen) for device in devices.found))


def _with_chips(device: FoundDevice, seen: Neuron) -> FoundDevice:
    if not backend_of(device.backend).is_counted_by_tool or not device.supported:
        return device
    if not seen.is_here:
        note = f"no Neuron chip is plugged in ({seen.reason or 'neuron-ls and /dev show none'})"
        return replace(device, supported=False, note=note)
    family = (seen.instance or device.backend).partition(".")[0]
    return replace(device, device_name=family, device_count=seen.logical_cores or 1)


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
