"""How a device makes products: what it may choose, in one place for every model and ceiling.

Shapes: B batch, T queries, S keys, N query heads, K key and value heads, H head width.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it

from trnbench.train.layers.grouped import multiply_runs

Multiply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""left @ right, both 2-D and of one type, which is the outcome's too; see `Products.rounds`."""

AddProduct = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]
"""Adds left @ right, both 2-D and of one type, to a tensor of fp32."""

Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""From x, a weight (out, in) and a bias or None to x W^T + b in the type of x, which the other two
are rounded to where theirs is wider."""

MultiplyRuns = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Runs of rows, each by its own matrix, with gradients; as `multiply_runs`."""


class Core(Protocol):
    """The middle of attention: what heads make of each other."""

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        *,
        is_causal: bool = False,
        allowed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the attended values, (B, N, T, H).

        Args:
            q: (B, N, T, H); N must be a multiple of K.
            k: (B, K, S, H).
            v: the same.
            scale: of the scores.
            is_causal: whether query t looks at keys up to t alone.
            allowed: or which keys each query may look at, (B, 1, T, S).
        """
        ...


def fused(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    *,
    is_causal: bool = False,
    allowed: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend by torch's own function, which has a kernel for most devices; see `Core`."""
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=allowed,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Make the product and add it."""
    total.add_(torch.mm(left, right))


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Make a layer's product; see `Product`."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


class Products(NamedTuple):
    """How a device makes products in one type: torch's own way, where nothing else is said."""

    linear: Product = linear
    """Of a layer, with its gradients."""
    multiply: Multiply = torch.mm
    """Of two matrices."""
    rounds: bool = False
    """Whether `multiply` takes a right factor of fp32, and rounds it to the left one's type."""
    add_product: AddProduct = add_product
    """Of two matrices, onto a sum."""
    attention: Core = fused
    """Of queries, keys and values."""
    multiply_runs: MultiplyRuns = multiply_runs
    """Of experts."""
    blocks: Product | None = None
    """Of a layer in a decoder's blocks, where that is another than `linear`."""


PLAIN = Products()
"""All of them torch's own way."""


def linear_by(multiply: Multiply, rounds: bool = False) -> Product:
    """Return a layer's product all three of whose matrix products are made by one function.

    Args:
        multiply: the function.
        rounds: see `Products`.
    """

    def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        factor = weight if rounds else weight.to(x.dtype)
        made: torch.Tensor = _Linear.apply(x.flatten(0, -2), factor, multiply)
        if bias is not None:
            made = made + bias.to(x.dtype)
        return made.unflatten(0, x.shape[:-1])

    return linear


class _Linear(torch.autograd.Function):
    """The three products of a linear layer."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, weight: torch.Tensor, multiply: Multiply
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.multiply = multiply
        return multiply(rows, weight.t())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        of_rows = ctx.multiply(gradient, weight) if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = ctx.multiply(gradient.t(), rows).to(weight.dtype)
        return of_rows, of_weight, None
