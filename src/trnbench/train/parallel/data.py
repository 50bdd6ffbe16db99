"""Data parallelism: which sequences a rank is given, and how gradients become those of all ranks.

Replicas (DDP) each hold the whole state and average their gradients while the backward pass runs.
In a step of several passes that happens once, in the last.

Source: Li et al., "PyTorch Distributed", VLDB 2020, sections 3.2.2 and 3.2.4.
"""

import contextlib
import inspect
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trnbench.protocol.orders import WorkOrder
from trnbench.train.parallel.mesh import Mesh

_BUFFERS = (
    "forward_sync_buffers"  # since torch 2.13, where the old name warns
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers"
)


def sequence_numbers(order: WorkOrder, mesh: Mesh, step: int) -> torch.Tensor:
    """Return the numbers of the sequences that this rank is given in a step, pass after pass.

    Pass p of data-parallel rank r of D takes those from ((step x passes + p) x D + r) x micro on:
    so D ranks of one pass each see what one rank with D passes sees.
    """
    passes, micro = order.gradient_accumulation_steps, order.micro_batch_size
    ranks = mesh.layout.data_parallel_size
    turns = torch.arange(step * passes, (step + 1) * passes) * ranks + mesh.data_index
    return (turns[:, None] * micro + torch.arange(micro)).flatten()


def share_gradients(objective: nn.Module, order: WorkOrder, mesh: Mesh) -> nn.Module:
    """Return what a step calls instead of the objective, so that gradients are those of all ranks.

    A model whose state is sharded needs nothing more: its gradients are reduced to shards.
    """
    if mesh.size("replicate") == 1 or mesh.size("shard") > 1:
        return objective
    constants: dict[str, Any] = {_BUFFERS: False}  # they are the same on every rank
    made: nn.Module = DistributedDataParallel(
        objective,
        process_group=mesh.group("replicate"),
        gradient_as_bucket_view=True,
        # A user's module may leave weights out of a step, and all ranks would wait for them.
        find_unused_parameters=order.external is not None,
        **constants,
    )
    return made


def sharing(module: nn.Module, *, is_last: bool) -> contextlib.AbstractContextManager[None]:
    """Return the context of one pass, forward and backward; gradients are shared in the last."""
    if isinstance(module, DistributedDataParallel) and not is_last:
        return module.no_sync()
    return contextlib.nullcontext()
