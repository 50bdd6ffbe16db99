"""What the training interpreter can train on, and whether it is what was asked for."""

import time
from collections.abc import Callable

from trnbench.run.ask import ask_worker
from trnbench.run.machine import Devices
from trnbench.schema.errors import UnavailableError
from trnbench.wire import Probe

PROBE_SECONDS = 120.0
"""An accelerator's runtime may take half a minute to come up; a probe longer than this hangs."""


def probe_devices(python: str, clock: Callable[[], float] = time.perf_counter) -> Devices:
    """Ask the training interpreter which devices it can train on.

    Raises:
        ConfigError: the interpreter cannot be started.
        UnavailableError: it has no torch, hangs, dies, or is no Python.
    """
    probe = ask_worker(python, "probe", Probe, PROBE_SECONDS, clock)
    return Devices(tuple(probe.devices), probe.versions)


def require_device(asked: str, devices: Devices) -> None:
    """Make sure that the device asked for is here and can be used.

    Args:
        asked: a backend's name, or `auto` for the best device that is here.
        devices: what was found.

    Raises:
        UnavailableError: it is not here, this version cannot drive it, or `auto` would have to
            pass over an accelerator that is here.
    """
    usable = [device.backend for device in devices.found if device.supported]
    for device in devices.found:
        if asked in ("auto", device.backend):
            if device.supported:
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
