"""Intel's and Apple's GPUs: torch drives them by its general interface; nobody here has tried."""

from typing import ClassVar

import torch

from trnbench.train.backends.base import Backend
from trnbench.wire import FoundDevice


class _GeneralBackend(Backend):
    """Trains on whatever `torch.<name>` is, by the functions that all such modules share."""

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Return the devices that torch can use."""
        module = getattr(torch, cls.name, None)
        if module is None or not module.is_available():
            return None
        return FoundDevice(
            backend=cls.name,
            device_name=_name_of(cls.name),
            device_count=module.device_count(),
            proven=cls.is_proven,
        )

    def device_name(self) -> str:
        """Return the driver's name, or the kind of device where it gives none."""
        return _name_of(self.name)


class XpuBackend(_GeneralBackend):
    """Trains on one Intel GPU."""

    name: ClassVar[str] = "xpu"
    profiler_activity: ClassVar[str | None] = "XPU"


class MpsBackend(_GeneralBackend):
    """Trains on the GPU of an Apple processor."""

    name: ClassVar[str] = "mps"


def _name_of(device: str) -> str:
    ask = getattr(getattr(torch, device), "get_device_name", None)
    return str(ask()) if ask is not None else device
