"""Data parallelism: which sequences a rank is given, and how gradients become those of all ranks.

Replicas (DDP) each hold the whole state and average their gradients while the backward pass runs.
Sharded ranks (FSDP2) each hold a part of every weight, gather a block's before it runs, and keep
their part of the averaged gradients; shards in replicas (HSDP) do both. In a step of several passes
replicas average once, in the last; shards in every pass, since a whole gradient kept from one pass
to the next would take a whole model's memory.

Source: Li et al., "PyTorch Distributed", VLDB 2020, sections 3.2.2 and 3.2.4; Zhao et al., "PyTorch
FSDP", VLDB 2023.
"""

import contextlib
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trnbench.protocol.orders import Recompute, WorkOrder
from trnbench.train.backends.base import Backend
from trnbench.train.models.base import Model, recomputed
from trnbench.train.objective import Objective, Trainable
from trnbench.train.parallel.mesh import Mesh
from trnbench.train.precision import matmul_dtype, parameter_dtype

Moved = dict[torch.Tensor, Any]
"""Tensors that were on the CPU, and what they are on the device."""

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


def shard_state(objective: Trainable, order: WorkOrder, mesh: Mesh, device: torch.device) -> None:
    """Leave a part of each weight on this rank: of block after block, then of the rest.

    Weights may be on the CPU or on torch's meta device; a block's are moved as it is sharded.
    """
    if mesh.layout.state_shards == 1:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy()
    if matmul_dtype(order.precision) != parameter_dtype(order.precision):
        # Half of the bytes to gather; sums over ranks stay in fp32.
        policy = MixedPrecisionPolicy(
            param_dtype=matmul_dtype(order.precision), reduce_dtype=torch.float32
        )
    # Ranks that have parts of one sequence average their gradients as those of other sequences do.
    dimensions = [
        name for name in (mesh.joined("replicate"), mesh.joined("shard", "context")) if name
    ]
    options: dict[str, Any] = {"mesh": mesh.named(*dimensions), "mp_policy": policy}
    moved: Moved = {}
    for block in blocks_of(objective.model):
        move_states(block, device, moved)
        fully_shard(block, reshard_after_forward=mesh.layout.reshard_after_forward, **options)
    move_states(objective, device, moved)
    # What the objective itself has is needed at both ends of a pass: it stays gathered between.
    for root in roots_of(objective):
        fully_shard(root, reshard_after_forward=False, **options)


def move_states(module: nn.Module, device: torch.device, moved: Moved) -> None:
    """Move what is on the CPU to the device; a weight that is in two places stays one.

    `fully_shard` would move a weight in place, which torch can do for some devices alone.
    """
    for each in module.modules():
        for kept in (each._parameters, each._buffers):
            for name, tensor in kept.items():
                if tensor is None or tensor.device.type != "cpu" or device.type == "cpu":
                    continue
                if tensor not in moved:
                    there = tensor.detach().to(device)
                    is_weight = isinstance(tensor, nn.Parameter)
                    moved[tensor] = (
                        nn.Parameter(there, tensor.requires_grad) if is_weight else there
                    )
                kept[name] = moved[tensor]


def roots_of(objective: Trainable) -> list[nn.Module]:
    """Return the modules that a step calls: the objective, or the stages of a pipeline."""
    stages = objective.stages if isinstance(objective, Objective) else None
    return list(stages) if stages else [objective]


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the modules that are sharded one by one: the blocks, of an external model its own.

    Those are of the classes that transformers names as never split, or the members of the module
    lists that are in no other; but none with a weight that another module has too.
    """
    if isinstance(model, Model):
        return [block for block in model.blocks if _has_weights(block)]
    named = set(getattr(model, "_no_split_modules", None) or ())
    found = [module for module in model.modules() if type(module).__name__ in named]
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not found:
        inner = {id(each) for outer in lists for each in outer.modules() if each is not outer}
        found = [block for each in lists if id(each) not in inner for block in each]
    within = {id(each) for module in found for each in module.modules() if each is not module}
    tied = _tied_weights(model)
    return [
        module
        for module in found
        if id(module) not in within
        and _has_weights(module)
        and tied.isdisjoint(map(id, module.parameters()))
    ]


def _tied_weights(model: nn.Module) -> set[int]:
    """Return the weights that two modules have: FSDP2 wants one group for both, the root's."""
    names = Counter(id(each) for _, each in model.named_parameters(remove_duplicate=False))
    return {each for each, count in names.items() if count > 1}


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def share_gradients(
    objective: nn.Module, order: WorkOrder, backend: Backend, mesh: Mesh
) -> nn.Module:
    """Return what a step calls instead of the objective, so that gradients are those of all ranks.

    A model whose state is sharded needs nothing more: its gradients are reduced to shards. Of one
    that is split itself they are averaged after the last pass.
    """
    group = mesh.group("replicate")
    if group is None or mesh.layout.state_shards > 1 or _is_split(mesh):
        return objective
    constants: dict[str, Any] = {_BUFFERS: False}  # they are the same on every rank
    made: nn.Module = DistributedDataParallel(
        objective,
        process_group=group,
        gradient_as_bucket_view=True,
        # A user's module may leave weights out of a step, and all ranks would wait for them.
        find_unused_parameters=backend.finds_unused_weights and order.external is not None,
        **constants,
    )
    return made


def averaging_group(mesh: Mesh) -> "dist.ProcessGroup | None":
    """Return the ranks over which gradients are averaged after the last pass; None: earlier.

    DDP does not take weights of which ranks have parts, and knows no stages.
    """
    if mesh.layout.state_shards > 1 or not _is_split(mesh):
        return None
    return mesh.group("replicate")


def _is_split(mesh: Mesh) -> bool:
    return mesh.size("tensor") > 1 or mesh.size("pipeline") > 1


def compiled_part(order: WorkOrder) -> str | None:
    """Return what `execution: compile` compiles as one graph, for the record; None if nothing.

    A sharded model's blocks are compiled one by one: between them weights are gathered. So are
    those of a pipeline, whose stages are several modules, and those of tensor ranks that recompute:
    torch 2.13 cannot compile what is recomputed with the weights' mesh in it.
    """
    if order.execution != "compile":
        return None
    layout = order.layout
    is_in_blocks = layout.state_shards > 1 or layout.pipeline_parallel_size > 1
    return "block" if is_in_blocks or _recomputes_outside(order) else "model"


def _recomputes_outside(order: WorkOrder) -> bool:
    return order.layout.tensor_parallel_size > 1 and order.step.recompute != "none"


def prepare(module: nn.Module, order: WorkOrder, backend: Backend) -> Callable[..., Any]:
    """Return what a step calls: the module itself, or compiled as `compiled_part` says."""
    if compiled_part(order) != "block":
        return backend.prepare(module)
    model = module.model if isinstance(module, Trainable) else module
    recompute: Recompute = "none"
    if isinstance(model, Model) and not _recomputes_outside(order):
        # Within what is compiled.
        recompute, model.blocks.recompute = model.blocks.recompute, "none"
    for block in blocks_of(model):
        # The forward function alone: gathering weights is outside, in the module's hooks.
        block.forward = backend.prepare(_recomputing(block.forward, recompute))
    return module


def _recomputing(run: Callable[..., Any], recompute: Recompute) -> Callable[..., Any]:
    if recompute == "none":
        return run
    return lambda *inputs: recomputed(run, recompute, *inputs)


def sharing(module: nn.Module, *, is_last: bool) -> contextlib.AbstractContextManager[None]:
    """Return the context of one pass, forward and backward; gradients are averaged in the last."""
    if isinstance(module, DistributedDataParallel) and not is_last:
        return module.no_sync()
    postpone = getattr(module, "set_requires_all_reduce", None)
    if postpone is not None:
        # Gradients go to their shards in every pass: else each rank would hold all of them, in
        # fp32, between passes. Only the average over replicas (HSDP) can wait.
        postpone(is_last)
    return contextlib.nullcontext()
