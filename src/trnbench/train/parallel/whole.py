"""Weights and gradients that ranks share out, as a whole: read, set, summed.

A build of torch without torch.distributed trains on one device: it is imported where it is needed.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trnbench.train.parallel.collectives import summed


def whole_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return all of a tensor; of one that is shared out every rank must call it."""
    shared: Any = tensor
    return shared.full_tensor() if _is_shared(tensor) else tensor


def set_whole(to: torch.Tensor, by: torch.Tensor) -> None:
    """Copy a whole tensor, alike on all ranks, into one that may be shared out."""
    if not _is_shared(to):
        to.copy_(by)
        return
    from torch.distributed.tensor import distribute_tensor

    shared: Any = to
    by = by.to(to.device, to.dtype)
    made = distribute_tensor(by, shared.device_mesh, shared.placements, src_data_rank=None)
    shared.to_local().copy_(made.to_local())


def sum_parts(parameters: Iterable[nn.Parameter]) -> None:
    """Sum the gradients of which each rank has a part, all in one collective.

    Clipping and AdamW would else sum them one after the other, each of them anew.
    """
    split = [p for p in parameters if _is_part(p.grad)]
    if not split:
        return
    from torch.distributed.tensor import DTensor, Replicate

    gradients: list[Any] = [p.grad for p in split]
    mesh = gradients[0].device_mesh
    parts = [gradient.to_local() for gradient in gradients]
    flat = summed(torch.cat([part.flatten() for part in parts]), mesh.get_group())
    wholes = flat.split([part.numel() for part in parts])
    for parameter, part, whole in zip(split, parts, wholes, strict=True):
        parameter.grad = DTensor.from_local(whole.view_as(part), mesh, [Replicate()])


def _is_shared(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def _is_part(gradient: Any) -> bool:
    placements: Any = getattr(gradient, "placements", ())
    return len(placements) == 1 and bool(placements[0].is_partial())
