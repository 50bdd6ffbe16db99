"""Matmuls in fp8: values in e4m3, gradients in e5m2, one scale for each tensor of each matmul.

e4m3 has the finer steps and e5m2 the wider range, which gradients need. A scale brings a tensor's
largest value to the largest that its format has, and is found anew each time: nothing is carried
over from step to step. Sums are fp32, and what comes out is of the type that went in.

Source: Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433; dynamic scaling by
tensor, and fast sums in the forward matmul alone, as torchao's `float8` does by default.
"""

from typing import Any, NamedTuple

import torch

VALUES, GRADIENTS = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16
"""What every edge of a matmul must be a multiple of. Source: PyTorch, `_scaled_mm`'s checks."""
LEAST = 1e-12
"""The smallest largest value that a scale is made of: a tensor of zeros has a scale too."""


class Scaled(NamedTuple):
    """A tensor in fp8, and what to multiply it by: its own values come out."""

    values: torch.Tensor
    scale: torch.Tensor
    """One number in fp32."""

    def t(self) -> "Scaled":
        """Return the transpose, which lies in memory as a matmul takes it."""
        return Scaled(self.values.t().contiguous(), self.scale)


def to_fp8(values: torch.Tensor, dtype: torch.dtype = VALUES) -> Scaled:
    """Return a tensor in fp8, its largest value at the format's end."""
    most = torch.finfo(dtype).max
    scale = values.detach().abs().amax().float().clamp(min=LEAST) / most
    # fp8 has no infinity to round to in e4m3: what a rounding lifts above the end is NaN.
    inside = (values.float() / scale).clamp(-most, most)
    return Scaled(inside.to(dtype), scale)


def multiply(
    left: Scaled, right_transposed: Scaled, dtype: torch.dtype, is_fast: bool = False
) -> torch.Tensor:
    """Return left @ right in `dtype`, of (M, K) and, transposed, (N, K): kernels read along K.

    `is_fast` keeps partial sums in fewer bits than fp32, where a chip has both.
    """
    made: torch.Tensor = torch._scaled_mm(
        left.values,
        right_transposed.values.t(),
        scale_a=left.scale,
        scale_b=right_transposed.scale,
        out_dtype=dtype,
        use_fast_accum=is_fast,
    )
    return made


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return x W^T + b; x is (..., in), the weight (out, in), all edges multiples of 16."""
    made: torch.Tensor = _Linear.apply(x.flatten(0, -2), weight.to(x.dtype))
    if bias is not None:
        made = made + bias.to(x.dtype)
    return made.unflatten(0, x.shape[:-1])


class _Linear(torch.autograd.Function):
    """The three matmuls of a linear layer; what is kept is kept in fp8."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        scaled, scaled_weight = to_fp8(rows), to_fp8(weight)
        ctx.save_for_backward(*scaled, *scaled_weight)
        return multiply(scaled, scaled_weight, rows.dtype, is_fast=True)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, scale, weight_values, weight_scale = ctx.saved_tensors
        rows, weight = Scaled(values, scale), Scaled(weight_values, weight_scale)
        scaled = to_fp8(gradient.contiguous(), GRADIENTS)
        of_rows = multiply(scaled, weight.t(), gradient.dtype) if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = multiply(scaled.t(), rows.t(), gradient.dtype)
        return of_rows, of_weight
