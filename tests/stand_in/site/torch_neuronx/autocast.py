"""Which ops run in which type under autocast: CUDA's conventions, as the native device has them."""

from collections.abc import Callable
from typing import Any

import torch
from torch._C import DispatchKey, DispatchKeySet

from torch_neuronx.device import NAME

KEY = "AutocastPrivateUse1"

_LOW = (
    "mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv", "matmul", "linear", "einsum",
    "conv1d", "conv2d", "conv3d", "scaled_dot_product_attention",
)  # fmt: skip
"""Products: in autocast's type."""

_FULL = (
    "layer_norm", "native_layer_norm", "group_norm", "rms_norm", "softmax.int", "log_softmax.int",
    "cross_entropy_loss", "nll_loss", "nll_loss_nd", "mse_loss", "l1_loss", "logsumexp",
    "cumsum", "cumprod", "prod", "prod.dim_int", "sum", "sum.dim_IntList", "norm.Scalar",
    "exp", "log", "log2", "log1p", "expm1", "reciprocal", "rsqrt", "softplus",
    "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar",
)  # fmt: skip
"""Sums and what loses by rounding: in float32."""

_OFF = DispatchKeySet(getattr(DispatchKey, KEY))


def register(aten: torch.library.Library) -> None:
    """Register the casts."""
    for names, dtype in ((_LOW, None), (_FULL, torch.float32)):
        for name in names:
            packet, _, overload = name.partition(".")
            op = getattr(getattr(torch.ops.aten, packet), overload or "default")
            aten.impl(op, _casting(op, dtype), KEY)


def _casting(op: Any, dtype: torch.dtype | None) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        wanted = dtype or torch.get_autocast_dtype(NAME)
        with torch._C._ExcludeDispatchKeyGuard(_OFF):
            return op(
                *(_cast(argument, wanted) for argument in arguments),
                **{name: _cast(argument, wanted) for name, argument in named.items()},
            )

    return run


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_cast(part, dtype) for part in value)
    if not isinstance(value, torch.Tensor) or value.device.type != NAME:
        return value
    is_castable = value.is_floating_point() and value.dtype != torch.float64
    return value.to(dtype) if is_castable else value
