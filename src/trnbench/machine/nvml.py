"""A session with NVML, NVIDIA's library that watches GPUs, and which of them CUDA sees."""

import contextlib
import importlib
from collections.abc import Sequence
from typing import Any

from trnbench.machine.source import Absent

_NO_DRIVER = ("NVMLError_LibraryNotFound", "NVMLError_DriverNotLoaded")


class Nvml:
    """A session with NVML; what this driver, GPU or binding cannot tell is None."""

    @classmethod
    def open(cls, library: Any = None) -> "Nvml | Absent":
        """Start it, or say why it cannot be; `library` stands in for the module `pynvml`."""
        if library is None:
            try:
                library = importlib.import_module("pynvml")
            except ImportError:
                return Absent("the package nvidia-ml-py is not installed")
        try:
            library.nvmlInit()
        except library.NVMLError as error:
            has_no_driver = type(error).__name__ in _NO_DRIVER
            return Absent("no NVIDIA driver" if has_no_driver else f"NVML: {error}")
        return cls(library)

    def __init__(self, library: Any) -> None:
        self.library = library
        self.last_error = "nothing is supported"

    def ask(self, function: str, *arguments: Any) -> Any:
        """Return what NVML answers, or None."""
        call = getattr(self.library, function, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except self.library.NVMLError as error:
            self.last_error = str(error)
            return None

    def text(self, function: str, *arguments: Any) -> str:
        """Return a text that NVML answers, or an empty one; older bindings return bytes."""
        answer = self.ask(function, *arguments)
        return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer or "")

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(self.library.NVMLError):
            self.library.nvmlShutdown()


def visible_indices(visible: str | None, uuids: Sequence[str]) -> list[int]:
    """Return the places of the GPUs that `CUDA_VISIBLE_DEVICES` leaves, in its order.

    As in CUDA, an entry is an index or a UUID, which may be cut short, and from the first that
    fits no GPU on nothing is visible. A slice of a GPU (`MIG-…`) has no figures of its own.
    """
    if visible is None:
        return list(range(len(uuids)))
    chosen: list[int] = []
    for entry in (entry.strip() for entry in visible.split(",")):
        if entry.isdecimal():
            fits = [n for n in range(len(uuids)) if str(n) == entry]
        else:
            is_uuid = entry.startswith("GPU-")
            fits = [n for n, uuid in enumerate(uuids) if is_uuid and uuid.startswith(entry)]
        if len(fits) != 1 or fits[0] in chosen:
            break
        chosen += fits
    return chosen
