"""Devices, one file each; the table of them, best first, is `wire.BACKENDS`."""

import importlib

import torch

from trnbench.train.backends.base import Backend, Unavailable
from trnbench.wire import BACKENDS, FoundDevice


def backend_class(name: str) -> type[Backend]:
    """Return the class behind a backend's name.

    Raises:
        Unavailable: this version has no such backend.
    """
    if name not in BACKENDS:
        raise Unavailable(
            f"this version of trnbench has no backend for the device {name!r}",
            hint=f"use one of: {', '.join(BACKENDS)}",
        )
    module, _, attribute = BACKENDS[name].partition(":")
    found: type[Backend] = getattr(importlib.import_module(module), attribute)
    return found


def find_devices() -> list[FoundDevice]:
    """Return what is here, best first; what this version cannot drive comes before all."""
    found = [find_undriven(), *(backend_class(name).find() for name in BACKENDS)]
    return [device for device in found if device is not None]


def find_undriven() -> FoundDevice | None:
    """Return the accelerator that torch sees and no backend here drives, so that it is told.

    Whoever rents such a machine must not be given its CPU's figures in silence.
    """
    accelerator = getattr(torch, "accelerator", None)  # since torch 2.6
    if accelerator is None or not accelerator.is_available():
        return None
    device = accelerator.current_accelerator()
    if device is None or device.type in BACKENDS:
        return None
    return FoundDevice(
        backend=device.type,
        device_name=device.type,
        device_count=accelerator.device_count(),
        proven=False,
        supported=False,
        note="this version has no backend for it",
    )
