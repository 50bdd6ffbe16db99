"""GPUs: NVIDIA's CUDA, and ROCm, which torch also calls cuda.

This project has not run this file on a GPU yet, and each result made by it says so.
"""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.distributed as dist
from torch.nn.attention import SDPBackend

from trnbench.protocol.orders import AdamW
from trnbench.protocol.records import FoundDevice
from trnbench.train.backends.base import Backend, Claim, Timer, Unavailable
from trnbench.train.precision import matmul_dtype
from trnbench.train.software import missing_for_gpu

ATTENTION_SHAPE = (1, 8, 128, 64)
"""Batch, heads, tokens and head width of the attention whose kernel is reported."""

FP8_CAPABILITY = (8, 9)
"""Ada's. Source: CUDA Toolkit documentation, cuBLAS 12, "Floating Point 8-bit Data Types"."""


class CudaBackend(Backend):
    """Trains on one GPU."""

    name: ClassVar[str] = "cuda"
    adamw: ClassVar[AdamW] = "fused"
    process_group: ClassVar[str | None] = "nccl"
    profiler_activity: ClassVar[str | None] = "CUDA"
    nccl_log: ClassVar[Path | None] = None
    """Where NCCL writes how this rank's connections are made; None where it is not asked to."""

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Return the GPUs that torch can use."""
        if not torch.cuda.is_available():
            return None
        return cls.found(
            torch.cuda.get_device_name(),
            torch.cuda.device_count(),
            compiler_lacks=missing_for_gpu(),
        )

    @classmethod
    def open(cls, claim: Claim) -> Self:
        """Claim the GPU; fp32 stays fp32, never TF32, and bf16 sums are kept in fp32."""
        opened = super().open(claim)
        torch.cuda.set_device(opened.device)
        if claim.precision != "fp32" and not torch.cuda.is_bf16_supported(False):
            raise Unavailable(
                f"{torch.cuda.get_device_name()} has no bf16 matmuls",
                hint="use workload.precision: fp32",
            )
        if claim.precision == "fp8":
            _require_fp8(opened.device)
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        return opened

    @classmethod
    def group_options(cls, index: int | None) -> Mapping[str, Any]:
        """Choose the GPU before the group is made: NCCL would take the first one for every rank."""
        cls.require(index)
        torch.cuda.set_device(index or 0)
        cls.nccl_log = log_connections()
        return {"device_id": torch.device("cuda", index or 0)}

    def _device(self, index: int | None) -> torch.device:
        return torch.device("cuda", index or 0)

    def device_name(self) -> str:
        """Return the driver's name for the GPU."""
        return torch.cuda.get_device_name(self.device)

    def device_id(self) -> str:
        """Return the GPU's UUID, which does not depend on what is visible to this process."""
        return str(torch.cuda.get_device_properties(self.device).uuid)

    def timer(self) -> Timer:
        """Return a pair of CUDA events."""
        return _EventTimer()

    def settings(self) -> Mapping[str, str]:
        """Return what decides the arithmetic, and which kernel attention uses."""
        matmul = torch.backends.cuda.matmul
        dtype = matmul_dtype(self.claim.precision)
        heads = torch.empty(ATTENTION_SHAPE, device=self.device, dtype=dtype)
        return {
            **super().settings(),
            "matmul_tf32": str(matmul.allow_tf32).lower(),
            "cudnn_tf32": str(torch.backends.cudnn.allow_tf32).lower(),
            "bf16_reduced_precision_reduction": str(
                matmul.allow_bf16_reduced_precision_reduction
            ).lower(),
            "attention": attention_kernel(heads),
            **nccl_variables(os.environ),
            **peer_access(
                self.device.index, torch.cuda.device_count(), torch.cuda.can_device_access_peer
            ),
        }

    def transports(self) -> dict[str, int] | None:
        """Count NCCL's connections by what moves their bytes, such as `P2P` and `NET/OFI`."""
        return None if self.nccl_log is None else read_transports(self.nccl_log.read_text())

    def close(self) -> None:
        """Take NCCL's log away."""
        if self.nccl_log is not None:
            self.nccl_log.unlink(missing_ok=True)

    def versions(self) -> Mapping[str, str]:
        """Return the versions of CUDA or ROCm that torch was built with, and of cuDNN."""
        cudnn = torch.backends.cudnn.version()
        found = {
            "cuda": torch.version.cuda,
            "rocm": torch.version.hip,
            "cudnn": None if cudnn is None else str(cudnn),
            "nccl": nccl_version(),
            "compute_capability": ".".join(map(str, torch.cuda.get_device_capability(self.device))),
        }
        return {name: version for name, version in found.items() if version}


def attention_kernel(heads: torch.Tensor) -> str:
    """Return the kernel that torch chooses for causal attention among such heads, (B, N, T, H).

    Source: torch 2.13, `aten::_fused_sdp_choice`, by which `scaled_dot_product_attention` chooses:
    on Hopper and Blackwell cuDNN's kernel comes first where cuDNN is new enough.
    """
    choose = getattr(torch, "_fused_sdp_choice", None)  # not public: torch may do without it
    if choose is None:
        return "unknown to this torch"
    name = SDPBackend(choose(heads, heads, heads, None, 0.0, True)).name
    return name.removesuffix("_ATTENTION").lower()


def peer_access(
    device: int, count: int, can_access: Callable[[int, int], bool]
) -> Mapping[str, str]:
    """Return how many of the other GPUs this one reaches without the host's memory in between.

    Nothing where there is no other. Source: NCCL documentation, environment variables,
    NCCL_P2P_DISABLE.
    """
    others = [index for index in range(count) if index != device]
    if not others:
        return {}
    if os.environ.get("NCCL_P2P_DISABLE", "0") != "0":
        return {"peer_access": f"0 of {len(others)}, by NCCL_P2P_DISABLE"}
    reached = sum(can_access(device, other) for other in others)
    return {"peer_access": f"{reached} of {len(others)}"}


def log_connections() -> Path | None:
    """Have NCCL write how it connects ranks to a file; None where the user has set its log.

    It does so once a connection, not once a collective. Source: NCCL documentation, environment
    variables, NCCL_DEBUG, NCCL_DEBUG_SUBSYS and NCCL_DEBUG_FILE.
    """
    if any(name.startswith("NCCL_DEBUG") for name in os.environ):
        return None
    descriptor, name = tempfile.mkstemp(prefix="trnbench-nccl-")
    os.close(descriptor)
    os.environ |= {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT", "NCCL_DEBUG_FILE": name}
    return Path(name)


def nccl_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that decide how NCCL works, but for its log and for paths."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith("NCCL_") and not name.startswith("NCCL_DEBUG") and "/" not in value
    }


def read_transports(log: str) -> dict[str, int] | None:
    """Count the connections in NCCL's log; None where it tells of none.

    Within a machine they are by peer access (P2P) or through the host's memory (SHM), between
    machines by a network, whose plugin is named. Source: NCCL 2.28, src/transport.
    """
    found = Counter(re.findall(r"-> \S+ (?:\[\w+\] )?via (P2P|SHM|NET/\w+)", log))
    return dict(found) or None


def nccl_version() -> str | None:
    """Return the version of NCCL, or of RCCL; None where torch has neither."""
    if not (dist.is_available() and dist.is_nccl_available()):
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))


def _require_fp8(device: torch.device) -> None:
    """Refuse a GPU older than Ada, and AMD's, whose first fp8 formats have another range."""
    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip is not None or capability < FP8_CAPABILITY:
        raise Unavailable(
            f"{torch.cuda.get_device_name(device)} has no fp8 matmuls that torch trains with here",
            hint="use workload.precision: bf16",
        )


class _EventTimer:
    """Two events in the current stream."""

    def __init__(self) -> None:
        self._first = torch.cuda.Event(enable_timing=True)
        self._last = torch.cuda.Event(enable_timing=True)

    def start(self) -> None:
        self._first.record()

    def stop(self) -> None:
        self._last.record()

    def seconds(self) -> float:
        return self._first.elapsed_time(self._last) / 1000  # elapsed_time is in milliseconds
