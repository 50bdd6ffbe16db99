"""Training steps of several ranks with one thing wrong each: the run itself must see them all."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.distributed as dist

from tests.pure.train.orders import make_order
from trnbench.plan.parity import plan_gate
from trnbench.protocol.codec import encode
from trnbench.protocol.orders import WorkOrder
from trnbench.protocol.parallel import Layout, Replica
from trnbench.protocol.records import Block, Parity
from trnbench.train.backends.base import Backend, Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, StepTokens, TrainingStep, prepare_tokens
from trnbench.train.objective import Trainable
from trnbench.train.parallel.agreement import weights_digest
from trnbench.train.parallel.mesh import ALONE_MESH, Mesh
from trnbench.train.parity import run_parity_gate

DDP = Layout(data_parallel_replicate_size=2)
FSDP = Layout(data_parallel_shard_size=2)
STEPS = 8
MakeStep = Callable[[Trainable, WorkOrder, Backend, Mesh], TrainingStep]


class NeverShares(TrainingStep):
    def __init__(
        self, objective: Trainable, order: WorkOrder, backend: Backend, _: Mesh = ALONE_MESH
    ) -> None:
        super().__init__(objective, order, backend, ALONE_MESH)


class SharesTwice(TrainingStep):
    def accumulate(self, tokens: StepTokens) -> torch.Tensor:
        loss = super().accumulate(tokens)
        for parameter in self.model.parameters():
            dist.all_reduce(parameter.grad)
        return loss


class SameTokens(TrainingStep):
    def accumulate(self, tokens: StepTokens) -> torch.Tensor:
        for each in tokens.passes:
            dist.broadcast(each.inputs, 0)
            dist.broadcast(each.targets, 0)
        return super().accumulate(tokens)


class OneSkipsSteps(TrainingStep):
    def run(self, tokens: StepTokens, outcomes: StepOutcomes) -> None:
        before = [p.detach().clone() for p in self.model.parameters()]
        super().run(tokens, outcomes)
        if dist.get_rank() == 1:
            with torch.no_grad():
                for parameter, old in zip(self.model.parameters(), before, strict=True):
                    parameter.copy_(old)


class ClippedPerRank(TrainingStep):
    def __init__(
        self, objective: Trainable, order: WorkOrder, backend: Backend, mesh: Mesh = ALONE_MESH
    ) -> None:
        super().__init__(objective, order, backend, mesh)
        self._parts.groups = [()] * len(self._parts.groups)


RIGHT: dict[str, tuple[Layout, MakeStep]] = {
    "replicas": (DDP, TrainingStep),
    "shards": (FSDP, TrainingStep),
}
FAULTS: dict[str, tuple[Layout, MakeStep]] = {
    "never shares gradients": (DDP, NeverShares),
    "shares gradients twice": (DDP, SharesTwice),
    "same tokens": (DDP, SameTokens),
    "same tokens, sharded": (FSDP, SameTokens),
    "one skips steps": (DDP, OneSkipsSteps),
    "clipped per rank": (FSDP, ClippedPerRank),
}


def order_on(layout: Layout) -> WorkOrder:
    """Return an order whose gate takes a few steps."""
    order = make_order(layout=layout, gradient_accumulation_steps=2)
    return replace(order, gate=replace(plan_gate(order), steps=6))


def records_of(layout: Layout, make_step: MakeStep, mesh: Mesh) -> dict[str, str]:
    """Return what this rank would send of the gate, of a block of steps, and at the end."""
    order = order_on(layout)
    backend = CpuBackend.open(Claim(threads=1))
    gate = run_parity_gate(order, backend, None, make_step, mesh)
    step = make_step(build_objective(order, backend, mesh), order, backend, mesh)
    outcomes = StepOutcomes()
    for tokens in prepare_tokens(make_stream(order), order, 0, STEPS, backend, mesh):
        step.run(tokens, outcomes)
    block = Block(
        at_seconds=1.0, purpose="warmup", first_step=0, steps=STEPS, seconds=1.0,
        prepare_seconds=0.0, losses=[float(each) for each in outcomes.losses],
        gradient_norms=[float(each) for each in outcomes.gradient_norms],
        oracle_losses=[0.0] * STEPS,
    )  # fmt: skip
    digest = weights_digest(step.model)
    replica = Replica(at_seconds=1.0, rank=mesh.rank, steps=STEPS, digest=digest)
    gated = Parity(at_seconds=1.0, **gate)
    return {"parity": encode(gated), "block": encode(block), "replica": encode(replica)}
