"""What the training interpreter can train on, and whether it is what was asked for."""

import contextlib
import time
from collections.abc import Callable

from trnbench.run.launch import Ended, Line, Overflow, Worker, worker_command
from trnbench.run.machine import Devices
from trnbench.run.scrub import scrub
from trnbench.schema.errors import UnavailableError
from trnbench.wire import CHILD_RECORDS, WIRE_VERSION, Failed, Probe, WireError, decode

PROBE_SECONDS = 120.0
"""An accelerator's runtime may take half a minute to come up; a probe longer than this hangs."""

PYTHON_HINT = "name an interpreter that has torch with `--python PATH`"


def probe_devices(python: str, clock: Callable[[], float] = time.perf_counter) -> Devices:
    """Ask the training interpreter which devices it can train on.

    Raises:
        ConfigError: the interpreter cannot be started.
        UnavailableError: it has no torch, hangs, dies, or is no Python.
    """
    worker = Worker(worker_command(python, "probe"))
    began = clock()
    try:
        for event in worker.events():
            if isinstance(event, Line):
                with contextlib.suppress(WireError):
                    record = decode(event.text, CHILD_RECORDS)
                    if isinstance(record, Probe | Failed):
                        return _devices(record)
            if isinstance(event, Overflow | Ended) or clock() - began > PROBE_SECONDS:
                break
        said = scrub(worker.last_words().strip()).splitlines()
    finally:
        worker.end()
    last = f"; it last said: {said[-1][:200]}" if said else ""
    raise UnavailableError(
        f"{python}: did not answer as a Python with torch does{last}", hint=PYTHON_HINT
    )


def _devices(record: Probe | Failed) -> Devices:
    if isinstance(record, Failed):
        raise UnavailableError(scrub(record.message), hint=record.hint or PYTHON_HINT)
    if record.wire_version != WIRE_VERSION:
        raise UnavailableError(
            f"the worker speaks version {record.wire_version} of the records, not {WIRE_VERSION}",
            hint="this is a mixed installation: install trnbench again",
        )
    return Devices(tuple(record.devices), record.versions)


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
