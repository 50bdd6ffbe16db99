"""One rank of a job whose ranks train in parts: every variant in one process, after one import.

`python -m tests.process.train.parallel.tensor_job FOLDER RANK RANKS` writes what it found.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from tests.pure.train.orders import LLAMA, MOE, make_order
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Lora, Precision, StepSettings, WorkOrder
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, StepTokens, TrainingStep, prepare_tokens
from trnbench.train.objective import Objective
from trnbench.train.parallel.tensor import split_model

STEPS = 4
AS_IS = StepSettings()
GPT_OSS = replace(
    MOE, attention_sinks=True, attention_biases="all", sliding_window=7, full_attention_every=2
)
assert MOE.experts is not None
SHARED = replace(
    MOE,
    experts=replace(MOE.experts, shared_size=24, shared_gate=True, balance_coefficient=0.1),
)


@dataclass(frozen=True, slots=True)
class Variant:
    """What is trained, and how."""

    shape: ModelShape = LLAMA
    is_sequence: bool = True
    compiled: str = "no"
    """no, block or whole."""
    precision: Precision = "fp32"
    step: StepSettings = AS_IS
    passes: int = 1
    shards: int = 1
    """FSDP2 ranks, beside those of tensor groups."""

    @property
    def order(self) -> WorkOrder:
        """The work of one data-parallel rank."""
        return make_order(
            self.shape, precision=self.precision, step=self.step,
            gradient_accumulation_steps=self.passes,
        )  # fmt: skip


ADAPTERS = StepSettings(lora=Lora(rank=4, alpha=8.0, targets="all"))
QWEN3 = replace(LLAMA, qk_norm=True)
TIED = replace(LLAMA, tied_embeddings=True)
VARIANTS = {
    "sequence parallel": Variant(),
    "whole tokens": Variant(QWEN3, is_sequence=False),
    "a window, biases, accumulated": Variant(
        replace(LLAMA, sliding_window=7, attention_biases="qkv"), passes=2
    ),
    "tied, chunked, recomputed": Variant(
        TIED, step=StepSettings(loss_chunk_rows=8, recompute="full")
    ),
    "documents, recomputed in part": Variant(
        QWEN3, step=StepSettings(document_length=5, recompute="selective", adamw="foreach")
    ),
    "bf16": Variant(TIED, precision="bf16", step=StepSettings(loss_chunk_rows=8)),
    "experts, a shared one": Variant(SHARED, passes=2),
    "experts with room, whole tokens": Variant(
        SHARED, is_sequence=False, step=StepSettings(expert_capacity=1.0)
    ),
    "sinks, biases, adapters": Variant(GPT_OSS, step=ADAPTERS),
    "experts, bf16": Variant(GPT_OSS, precision="bf16"),
    "compiled by block": Variant(QWEN3, compiled="block"),
    "compiled whole": Variant(SHARED, compiled="whole", step=StepSettings(loss_chunk_rows=8)),
}
"""Of two ranks."""

SHARDED = {
    "sharded": Variant(shards=2),
    "sharded, tied, chunked, accumulated": Variant(
        replace(TIED, qk_norm=True), shards=2, passes=2, step=StepSettings(loss_chunk_rows=8)
    ),
    "sharded, bf16, recomputed": Variant(
        precision="bf16", shards=2, step=StepSettings(recompute="full")
    ),
    "sharded experts": Variant(SHARED, shards=2),
    "sharded, compiled by block": Variant(shards=2, compiled="block"),
}
"""Of four ranks: two groups of two."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a training came to."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, torch.Tensor]


def train(variant: Variant, rank: int, ranks: int) -> Found:
    """Train as one of the ranks; all of them return the same."""
    order = variant.order
    backend = open_backend(order)
    mesh = init_device_mesh(
        "cpu", (variant.shards, ranks // variant.shards), mesh_dim_names=("shard", "tensor")
    )
    objective = build_objective(order, backend)
    assert isinstance(objective, Objective)
    split_model(objective, mesh["tensor"], sequence_parallel=variant.is_sequence)
    if variant.shards > 1:
        for block in objective.model.blocks:
            fully_shard(block, mesh=mesh["shard"])
        fully_shard(objective, mesh=mesh["shard"])
    if variant.compiled == "block":
        for block in objective.model.blocks:
            block.compile(dynamic=False, backend="aot_eager")
    step = TrainingStep(objective, order, backend)
    if variant.compiled == "whole":
        step._forward = torch.compile(objective, dynamic=False, backend="aot_eager")
    index = mesh.get_local_rank("shard")
    tokens = _tokens(order, variant.shards, index, backend)
    found = _run(step, tokens)
    losses = torch.tensor(found.losses)
    dist.all_reduce(losses, group=mesh["shard"].get_group())
    torch._dynamo.reset()
    return replace(found, losses=(losses / variant.shards).tolist())


def train_alone(variant: Variant) -> Found:
    """Train with all ranks' tokens in one process."""
    order = replace(variant.order, gradient_accumulation_steps=variant.passes * variant.shards)
    backend = open_backend(order)
    step = TrainingStep(build_objective(order, backend), order, backend)
    return _run(step, prepare_tokens(make_stream(order), order, 0, STEPS, backend))


def open_backend(order: WorkOrder) -> CpuBackend:
    """Open the processor for an order."""
    return CpuBackend.open(Claim(precision=order.precision, execution="eager", threads=1))


def _tokens(order: WorkOrder, parts: int, index: int, backend: CpuBackend) -> list[StepTokens]:
    """Return every `parts`-th pass of all, from number `index`."""
    every = replace(order, gradient_accumulation_steps=order.gradient_accumulation_steps * parts)
    prepared = prepare_tokens(make_stream(every), every, 0, STEPS, backend)
    return [replace(tokens, passes=tokens.passes[index::parts]) for tokens in prepared]


def _run(step: TrainingStep, tokens: Sequence[StepTokens]) -> Found:
    outcomes = StepOutcomes()
    for each in tokens:
        step.run(each, outcomes)
    return Found(
        [float(loss) for loss in outcomes.losses],
        [float(_whole(norm)) for norm in outcomes.gradient_norms],
        {name: _whole(p.detach()) for name, p in step.model.named_parameters()},
    )


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def main(folder: Path, rank: int, ranks: int) -> None:
    """Train every variant of so many ranks, and write what was found."""
    store = torch._C._distributed_c10d.FileStore(str(folder / "store"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    found = {}
    for name, variant in (VARIANTS if ranks == 2 else SHARDED).items():
        found[name] = train(variant, rank, ranks)
    torch.save(
        {name: (each.losses, each.norms, each.weights) for name, each in found.items()},
        folder / f"rank{rank}.pt",
    )
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
