"""Clipping by the norm of all gradients, wherever their parts are.

Source: Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013.
"""

import torch
import torch.distributed as dist

from trnbench.train.parallel.mesh import Mesh
from trnbench.train.parallel.parts import Parts


def clip_gradients(parts: Parts, limit: float, mesh: Mesh) -> torch.Tensor:
    """Scale gradients so that their norm over all ranks is at most `limit`; return that norm.

    Squares are summed once over each group whose ranks have different parts, and at last over a
    pipeline's stages, each of which has weights of its own.
    """
    stages = mesh.group("pipeline")
    if stages is None and not any(parts.groups):
        return torch.nn.utils.clip_grad_norm_(parts.parameters, limit)
    square = _square_of_all(parts)
    if stages is not None:
        dist.all_reduce(square, group=stages)
    norm = square.sqrt()
    torch.nn.utils.clip_grads_with_norm_(parts.parameters, limit, norm)
    return norm


def _square_of_all(parts: Parts) -> torch.Tensor:
    """Return the squared norm of all gradients that this rank and its groups have parts of."""
    kinds = list(dict.fromkeys(parts.groups))  # in the order of weights: it is every rank's
    squares = torch.stack([_square_of(parts, kind) for kind in kinds])
    for group in dict.fromkeys(group for kind in kinds for group in kind):
        concerned = [number for number, kind in enumerate(kinds) if group in kind]
        if len(concerned) == len(kinds):
            dist.all_reduce(squares, group=group)
        else:
            some = torch.stack([squares[number] for number in concerned])
            dist.all_reduce(some, group=group)
            for number, summed in zip(concerned, some, strict=True):
                squares[number] = summed
    return squares.sum()


def _square_of(parts: Parts, kind: tuple[dist.ProcessGroup, ...]) -> torch.Tensor:
    """Return the squared norm of the parts that are spread over these groups, in fp32."""
    own = [p for p, groups in zip(parts.parameters, parts.groups, strict=True) if groups == kind]
    gradients = [p.grad for p in own if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=own[0].device)
    norms = torch._foreach_norm(gradients, 2.0, torch.float32)
    return torch.stack(norms).square().sum()
