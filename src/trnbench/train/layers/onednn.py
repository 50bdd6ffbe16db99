"""fp32 products by oneDNN, where torch's own choice was made for another maker's processor.

torch's own wheels make fp32 products by Intel's MKL, which gives other processors its older
kernels: on an AMD EPYC of 2025 they fall behind oneDNN's, which torch has beside it and takes for
bf16. The sums are fp32 all the same: no operand is rounded.
"""

from typing import Any

import torch

_PRODUCT = "mkldnn::_linear_pointwise"
"""What torch's compiler makes of a linear layer on a CPU; not public, so it is looked for."""


def has_onednn() -> bool:
    """Tell whether this torch has oneDNN's product."""
    if not torch.backends.mkldnn.is_available():
        return False
    namespace, _, name = _PRODUCT.partition("::")
    return hasattr(getattr(torch.ops, namespace), name)


@torch.library.custom_op("trnbench::product", mutates_args=())
def multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return left @ right, both 2-D in fp32."""
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return made


@multiply.register_fake
def _(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left.new_empty(left.shape[0], right.shape[1])


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return x W^T + b; x is (..., in), the weight (out, in)."""
    if x.dtype != torch.float32:
        return torch.nn.functional.linear(x, weight, bias)
    rows = x.flatten(0, -2)
    made: torch.Tensor = _Linear.apply(rows, weight)
    if bias is not None:
        made = made + bias
    return made.unflatten(0, x.shape[:-1])


class _Linear(torch.autograd.Function):
    """The three products of a linear layer."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, weight)
        made: torch.Tensor = multiply(rows, weight.t())
        return made

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        of_rows = multiply(gradient, weight) if ctx.needs_input_grad[0] else None
        of_weight = multiply(gradient.t(), rows) if ctx.needs_input_grad[1] else None
        return of_rows, of_weight
