"""A weight that is spread over ranks: this rank's part, writing it, and gathering the whole.

torch keeps such a weight as a `DTensor`, which knows its place in the whole. What is done once a
step to all weights (clipping, AdamW) is done to plain tensors that share the parts' memory: that
costs no dispatch of DTensors, and every implementation of torch takes them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from trnbench.train.parallel.collectives import summed

BUCKET_BYTES = 2**25
"""Of gradients that are averaged by one collective: DDP's own buckets have 25 MiB."""


def is_spread(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is a `DTensor`, without importing their module."""
    return hasattr(tensor, "placements")


def local_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of a tensor, which shares its memory; a plain one as it is."""
    part: torch.Tensor = tensor.detach()
    return part.to_local() if is_spread(part) else part  # type: ignore[attr-defined]


def whole_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return all of a tensor; of one that is spread, every rank must ask."""
    whole: torch.Tensor = tensor.detach()
    return whole.full_tensor() if is_spread(whole) else whole  # type: ignore[attr-defined]


@torch.no_grad()
def put_whole(parameter: torch.Tensor, whole: torch.Tensor) -> None:
    """Copy this rank's part of a whole tensor, which every rank has, into a parameter."""
    if not is_spread(parameter):
        parameter.copy_(whole)
        return
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sizes, offsets = compute_local_shape_and_global_offset(
        parameter.shape,
        parameter.device_mesh,  # type: ignore[attr-defined]
        parameter.placements,  # type: ignore[attr-defined]
    )
    for axis, (size, offset) in enumerate(zip(sizes, offsets, strict=True)):
        whole = whole.narrow(axis, min(offset, whole.shape[axis]), size)
    local_of(parameter).copy_(whole)


def groups_of(parameter: torch.Tensor) -> "tuple[dist.ProcessGroup, ...]":
    """Return the groups whose ranks have different parts of a parameter."""
    if not is_spread(parameter):
        return ()
    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    return tuple(
        mesh.get_group(dimension)
        for dimension, placement in enumerate(placements)
        if not placement.is_replicate()
    )


def _is_partial(gradient: torch.Tensor) -> bool:
    placements: Any = getattr(gradient, "placements", ())
    return len(placements) == 1 and bool(placements[0].is_partial())


@torch.no_grad()
def average(tensors: Sequence[torch.Tensor], group: "dist.ProcessGroup") -> None:
    """Average tensors over ranks, in place, as many at a time as `BUCKET_BYTES` hold."""
    waiting = list(tensors)
    while waiting:
        taken = [waiting.pop(0)]
        while waiting and waiting[0].dtype == taken[0].dtype:
            if sum(each.nbytes for each in (*taken, waiting[0])) > BUCKET_BYTES:
                break
            taken.append(waiting.pop(0))
        flat = torch.cat([each.flatten() for each in taken]) if len(taken) > 1 else taken[0]
        dist.all_reduce(flat, group=group)
        flat /= group.size()
        if len(taken) > 1:
            for each, mean in zip(taken, flat.split([t.numel() for t in taken]), strict=True):
                each.copy_(mean.view_as(each))


class Parts:
    """This rank's parts of the weights that are trained, as plain parameters."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        averaged_over: "dist.ProcessGroup | None" = None,
    ) -> None:
        self._wholes = list(parameters)
        self._averaged_over = averaged_over
        """Ranks that have the same parts, and whose gradients are averaged after the last pass."""
        self._are_spread = any(map(is_spread, self._wholes))
        self.parameters = [nn.Parameter(local_of(p)) if is_spread(p) else p for p in self._wholes]
        """Of plain weights these are the weights themselves."""
        self.groups = [groups_of(p) for p in self._wholes]
        """Of each, whose ranks have different parts of it."""

    def sum_gradients(self) -> None:
        """Make the gradients those of all ranks, where the backward pass has not."""
        self._sum_parts()
        if self._averaged_over is not None:
            gradients = [local_of(p.grad) for p in self._wholes if p.grad is not None]
            average(gradients, self._averaged_over)

    def _sum_parts(self) -> None:
        """Sum the gradients of which each rank has a part, all in one collective.

        Clipping and AdamW would else sum them one after the other, each of them anew.
        """
        split = [p for p in self._wholes if p.grad is not None and _is_partial(p.grad)]
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

    def take_gradients(self) -> None:
        """Give each part the gradient of its weight."""
        if self._are_spread:
            for whole, part in zip(self._wholes, self.parameters, strict=True):
                part.grad = None if whole.grad is None else local_of(whole.grad)

    def drop_gradients(self) -> None:
        """Free the gradients of the weights."""
        for whole in self._wholes:
            whole.grad = None
