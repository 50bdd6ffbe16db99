"""The number formats that a precision stands for, in torch's terms."""

import contextlib

import torch

from trnbench.protocol.orders import Precision


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[None]:
    """Return the context in which forward passes run: bf16 matmuls over fp32 weights, or none."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def parameter_dtype(precision: Precision) -> torch.dtype:
    """Return the type that weights and gradients are kept in."""
    return torch.bfloat16 if precision in ("pure_bf16", "bf16_master") else torch.float32


def matmul_dtype(precision: Precision) -> torch.dtype:
    """Return the type that matmuls are made in, outside the blocks where those are fp8."""
    return torch.float32 if precision == "fp32" else torch.bfloat16


def ceiling_dtypes(precision: Precision) -> tuple[torch.dtype, ...]:
    """Return every type that matmuls are made in: a ceiling is one of each."""
    whole = matmul_dtype(precision)
    return (whole, torch.float8_e4m3fn) if precision == "fp8" else (whole,)
