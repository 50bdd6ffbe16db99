"""The CPU: always there and synchronous; its memory is that of the process.

With bf16 instructions it attends in bf16 by plain matmuls: torch's fused kernel computes its
backward matmuls one small tile at a time. For long sequences the scores need too much memory, and
the fused kernel is faster. Measured: docs/decisions/0024.

Shapes: B batch, T queries, S keys, N query heads, K key heads, G = N / K, H head width.
"""

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from trnbench.protocol.orders import AdamW
from trnbench.protocol.records import FailureReason, FoundDevice
from trnbench.train.backends.base import Backend, Claim, Unavailable
from trnbench.train.layers.attention import AttentionCore, fused_attention
from trnbench.train.software import find_processor, proc_field, processor_name

_CLEAR_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_CPUINFO = Path("/proc/cpuinfo")

BF16_FEATURES = ("amx_bf16", "avx512_bf16", "bf16")
"""As in /proc/cpuinfo, best first; the last is Arm's. Without them torch emulates bf16 matmuls."""

LONGEST = 1024
"""Keys up to which attention is by plain matmuls."""


_MALLOC_OPTIONS = ((-1, 2**31 - 1), (-3, 2**25))
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, both at their largest.

Source: mallopt(3), Linux man-pages 6.9; the numbers are glibc's `malloc.h`."""


class CpuBackend(Backend):
    """Trains on the processor's cores."""

    name: ClassVar[str] = "cpu"
    is_asynchronous: ClassVar[bool] = False
    is_proven: ClassVar[bool] = True
    adamw: ClassVar[AdamW] = "fused"
    ceiling_sizes: ClassVar[tuple[int, ...]] = (512, 1024, 2048)
    is_shared: ClassVar[bool] = True
    process_group: ClassVar[str | None] = "gloo"

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Return the processor."""
        return find_processor()

    @classmethod
    def index_of(cls, first: int | None, local_rank: int) -> int | None:
        """Return None: all ranks are on the processor."""
        return None

    @classmethod
    def open(cls, claim: Claim) -> Self:
        """Set the threads, and fp32 matmuls to full fp32."""
        if claim.index:
            raise Unavailable(
                f"device cpu:{claim.index} is not here: the processor is one device",
                hint="use `--device cpu`; workload.threads sets how much of it",
            )
        if claim.threads is not None:
            torch.set_num_threads(claim.threads)
        keep_freed_memory()
        return super().open(claim)

    def _device(self, index: int | None) -> torch.device:
        return torch.device("cpu")

    def device_name(self) -> str:
        """Return the processor's model name."""
        return processor_name()

    def device_id(self) -> str | None:
        """Return None: ranks share the processor."""
        return None

    def reset_peak_memory(self) -> None:
        """Reset the process's peak on Linux; elsewhere the peak is since its start."""
        with contextlib.suppress(OSError):  # not Linux, or a container that forbids it
            _CLEAR_PEAK.write_text("5")

    def peak_memory_bytes(self) -> tuple[int | None, str]:
        """Return the peak resident set of the process, what the allocator keeps included."""
        return _peak_resident_bytes(_STATUS), "process_rss"

    def attention_core(self, dtype: torch.dtype) -> AttentionCore:
        """Attend by plain matmuls in bf16, where the processor has instructions for it."""
        has_bf16 = _bf16_feature() in BF16_FEATURES
        return math_attention if dtype == torch.bfloat16 and has_bf16 else fused_attention

    def settings(self) -> Mapping[str, str]:
        """Return the threads, where they may run, and the instructions that they have."""
        return {
            **super().settings(),
            "threads": str(torch.get_num_threads()),
            "affinity": _affinity(),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "bf16_instructions": _bf16_feature(),
        }

    def explain(self, error: BaseException) -> tuple[FailureReason, str] | None:
        """Return the meaning of an error, the CPU allocator's included."""
        if "can't allocate memory" in str(error):
            return "out_of_memory", "the machine has not enough memory for this model and batch"
        return super().explain(error)


def math_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    *,
    is_causal: bool = False,
    allowed: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend to few keys by plain matmuls, to many by torch's kernel; an `AttentionCore`.

    Scores are rounded to bf16, as in eager attention.
    """
    if k.shape[2] > LONGEST:
        return fused_attention(q, k, v, scale, is_causal=is_causal, allowed=allowed)
    groups = q.shape[1] // k.shape[1]
    bias = None
    if is_causal:
        allowed = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    if allowed is not None:
        bias = torch.zeros_like(allowed, dtype=q.dtype).masked_fill_(~allowed, float("-inf"))
    if groups > 1:
        # Queries that share a key head become more rows of one matmul: no key is copied.
        q = q.unflatten(1, (-1, groups)).flatten(2, 3)
        bias = None if bias is None else bias.repeat(*(1,) * (bias.ndim - 2), groups, 1)
    mixed: torch.Tensor = _Attention.apply(q, k, v, scale, bias)
    return mixed.unflatten(2, (groups, -1)).flatten(1, 2) if groups > 1 else mixed


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        scores = torch.matmul(q * scale, k.transpose(-1, -2))
        if bias is not None:
            scores.add_(bias)
        shares = torch.softmax(scores, -1)  # on a CPU its sums are fp32 whatever the type
        ctx.save_for_backward(q, k, v, shares)
        ctx.scale = scale
        return torch.matmul(shares, v)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, shares = ctx.saved_tensors
        of_v = torch.matmul(shares.transpose(-1, -2), gradient)
        of_shares = torch.matmul(gradient, v.transpose(-1, -2))
        of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)
        of_q = torch.matmul(of_scores, k).mul_(ctx.scale)
        of_k = torch.matmul(of_scores.transpose(-1, -2), q).mul_(ctx.scale)
        return of_q, of_k, of_v, None, None


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory; False where the C library is another.

    Each step frees and allocates the same large blocks; given back in between, their pages would be
    cleared again by the kernel.
    """
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(option, value) for option, value in _MALLOC_OPTIONS])


def _affinity() -> str:
    if not hasattr(os, "sched_getaffinity"):
        return "unknown to this system"
    numbers = sorted(os.sched_getaffinity(0))
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    pairs = zip(starts, ends, strict=True)
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)


def _bf16_feature() -> str:
    """Return the best bf16 instructions that the processor has, `none`, or `unknown`."""
    if not _CPUINFO.exists():
        return "unknown"  # not Linux
    of_first_core = proc_field(_CPUINFO, "flags") or proc_field(_CPUINFO, "Features") or ""
    return next((name for name in BF16_FEATURES if name in of_first_core.split()), "none")


def _peak_resident_bytes(status: Path) -> int:
    """Return the peak since the last reset, as Linux has it, else since the process began."""
    kibibytes = proc_field(status, "VmHWM")
    if kibibytes is not None:
        return int(kibibytes.split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
