"""Matmuls in fp8: values in e4m3, gradients in e5m2, one scale for each tensor of each matmul.

e4m3 has the finer steps and e5m2 the wider range, which gradients need. A scale maps a tensor's
largest value to the largest of its format, and is computed for each matmul anew. Sums are fp32; the
outcome has the format of the input.

Source: Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433; dynamic scaling by
tensor, and fast sums in the forward matmul alone, as torchao's `float8` does by default.
"""

from typing import Any, NamedTuple

import torch

VALUES, GRADIENTS = torch.float8_e4m3fn, torch.float8_e5m2
LEAST = 1e-12
"""A tensor's largest value counts as this at least: zeros have a scale too."""


class Scaled(NamedTuple):
    """A tensor in fp8, and the factor that restores its values."""

    values: torch.Tensor
    scale: torch.Tensor
    """One number in fp32."""

    def t(self) -> "Scaled":
        """Return the transpose, contiguous, as `multiply` takes it."""
        return Scaled(self.values.t().contiguous(), self.scale)


def to_fp8(values: torch.Tensor, dtype: torch.dtype = VALUES) -> Scaled:
    """Return a tensor in fp8, its largest value at the format's largest."""
    most = torch.finfo(dtype).max
    scale = values.detach().abs().amax().float().clamp(min=LEAST) / most
    # e4m3 has no infinity: what is rounded to above its largest would be NaN.
    inside = (values.float() / scale).clamp(-most, most)
    return Scaled(inside.to(dtype), scale)


def multiply(
    left: Scaled, right_transposed: Scaled, dtype: torch.dtype, is_fast: bool = False
) -> torch.Tensor:
    """Return left @ right in `dtype`, of (M, K) and, transposed, (N, K): kernels read along K.

    `is_fast`: partial sums have fewer bits than fp32, where a chip has both.
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
    """Return x W^T + b; a `LinearFunction` whose edges are multiples of 16.

    Source: PyTorch, `_scaled_mm`'s checks.
    """
    made: torch.Tensor = _Linear.apply(x.flatten(0, -2), weight.to(x.dtype))
    if bias is not None:
        made = made + bias.to(x.dtype)
    return made.unflatten(0, x.shape[:-1])


class _Linear(torch.autograd.Function):
    """The three matmuls of a linear layer; it keeps its operands in fp8."""

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
