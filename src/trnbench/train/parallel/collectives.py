"""Collectives as functions of a tensor, which torch's compiler can trace."""

from typing import Any

import torch
import torch.distributed._functional_collectives as functional
from torch.distributed import ProcessGroup

# The first names are torch 2.13's, which warns of the others.
_ALL_GATHER: Any = getattr(functional, "all_gather_single", None) or functional.all_gather_tensor
_REDUCE_SCATTER: Any = (
    getattr(functional, "reduce_scatter_single", None) or functional.reduce_scatter_tensor
)


def gathered(part: torch.Tensor, dimension: int, group: ProcessGroup) -> torch.Tensor:
    """Return the parts of all ranks, joined along a dimension in the order of ranks."""
    made: torch.Tensor = functional.wait_tensor(_ALL_GATHER(part.contiguous(), dimension, group))
    return made


def scattered(whole: torch.Tensor, dimension: int, group: ProcessGroup) -> torch.Tensor:
    """Return this rank's part, along a dimension, of the sum over ranks."""
    made: torch.Tensor = functional.wait_tensor(
        _REDUCE_SCATTER(whole.contiguous(), "sum", dimension, group)
    )
    return made


def summed(x: torch.Tensor, group: ProcessGroup) -> torch.Tensor:
    """Return the sum over ranks."""
    made: torch.Tensor = functional.wait_tensor(functional.all_reduce(x.contiguous(), "sum", group))
    return made
