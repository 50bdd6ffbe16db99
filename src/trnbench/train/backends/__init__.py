"""Devices, best first. A backend is one file and one line here.

They are named as text because loading one may load its vendor's runtime.
"""

import importlib

from trnbench.train.backends.base import Backend, Unavailable
from trnbench.wire import FoundDevice

BACKENDS: dict[str, str] = {
    "cuda": "trnbench.train.backends.accelerator:CudaBackend",
    "cpu": "trnbench.train.backends.cpu:CpuBackend",
}


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
    """Return what is here, best first."""
    found = (backend_class(name).find() for name in BACKENDS)
    return [device for device in found if device is not None]
