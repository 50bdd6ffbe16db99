"""The number formats that a precision stands for, in torch's terms."""

import torch

from trnbench.protocol.orders import Precision


def parameter_dtype(precision: Precision) -> torch.dtype:
    """Return the format that weights and gradients are kept in."""
    return torch.bfloat16 if precision in ("pure_bf16", "bf16_master") else torch.float32


def matmul_dtype(precision: Precision) -> torch.dtype:
    """Return the format of matmuls; in fp8 that of those outside the blocks."""
    return torch.float32 if precision == "fp32" else torch.bfloat16


def ceiling_dtypes(precision: Precision) -> tuple[torch.dtype, ...]:
    """Return every format of a step's matmuls: each has a ceiling."""
    whole = matmul_dtype(precision)
    return (whole, torch.float8_e4m3fn) if precision == "fp8" else (whole,)
