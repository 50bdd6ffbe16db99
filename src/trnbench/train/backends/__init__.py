"""Devices, one file each: `<name>.py` holds `<Name>Backend`."""

import importlib
import pkgutil

import torch

from trnbench.protocol.records import FoundDevice
from trnbench.train.backends.base import Backend, Unavailable

NAMES = tuple(file.name for file in pkgutil.iter_modules(__path__) if file.name != "base")


def backend_class(name: str) -> type[Backend]:
    """Return the class behind a backend's name.

    Raises:
        Unavailable: this version has no such backend.
    """
    if name not in NAMES:
        raise Unavailable(
            f"this version of trnbench has no backend for the device {name!r}",
            hint=f"use one of: {', '.join(NAMES)}",
        )
    # Imported here alone: loading one may load its vendor's runtime.
    module = importlib.import_module(f"{__name__}.{name}")
    found: type[Backend] = getattr(module, f"{name.capitalize()}Backend")
    return found


def find_devices() -> list[FoundDevice]:
    """Return the devices that are here, those without a backend included."""
    found = [find_undriven(), *(backend_class(name).find() for name in NAMES)]
    return [device for device in found if device is not None]


def find_undriven() -> FoundDevice | None:
    """Return the accelerator that torch sees and no backend drives.

    Without it, a machine with such a chip would be measured as a CPU in silence.
    """
    accelerator = getattr(torch, "accelerator", None)  # since torch 2.6
    if accelerator is None or not accelerator.is_available():
        return None
    device = accelerator.current_accelerator()
    if device is None or device.type in NAMES:
        return None
    return FoundDevice(
        backend=device.type,
        device_name=device.type,
        device_count=accelerator.device_count(),
        proven=False,
        supported=False,
        note="this version has no backend for it",
    )
