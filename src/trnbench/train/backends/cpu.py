"""The CPU: always there, synchronous, its memory that of the process."""

import platform
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import torch

from trnbench.wire import FailureReason, FoundDevice, Precision

_CLEAR_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class CpuBackend:
    """Trains on the processor's cores."""

    name: ClassVar[str] = "cpu"
    is_asynchronous: ClassVar[bool] = False
    is_proven: ClassVar[bool] = True

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Return the processor."""
        return FoundDevice(
            backend=cls.name, device_name=_processor_name(), device_count=1, proven=cls.is_proven
        )

    @classmethod
    def open(cls, precision: Precision, threads: int | None) -> Self:
        """Set the threads, and fp32 products to full fp32."""
        if threads is not None:
            torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        return cls()

    def device_name(self) -> str:
        """Return the processor's model name."""
        return _processor_name()

    def synchronize(self) -> None:
        """Do nothing: a call on the CPU returns when its work is done."""

    def reset_peak_memory(self) -> None:
        """Ask Linux to forget the process's peak; elsewhere the peak is since its start."""
        try:
            _CLEAR_PEAK.write_text("5")
        except OSError:
            return  # not Linux, or a container that forbids it: peak_memory_bytes says which

    def peak_memory_bytes(self) -> tuple[int | None, str]:
        """Return the peak resident set of the process: what the allocator keeps, included."""
        return _peak_resident_bytes(_STATUS), "process_rss"

    def settings(self) -> Mapping[str, str]:
        """Return the threads and the instruction set in use."""
        return {
            "threads": str(torch.get_num_threads()),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
        }

    def versions(self) -> Mapping[str, str]:
        """Return nothing beside torch's own version."""
        return {}

    def explain(self, error: BaseException) -> tuple[FailureReason, str] | None:
        """Recognise the CPU allocator's refusal."""
        if "can't allocate memory" in str(error):
            return "out_of_memory", "the machine has not enough memory for this model and batch"
        return None


def _peak_resident_bytes(status: Path) -> int:
    """Return the peak that Linux gives, which a reset reaches for sure, else the portable one."""
    try:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def _processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model name that Linux gives, else the platform's."""
    try:
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
