"""GPUs through torch's device-agnostic API: NVIDIA's CUDA, and ROCm, which torch also calls cuda.

Nobody has run this file on a GPU for this project yet, and each result made by it says so.
"""

from collections.abc import Mapping
from typing import ClassVar, Self

import torch

from trnbench.train.backends.base import Unavailable
from trnbench.wire import FailureReason, FoundDevice, Precision


class CudaBackend:
    """Trains on one GPU."""

    name: ClassVar[str] = "cuda"
    is_asynchronous: ClassVar[bool] = True
    is_proven: ClassVar[bool] = False

    def __init__(self) -> None:
        self.device = torch.device("cuda")

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Return the GPUs that torch can use."""
        if not torch.cuda.is_available():
            return None
        return FoundDevice(
            backend=cls.name,
            device_name=torch.cuda.get_device_name(),
            device_count=torch.cuda.device_count(),
            proven=cls.is_proven,
        )

    @classmethod
    def open(cls, precision: Precision, threads: int | None) -> Self:
        """Claim the first GPU; fp32 stays fp32, never TF32."""
        if not torch.cuda.is_available():
            raise Unavailable(
                "torch sees no CUDA or ROCm device",
                hint="check the driver with nvidia-smi or rocm-smi, or use `--device cpu`",
            )
        torch.set_float32_matmul_precision("highest")
        return cls()

    def device_name(self) -> str:
        """Return the driver's name for the GPU."""
        return torch.cuda.get_device_name()

    def synchronize(self) -> None:
        """Wait until every stream of the GPU is idle."""
        torch.cuda.synchronize()

    def reset_peak_memory(self) -> None:
        """Forget the allocator's peak."""
        torch.cuda.reset_peak_memory_stats()

    def peak_memory_bytes(self) -> tuple[int | None, str]:
        """Return the peak that torch's allocator reserved on the GPU."""
        return torch.cuda.max_memory_reserved(), "device_reserved"

    def settings(self) -> Mapping[str, str]:
        """Return what decides the arithmetic."""
        return {"float32_matmul_precision": torch.get_float32_matmul_precision()}

    def versions(self) -> Mapping[str, str]:
        """Return CUDA's or ROCm's version, as torch was built with it."""
        found = {"cuda": torch.version.cuda, "rocm": torch.version.hip}
        return {name: version for name, version in found.items() if version}

    def explain(self, error: BaseException) -> tuple[FailureReason, str] | None:
        """Recognise the allocator's refusal and an error of the device itself."""
        if isinstance(error, torch.OutOfMemoryError):
            return "out_of_memory", "the GPU has not enough memory for this model and batch"
        if isinstance(error, torch.AcceleratorError):
            return "device_failure", "the GPU reported an error"
        return None
