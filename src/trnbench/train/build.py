"""From an order to what is trained: the model on its device, in its number formats, with its loss.

First a model is built on the CPU in fp32, so that its weights are the same for every device; then
it is brought to the device and set to the order's precision and recomputation. Of several ranks
each leaves its own part of it there.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from trnbench.protocol.orders import WorkOrder
from trnbench.protocol.parallel import AXES
from trnbench.train.backends.base import Backend
from trnbench.train.data import Stream, stream_of
from trnbench.train.external import ExternalObjective, build_external
from trnbench.train.external import is_tied as is_external_tied
from trnbench.train.layers import fp8
from trnbench.train.layers.attention import use_core
from trnbench.train.layers.linear import use_linear
from trnbench.train.models import build_model, draw_weights, make_model
from trnbench.train.models.base import Model
from trnbench.train.objective import Objective, Trainable
from trnbench.train.parallel.data import shard_state
from trnbench.train.parallel.mesh import ALONE_MESH, Mesh
from trnbench.train.parallel.split import split
from trnbench.train.precision import matmul_dtype, parameter_dtype


def build_objective(order: WorkOrder, backend: Backend, mesh: Mesh = ALONE_MESH) -> Trainable:
    """Build the order's model and its loss on the device, or this rank's part of it.

    A model that is shared out is never whole: neither on the device, nor on the host, where every
    rank would hold one. It is laid out without memory, and filled weight by weight.
    """
    if order.external is not None:
        return fit(build_external(order.external, order.seed), order, backend, mesh)
    if all(mesh.size(axis) == 1 for axis in AXES if axis != "replicate"):
        model = build_model(order.own_shape, order.sequence_length, order.seed, order.step)
        return fit(model, order, backend, mesh)
    with without_memory():
        model = make_model(order.own_shape, order.sequence_length, order.step)
    sizes = {name: parameter.shape for name, parameter in model.named_parameters()}
    objective = fit(model, order, backend, mesh)
    _fill(objective, backend.device)
    draw_weights(model, order.seed, sizes)
    return objective


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """Put weights of new modules on torch's meta device; buffers, which are computed, stay."""

    def to_meta(_: nn.Module, __: str, parameter: nn.Parameter | None) -> Any:
        if parameter is None or parameter.is_meta:
            return None
        return nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    handle = register_module_parameter_registration_hook(to_meta)
    try:
        yield
    finally:
        handle.remove()


def _fill(objective: nn.Module, device: torch.device) -> None:
    """Give weights on the meta device memory on the device; buffers keep their values.

    The whole objective at once: where torch pads a part, it does so before anything refers to it.
    """
    values = dict(objective.named_buffers())
    objective.to_empty(device=device)
    for name, buffer in objective.named_buffers():
        buffer.copy_(values[name])


def fit(model: nn.Module, order: WorkOrder, backend: Backend, mesh: Mesh = ALONE_MESH) -> Trainable:
    """Bring a model that is on the CPU in fp32 to the device and the order's precision.

    Of a model whose state is sharded the device never holds more than one whole block: ours has no
    memory yet, unless it is the gate's small one, and a user's is moved block by block.
    """
    for parameter in model.parameters():
        # What is frozen is kept in the format that matmuls read it in.
        kept = parameter_dtype if parameter.requires_grad else matmul_dtype
        parameter.data = parameter.data.to(kept(order.precision))
    is_whole = mesh.layout.state_shards == 1 or isinstance(model, Model)
    if is_whole and not any(p.is_meta for p in model.parameters()):
        model = model.to(backend.device)
    objective: Trainable
    if isinstance(model, Model):
        objective = _fit_own(model, order, backend, mesh)
    else:
        objective = _fit_external(model, order)
    shard_state(objective, order, mesh, backend.device)
    return objective


def _fit_own(model: Model, order: WorkOrder, backend: Backend, mesh: Mesh) -> Objective:
    use_core(model, backend.attention_core(matmul_dtype(order.precision)))
    if order.precision == "fp8":
        use_linear(model.blocks, fp8.linear)
    if matmul_dtype(order.precision) != parameter_dtype(order.precision):
        model.compute_dtype = matmul_dtype(order.precision)
    model.blocks.recompute = order.step.recompute
    objective = Objective(model, loss_chunk_rows=order.step.loss_chunk_rows)
    split(objective, mesh)
    return objective


def _fit_external(module: nn.Module, order: WorkOrder) -> ExternalObjective:
    if order.external is None:
        raise ValueError("the order has no external model")
    theirs: Any = module
    if callable(getattr(module, "tie_weights", None)):
        theirs.tie_weights()  # a move to a device may have untied them
    if order.step.recompute == "full":
        theirs.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return ExternalObjective(module, order.external, order.precision)


def describe_built(objective: Trainable) -> dict[str, Any]:
    """Return what was built, as found on the device: the fields of a `Built`."""
    parameters = list(objective.parameters())
    return {
        "parameter_count": sum(p.numel() for p in parameters),
        "parameter_bytes": sum(p.nbytes for p in parameters),
        "embeddings_are_tied": is_tied(objective.model),
        "placement": sorted({f"{p.device} {p.dtype}".replace("torch.", "") for p in parameters}),
        "trained_count": sum(p.numel() for p in parameters if p.requires_grad),
    }


def is_tied(model: nn.Module) -> bool:
    """Tell whether the head is the embedding, as found on the device."""
    return model.head is None if isinstance(model, Model) else is_external_tied(model)


def make_stream(order: WorkOrder) -> Stream:
    """Return the data that the order's model is trained on."""
    return stream_of(order.external or order.own_shape, order.sequence_length, order.stream)
