"""What a device must be able to do. torch's device-agnostic API does the rest."""

import contextlib
from collections.abc import Mapping
from typing import ClassVar, Protocol, Self

import torch

from trnbench.wire import FailureReason, FoundDevice, Precision


class Unavailable(Exception):  # noqa: N818 - it reads as the FailureReason of the same name
    """A device or a library that the order needs is not here."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Backend(Protocol):
    """One kind of device, as the training loop uses it."""

    name: ClassVar[str]
    is_asynchronous: ClassVar[bool]
    """Whether the device still works after a call has returned."""
    is_proven: ClassVar[bool]
    """Whether the project has run it on such a device."""
    device: torch.device

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Look for the device without claiming it; None if it is not here."""
        ...

    @classmethod
    def open(cls, precision: Precision, threads: int | None) -> Self:
        """Claim the device and fix its numeric settings.

        Raises:
            Unavailable: it is not here, or something else holds it.
        """
        ...

    def device_name(self) -> str:
        """Return the device's own name for itself."""
        ...

    def synchronize(self) -> None:
        """Return only when the device is idle; the timed block rests on this."""
        ...

    def reset_peak_memory(self) -> None:
        """Forget the peak so far."""
        ...

    def peak_memory_bytes(self) -> tuple[int | None, str]:
        """Return the peak since the reset and what was counted, or None and why not."""
        ...

    def settings(self) -> Mapping[str, str]:
        """Return the numeric settings in force, for the record."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Return the versions that decide speed: driver, runtime, libraries."""
        ...

    def explain(self, error: BaseException) -> tuple[FailureReason, str] | None:
        """Say in our words what the vendor's error means; None if it is not one of theirs."""
        ...


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[None]:
    """Return the context in which forward passes run: bf16 products over fp32 weights, or none."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def parameter_dtype(precision: Precision) -> torch.dtype:
    """Return the type that weights, gradients and moments are kept in."""
    return torch.bfloat16 if precision == "pure_bf16" else torch.float32


def product_dtype(precision: Precision) -> torch.dtype:
    """Return the type that matrix products are made in."""
    return torch.float32 if precision == "fp32" else torch.bfloat16
