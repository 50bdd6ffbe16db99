"""NVIDIA GPUs: what NVML, the driver and the PCI bus say.

NVML is asked through the package nvidia-ml-py, if it is installed; it makes no context on a GPU.
"""

import importlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trnbench.run.machine.files import ROOT, count_pci_devices, list_names, read_lines, read_word
from trnbench.run.machine.processes import Holder, program_of_process

_NVIDIA = "0x10de"
_DISPLAY_OR_3D = "0x03"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU; None is what it does not tell."""

    name: str
    memory_bytes: int | None = None
    is_mig: bool | None = None
    """Whether it is divided into instances."""
    is_ecc: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvidia:
    """NVIDIA GPUs and what is needed to use them."""

    gpus: tuple[Gpu, ...] = ()
    holders: tuple[Holder, ...] = ()
    pci_devices: int = 0
    is_driver_loaded: bool = False
    driver_version: str | None = None
    cuda_version: str | None = None
    """The newest CUDA that the driver can serve."""
    reason: str | None = None
    """Why no more is known of GPUs that are here."""

    @property
    def is_here(self) -> bool:
        """Whether there is a GPU, usable or not."""
        return bool(self.gpus or self.pci_devices)

    def kept(self) -> dict[str, Any] | None:
        """Return what a result keeps of it: no process of anybody."""
        if not self.is_here:
            return None
        return {
            "gpus": [asdict(gpu) for gpu in self.gpus],
            "driver_version": self.driver_version,
            "cuda_version": self.cuda_version,
        }


def look_at_nvidia(root: Path = ROOT, library: Any = None) -> Nvidia:
    """Look for NVIDIA GPUs without touching one.

    Args:
        root: where `sys` and `proc` are.
        library: stands in for the module `pynvml`.
    """
    there = _look_without_nvml(root)
    if library is None:
        if not there.is_here and not there.is_driver_loaded:
            return there  # loading NVML takes longer than all the rest
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            return _because(there, "the package nvidia-ml-py is not installed")
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return _because(there, f"NVML: {error}")
    try:
        return _ask_nvml(library, there)
    finally:
        library.nvmlShutdown()


def _look_without_nvml(root: Path) -> Nvidia:
    gpus = []
    folder = root / "proc/driver/nvidia/gpus"
    for name in list_names(folder):
        for line in read_lines(folder / name / "information"):
            if line.startswith("Model:"):
                gpus.append(Gpu(name=line.partition(":")[2].strip()))
    version = read_word(root / "sys/module/nvidia/version")
    return Nvidia(
        gpus=tuple(gpus),
        pci_devices=count_pci_devices(root, _NVIDIA, kind=_DISPLAY_OR_3D),
        is_driver_loaded=version is not None or (root / "proc/driver/nvidia").is_dir(),
        driver_version=version,
    )


def _because(there: Nvidia, reason: str) -> Nvidia:
    return Nvidia(
        gpus=there.gpus,
        pci_devices=there.pci_devices,
        is_driver_loaded=there.is_driver_loaded,
        driver_version=there.driver_version,
        reason=reason,
    )


def _ask_nvml(library: Any, there: Nvidia) -> Nvidia:
    gpus, holders = [], []
    for number in range(_ask(library, "nvmlDeviceGetCount") or 0):
        handle = _ask(library, "nvmlDeviceGetHandleByIndex", number)
        if handle is None:
            continue  # fallen off the bus; the count that the PCI bus gives is told
        memory = _ask(library, "nvmlDeviceGetMemoryInfo", handle)
        gpus.append(
            Gpu(
                name=_text(_ask(library, "nvmlDeviceGetName", handle)) or "an NVIDIA GPU",
                memory_bytes=None if memory is None else int(memory.total),
                is_mig=_is_on(_ask(library, "nvmlDeviceGetMigMode", handle)),
                is_ecc=_is_on(_ask(library, "nvmlDeviceGetEccMode", handle)),
            )
        )
        for process in _ask(library, "nvmlDeviceGetComputeRunningProcesses", handle) or ():
            holders.append(Holder(f"GPU {number}", process.pid, program_of_process(process.pid)))
    version = _ask(library, "nvmlSystemGetCudaDriverVersion")
    return Nvidia(
        gpus=tuple(gpus),
        holders=tuple(holders),
        pci_devices=there.pci_devices,
        is_driver_loaded=True,
        driver_version=_text(_ask(library, "nvmlSystemGetDriverVersion")) or there.driver_version,
        cuda_version=f"{version // 1000}.{version % 1000 // 10}" if version else None,
    )


def _ask(library: Any, function: str, *arguments: Any) -> Any:
    """Ask NVML one thing; None where this GPU or this driver does not tell."""
    try:
        return getattr(library, function)(*arguments)
    except (AttributeError, library.NVMLError):
        return None


def _is_on(modes: Any) -> bool | None:
    """Read a pair of a mode now and a mode after the next restart."""
    return None if modes is None else bool(modes[0])


def _text(value: Any) -> str | None:
    """Older releases of the package return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
