"""Collectives as functions of a tensor, which torch's compiler can trace."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING or torch.distributed.is_available():
    import torch.distributed._functional_collectives as functional
    from torch.distributed import ProcessGroup

    # The first names are torch 2.13's, which warns of the others.
    _all_gather: Any = getattr(functional, "all_gather_single", None)
    _all_gather = _all_gather or functional.all_gather_tensor
    _reduce_scatter: Any = getattr(functional, "reduce_scatter_single", None)
    _reduce_scatter = _reduce_scatter or functional.reduce_scatter_tensor


def gathered(part: torch.Tensor, dimension: int, group: "ProcessGroup") -> torch.Tensor:
    """Return the parts of all ranks, joined along a dimension in the order of ranks."""
    made: torch.Tensor = functional.wait_tensor(_all_gather(part.contiguous(), dimension, group))
    return made


def scattered(whole: torch.Tensor, dimension: int, group: "ProcessGroup") -> torch.Tensor:
    """Return this rank's part, along a dimension, of the sum over ranks."""
    made: torch.Tensor = functional.wait_tensor(
        _reduce_scatter(whole.contiguous(), "sum", dimension, group)
    )
    return made


def summed(x: torch.Tensor, group: "ProcessGroup") -> torch.Tensor:
    """Return the sum over ranks."""
    made: torch.Tensor = functional.wait_tensor(functional.all_reduce(x.contiguous(), "sum", group))
    return made


class Gather(torch.autograd.Function):
    """`gathered`, whose gradients are summed over ranks and shared out."""

    @staticmethod
    def forward(
        ctx: Any, part: torch.Tensor, dimension: int, group: "ProcessGroup"
    ) -> torch.Tensor:
        """Return the parts of all ranks."""
        ctx.dimension, ctx.group = dimension, group
        return gathered(part, dimension, group)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Return the gradient of this rank's part."""
        return scattered(gradient, ctx.dimension, ctx.group), None, None
