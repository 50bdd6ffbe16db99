"""Tensor parallelism: each rank has a part of every matmul's weight, and computes with it alone.

The weights are DTensors, so that clipping, AdamW and FSDP2 know them whole; what is computed is
computed with plain tensors, by this rank's part. So operators of our own, chunks of the loss and
torch's compiler work as on one device. Attention, MLPs and the head are regions: on the way in
tokens are gathered, on the way out the ranks' outputs are summed. With sequence parallelism what
lies between regions, norms and residuals, is done by each rank for its own part of the tokens.

Source: Shoeybi et al., arXiv 1909.08053, section 3; Korthikanti et al., arXiv 2205.05198,
section 4.2, for sequence parallelism. docs/decisions/0027 has the measurements.

Shapes: B batch, T tokens, D model width.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard

from trnbench.train.layers.attention import RotaryAttention
from trnbench.train.layers.linear import Linear, RmsNorm
from trnbench.train.layers.moe import ExpertsMlp, Routing
from trnbench.train.layers.vocabulary_loss import VocabularyPart
from trnbench.train.models.llama import Llama
from trnbench.train.objective import Objective
from trnbench.train.parallel.collectives import Gather, gathered, scattered, summed

TOKENS = 1
"""The dimension of tokens, of (B, T, D)."""

COLUMNS = {"query", "key", "value", "gate", "up"}
"""Linear layers into a region: each rank has some of the outputs."""
ROWS = {"output", "down"}
"""Linear layers out of a region: each rank has some of the inputs, and a part of every sum."""


def split_model(objective: Objective, mesh: DeviceMesh, *, sequence_parallel: bool) -> None:
    """Leave this rank's part of the model.

    Args:
        objective: a model with its loss, alike on all ranks; its weights may have no memory yet.
        mesh: of one dimension, the ranks of this rank's tensor group.
        sequence_parallel: whether ranks share out the tokens between regions, too.

    Raises:
        TypeError: the family has no way to be split.
    """
    model = objective.model
    if not isinstance(model, Llama):
        raise TypeError(f"{type(model).__name__} cannot be split over tensor ranks")
    region = TensorRegion(mesh.get_group(), is_sequence=sequence_parallel)
    for block in model.blocks:
        _split_block(block, mesh, region)
    model.norm.read = read_part if sequence_parallel else read_whole
    rank, size = mesh.get_local_rank(), mesh.size()
    rows = model.shape.vocabulary_size // size
    first = torch.tensor(rank * rows, device=mesh.device_type)
    _share_out(model, mesh, {"embedding.weight": Shard(0), "head.weight": Shard(0)})
    model.embedding = SplitEmbedding(model.embedding, first, region, model.compute_dtype)
    objective.read, objective.enter = read_part, region.enter
    objective.part = VocabularyPart(first, mesh.get_group())


def _split_block(block: nn.Module, mesh: DeviceMesh, region: "TensorRegion") -> None:
    placements: dict[str, Placement] = {}
    for name, module in block.named_modules():
        for parameter, placement in _placements(name, module):
            placements[f"{name}.{parameter}"] = placement
        if isinstance(module, Linear):
            module.read, module.read_bias = read_part, read_part
            if name.rpartition(".")[2] in ROWS:
                module.read_bias = SharedBias(mesh.size())
        elif isinstance(module, ExpertsMlp):
            own = module.experts.count // mesh.size()
            first = torch.tensor(mesh.get_local_rank() * own, device=mesh.device_type)
            module.first_expert = first
            module.read = read_part
        elif isinstance(module, RotaryAttention):
            module.read = read_part
        elif isinstance(module, RmsNorm):
            is_inside = name.startswith("attention.")
            module.read = read_part if is_inside or region.is_sequence else read_whole
    _share_out(block, mesh, placements)
    region.surround(block.get_submodule("attention"))
    region.surround(block.get_submodule("mlp"))


def _placements(name: str, module: nn.Module) -> Iterator[tuple[str, Placement]]:
    """Yield which of a module's own parameters are split, and along which dimension.

    An adapter is split where the weight beside it is: its narrow dimension is whole everywhere.
    """
    kind = name.rpartition(".")[2]
    if isinstance(module, ExpertsMlp | RotaryAttention):
        for own, _ in module.named_parameters(recurse=False):
            yield own, Shard(0)
    elif isinstance(module, Linear) and kind in COLUMNS:
        yield from (("weight", Shard(0)), ("bias", Shard(0)), ("adapter_out", Shard(0)))
    elif isinstance(module, Linear) and kind in ROWS:
        yield from (("weight", Shard(1)), ("adapter_in", Shard(1)))


def _share_out(module: nn.Module, mesh: DeviceMesh, placements: dict[str, Placement]) -> None:
    """Make every parameter a DTensor: split as said, or whole on every rank."""
    for name, parameter in list(module.named_parameters()):
        if isinstance(parameter, DTensor):
            continue
        placement = placements.get(name, Replicate())
        own = parameter.data
        if isinstance(placement, Shard):
            # Copied: a view would keep the whole weight in memory.
            own = own.chunk(mesh.size(), placement.dim)[mesh.get_local_rank()].clone(
                memory_format=torch.contiguous_format
            )
        part = DTensor.from_local(
            own, mesh, [placement], run_check=False, shape=parameter.shape,
            stride=parameter.stride(),
        )  # fmt: skip
        owner, _, last = name.rpartition(".")
        kept = nn.Parameter(part, requires_grad=parameter.requires_grad)
        setattr(module.get_submodule(owner), last, kept)


# --- how a layer reads its weight; each is a `Reader` ---------------------------------------------


def read_part(weight: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of a split weight, or a whole one for a part of the work.

    The gradient of the latter is a part, too: the sum over ranks is the weight's.
    """
    if not isinstance(weight, DTensor):
        return weight
    is_whole = weight.placements[0].is_replicate()
    return weight.to_local(grad_placements=[Partial()] if is_whole else None)


def read_whole(weight: torch.Tensor) -> torch.Tensor:
    """Return a whole weight for work that every rank does in full, as does its gradient."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


class SharedBias:
    """Reads a bias on the way out of a region, where outputs are summed: each adds its share."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks

    def __call__(self, bias: torch.Tensor) -> torch.Tensor:
        """Return a share of the bias."""
        return read_part(bias) / self.ranks


# --- regions --------------------------------------------------------------------------------------


class TensorRegion:
    """The edges of what ranks compute in parts."""

    def __init__(self, group: ProcessGroup, *, is_sequence: bool) -> None:
        self.group = group
        self.is_sequence = is_sequence

    def surround(self, module: nn.Module) -> None:
        """Put the edges around a module; its parameters keep their names."""
        module.register_forward_pre_hook(self._before)
        module.register_forward_hook(self._after)

    def enter(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return all tokens of the group, from this rank's."""
        made: torch.Tensor = (
            Gather.apply(x_BTD, TOKENS, self.group)
            if self.is_sequence
            else _Copy.apply(x_BTD, self.group)
        )
        return made

    def leave(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return the sum of the ranks' outputs at this rank's tokens."""
        edge = _Scatter if self.is_sequence else _Sum
        made: torch.Tensor = edge.apply(x_BTD, self.group)
        return made

    def _before(self, _module: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
        return (self.enter(given[0]), *given[1:])

    def _after(self, _module: nn.Module, _given: Any, made: Any) -> Any:
        if isinstance(made, torch.Tensor):
            return self.leave(made)
        x_BTD, routing = made
        # Every rank has the whole of the load-balancing loss, but the region sums gradients.
        balance = _Share.apply(routing.balance, self.group.size())
        return self.leave(x_BTD), Routing(balance, routing.imbalance)


class SplitEmbedding(nn.Embedding):
    """This rank's rows of the embedding; other ranks look up the ids of theirs."""

    def __init__(
        self,
        embedding: nn.Embedding,
        first: torch.Tensor,
        region: TensorRegion,
        dtype: torch.dtype | None,
    ) -> None:
        nn.Module.__init__(self)
        self.weight = embedding.weight
        self.num_embeddings, self.embedding_dim = self.weight.shape
        self.padding_idx = None
        self.region, self.dtype = region, dtype or self.weight.dtype
        self.first: torch.Tensor
        self.register_buffer("first", first, persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the states of this rank's tokens."""
        weight = read_part(self.weight)
        row = ids - self.first
        is_own = (row >= 0) & (row < len(weight))
        x_BTD = F.embedding(torch.where(is_own, row, 0), weight) * is_own[..., None]
        return self.region.leave(x_BTD.to(self.dtype))


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: torch.Tensor, group: ProcessGroup) -> torch.Tensor:
        ctx.group = group
        return scattered(x_BTD, TOKENS, group)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gathered(gradient, TOKENS, ctx.group), None


class _Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: torch.Tensor, group: ProcessGroup) -> torch.Tensor:
        ctx.group = group
        return x_BTD.view_as(x_BTD)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return summed(gradient, ctx.group), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: torch.Tensor, group: ProcessGroup) -> torch.Tensor:
        return summed(x_BTD, group)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


class _Share(torch.autograd.Function):
    """The value as it is; of its gradient one of `ranks` equal shares."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, ranks: int) -> torch.Tensor:
        ctx.ranks = ranks
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient / ctx.ranks, None
