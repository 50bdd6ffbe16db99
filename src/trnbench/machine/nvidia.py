"""NVIDIA GPUs: what NVML, the driver and the PCI bus say.

NVML is asked through the package nvidia-ml-py, if it is installed; it makes no context on a GPU.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trnbench.machine.look import (
    ROOT,
    Holder,
    count_pci_devices,
    is_container,
    list_names,
    program_of_process,
    read_lines,
    read_word,
)
from trnbench.machine.nvml import Nvml, visible_indices
from trnbench.machine.source import Absent, Subject, failure, reading
from trnbench.schema.measurement import Reading

_NVIDIA = "0x10de"
_DISPLAY = "0x03"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU; None is what it does not tell."""

    name: str
    memory_bytes: int | None = None
    is_mig: bool | None = None
    """Whether it is divided into instances."""
    is_ecc: bool | None = None
    power_limit_watts: float | None = None
    clock_limit_hertz: float | None = None
    """Of its cores, as set for applications."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvidia:
    """NVIDIA GPUs and what is needed to use them."""

    gpus: tuple[Gpu, ...] = ()
    holders: tuple[Holder, ...] = ()
    lost: tuple[str, ...] = ()
    """Of the GPUs that the driver counts, those that it cannot open, and why."""
    pci_devices: int = 0
    """On the bus of the machine; a container sees them all, whatever it was given."""
    device_files: int = 0
    """`/dev/nvidia*` of single GPUs."""
    is_hidden: bool = False
    """Whether this is a container that was given none of them."""
    is_driver_loaded: bool = False
    driver_version: str | None = None
    cuda_version: str | None = None
    """The newest CUDA that the driver can serve."""
    reason: str | None = None
    """Why no more is known of GPUs that are here."""

    @property
    def is_here(self) -> bool:
        """Whether there is a GPU, usable or not."""
        return bool(self.gpus or self.pci_devices) and not self.is_hidden

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
    """Look for NVIDIA GPUs without touching one; `library` stands in for the module `pynvml`."""
    there = _look_without_nvml(root)
    if library is None and not there.is_here and not there.is_driver_loaded:
        return there  # loading NVML takes longer than all the rest
    nvml = Nvml.open(library)
    if isinstance(nvml, Absent):
        # The driver's files under /proc are those of the host.
        if not there.device_files and is_container(root):
            return replace(there, gpus=(), is_hidden=True)
        return replace(there, reason=nvml.reason)
    try:
        return _ask_nvml(nvml, there)
    finally:
        nvml.close()


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
        pci_devices=count_pci_devices(root, _NVIDIA, kind=_DISPLAY),
        device_files=len(list_names(root / "dev", "nvidia[0-9]*")),
        is_driver_loaded=version is not None or (root / "proc/driver/nvidia").is_dir(),
        driver_version=version,
    )


def _ask_nvml(nvml: Nvml, there: Nvidia) -> Nvidia:
    gpus, holders, lost = [], [], []
    for number in range(nvml.ask("nvmlDeviceGetCount") or 0):
        handle = nvml.ask("nvmlDeviceGetHandleByIndex", number)
        if handle is None:
            lost.append(f"GPU {number}: {nvml.last_error}")
            continue
        memory = nvml.ask("nvmlDeviceGetMemoryInfo", handle)
        gpus.append(
            Gpu(
                name=nvml.text("nvmlDeviceGetName", handle) or "an NVIDIA GPU",
                memory_bytes=None if memory is None else int(memory.total),
                is_mig=_is_on(nvml.ask("nvmlDeviceGetMigMode", handle)),
                is_ecc=_is_on(nvml.ask("nvmlDeviceGetEccMode", handle)),
                power_limit_watts=_times(
                    1e-3, nvml.ask("nvmlDeviceGetPowerManagementLimit", handle)
                ),
                clock_limit_hertz=_times(
                    1e6, nvml.ask("nvmlDeviceGetApplicationsClock", handle, GRAPHICS_CLOCK)
                ),
            )
        )
        for process in nvml.ask("nvmlDeviceGetComputeRunningProcesses", handle) or ():
            program = program_of_process(process.pid)
            holders.append(Holder(f"GPU {number}", process.pid, program, number))
    version = nvml.ask("nvmlSystemGetCudaDriverVersion")
    return replace(
        there,
        gpus=tuple(gpus),
        holders=tuple(holders),
        lost=tuple(lost),
        is_driver_loaded=True,
        driver_version=nvml.text("nvmlSystemGetDriverVersion") or there.driver_version,
        cuda_version=f"{version // 1000}.{version % 1000 // 10}" if version else None,
    )


GRAPHICS_CLOCK = 0
"""Source: nvml.h, `NVML_CLOCK_GRAPHICS`."""


def _times(unit: float, value: Any) -> float | None:
    return None if value is None else value * unit


def _is_on(modes: Any) -> bool | None:
    """Read a pair of a mode now and a mode after the next restart."""
    return None if modes is None else bool(modes[0])


CLOCK_REASONS: Mapping[int, str] = {
    0x1: "clocks_gpu_idle",
    0x2: "clocks_application_setting",
    0x4: "throttle_sw_power_cap",
    0x8: "throttle_hw_slowdown",
    0x10: "clocks_sync_boost",
    0x20: "throttle_sw_thermal",
    0x40: "throttle_hw_thermal",
    0x80: "throttle_hw_power_brake",
    0x100: "clocks_display_setting",
    0x200: "throttle_board_limit",
    0x400: "throttle_reliability",
}
"""Bits of the reasons why the clocks are what they are; another bit is named by its number.

Source: nvidia-ml-py 13.615.71, `nvmlClocksEventReason…` and `nvmlClocksThrottleReason…`, read
2026-11-23.
"""

_INTEGRATED = "energy_joules integrates samples of power by trapezoids: no energy counter here"
_UNORDERED = (
    "which of these GPUs are the run's is not known: their kinds differ, and CUDA orders them its "
    "own way unless CUDA_DEVICE_ORDER=PCI_BUS_ID"
)


@dataclass(frozen=True, slots=True)
class _Query:
    """One figure: which function gives it, with which constants, in which part, times what."""

    quantity: str
    function: str
    constants: tuple[str, ...] = ()
    part: str | None = None
    factor: float = 1.0


_ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
_ECC = "nvmlDeviceGetTotalEccErrors"
_QUERIES = (
    _Query("utilization_share", "nvmlDeviceGetUtilizationRates", part="gpu", factor=0.01),
    _Query("memory_used_bytes", "nvmlDeviceGetMemoryInfo", part="used"),
    _Query("temperature_celsius", "nvmlDeviceGetTemperature", ("NVML_TEMPERATURE_GPU",)),
    _Query("power_watts", "nvmlDeviceGetPowerUsage", factor=1e-3),
    _Query("power_limit_watts", "nvmlDeviceGetEnforcedPowerLimit", factor=1e-3),
    _Query("core_clock_hertz", "nvmlDeviceGetClockInfo", ("NVML_CLOCK_SM",), factor=1e6),
    _Query("memory_clock_hertz", "nvmlDeviceGetClockInfo", ("NVML_CLOCK_MEM",), factor=1e6),
    _Query("ecc_corrected", _ECC, ("NVML_MEMORY_ERROR_TYPE_CORRECTED", "NVML_VOLATILE_ECC")),
    _Query("ecc_uncorrected", _ECC, ("NVML_MEMORY_ERROR_TYPE_UNCORRECTED", "NVML_VOLATILE_ECC")),
)


@dataclass(slots=True)
class _Device:
    """One GPU, and its energy so far."""

    index: int
    handle: Any
    millijoules: int | None
    """The counter's last value; None: it has none, and power is integrated instead."""
    joules: float = 0.0
    power_sample: tuple[float, float] | None = None
    """When the last power was read, and the power."""


class NvmlSource:
    """Reads the GPUs of one run."""

    name = "nvml"

    @classmethod
    def open(cls, subject: Subject, library: Any = None) -> "NvmlSource | Absent":
        """Start NVML and find the run's GPUs, or say why there are none."""
        nvml = Nvml.open(library)
        if isinstance(nvml, Absent):
            return nvml
        try:
            found = cls(nvml, subject)
        except nvml.library.NVMLError as error:
            why = f"NVML cannot list the GPUs: {error}"
        else:
            if found.indices:
                return found
            why = "the run can see no NVIDIA GPU"
            if found.all_are_lost:
                why = f"NVML cannot list the GPUs: {nvml.last_error}"
            if "MIG-" in subject.environment.get("CUDA_VISIBLE_DEVICES", ""):
                why = "the run has a slice of a GPU (MIG), which has no figures of its own"
        nvml.close()
        return Absent(why)

    def __init__(self, nvml: Nvml, subject: Subject) -> None:
        self._nvml = nvml
        self._worker_pids = frozenset(subject.worker_pids)
        count = nvml.library.nvmlDeviceGetCount()
        opened = [(n, nvml.ask("nvmlDeviceGetHandleByIndex", n)) for n in range(count)]
        # A GPU that is lost has no handle, and CUDA does not count it either.
        found = [(index, handle) for index, handle in opened if handle is not None]
        self.all_are_lost = count > 0 and not found
        uuids = [nvml.text("nvmlDeviceGetUUID", handle) for _, handle in found]
        kinds = {nvml.text("nvmlDeviceGetName", handle) for _, handle in found}
        visible = subject.environment.get("CUDA_VISIBLE_DEVICES")
        chosen = visible_indices(visible, uuids)[subject.first_device :][: subject.device_count]
        is_by_uuid = "GPU-" in (visible or "")
        is_ordered = subject.environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        self._note = None
        if 0 < len(chosen) < len(found) and len(kinds) > 1 and not (is_by_uuid or is_ordered):
            chosen, self._note = list(range(len(found))), _UNORDERED
        self._devices = [
            _Device(index, handle, nvml.ask(_ENERGY, handle))
            for index, handle in (found[n] for n in chosen)
        ]

    @property
    def indices(self) -> list[int]:
        """NVML's indices of the GPUs that are read."""
        return [device.index for device in self._devices]

    def read(self, at_seconds: float) -> list[Reading]:
        """Return one reading of each GPU."""
        return [self._read(device, at_seconds) for device in self._devices]

    def close(self) -> None:
        """End NVML."""
        self._nvml.close()

    def _read(self, device: _Device, at_seconds: float) -> Reading:
        values: dict[str, float] = {}
        for query in _QUERIES:
            constants = [getattr(self._nvml.library, name) for name in query.constants]
            answer = self._nvml.ask(query.function, device.handle, *constants)
            if answer is not None:
                figure = getattr(answer, query.part) if query.part else answer
                values[query.quantity] = float(figure) * query.factor
        if not values:
            why = f"gives no value: {self._nvml.last_error}"
            return failure(self.name, at_seconds, why, device.index)
        values |= self._energy(device, at_seconds, values.get("power_watts"))
        values |= self._foreign_processes(device)
        notes = [self._note] if self._note else []
        if "energy_joules" in values and device.millijoules is None:
            notes.append(_INTEGRATED)
        return reading(
            self.name,
            at_seconds,
            values,
            device=device.index,
            note="; ".join(notes) or None,
            flags=self._flags(device, values),
        )

    def _energy(self, device: _Device, at_seconds: float, watts: float | None) -> dict[str, float]:
        if device.millijoules is not None:
            now = self._nvml.ask(_ENERGY, device.handle)
            if now is None:
                return {}
            # A counter that fell was reset; what it lost is not known.
            device.joules += max(now - device.millijoules, 0) * 1e-3
            device.millijoules = now
            return {"energy_joules": device.joules}
        if watts is None:
            device.power_sample = None  # over a gap nothing is integrated
            return {"energy_joules": device.joules} if device.joules else {}
        if device.power_sample is not None:
            at, last_watts = device.power_sample
            device.joules += max(at_seconds - at, 0.0) * (last_watts + watts) / 2
        device.power_sample = (at_seconds, watts)
        return {"energy_joules": device.joules}

    def _foreign_processes(self, device: _Device) -> dict[str, float]:
        """Count the processes on a GPU that are not of the worker's session.

        In a container NVML may tell the host's process numbers: where none is known as the
        worker's, nothing can be said of the others.
        """
        if not self._worker_pids:
            return {}
        processes = self._nvml.ask("nvmlDeviceGetComputeRunningProcesses", device.handle)
        if processes is None:
            return {}
        ours = sum(_session_of(process.pid) in self._worker_pids for process in processes)
        if processes and not ours:
            return {}
        return {"foreign_processes": float(len(processes) - ours)}

    def _flags(self, device: _Device, values: Mapping[str, float]) -> list[str]:
        reasons = self._nvml.ask("nvmlDeviceGetCurrentClocksEventReasons", device.handle)
        if reasons is None:  # drivers before 535 know it by its older name alone
            reasons = self._nvml.ask("nvmlDeviceGetCurrentClocksThrottleReasons", device.handle)
        bits = [1 << n for n in range((reasons or 0).bit_length()) if reasons >> n & 1]
        flags = [CLOCK_REASONS.get(bit, f"clocks_reason_{bit:#x}") for bit in bits]
        return flags + (["ecc_uncorrected"] if values.get("ecc_uncorrected") else [])


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (OSError, OverflowError):
        return None  # gone, or a number of another namespace
