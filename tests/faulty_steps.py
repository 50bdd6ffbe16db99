"""Training steps with one thing wrong each, as bugs have it: the gate must see them all."""

from dataclasses import replace
from typing import Any

import torch

from trnbench.protocol.orders import WorkOrder
from trnbench.train.layers.attention import fused_attention, use_core
from trnbench.train.layers.linear import linear, use_linear
from trnbench.train.loop import StepOutcomes, StepTokens, TrainingStep
from trnbench.train.objective import Objective


class WrongSign(TrainingStep):
    def _set_learning_rate(self) -> None:
        super()._set_learning_rate()
        for group in self._optimizer.param_groups:
            group["lr"] = -group["lr"]


class TenthTooFast(TrainingStep):
    def _set_learning_rate(self) -> None:
        super()._set_learning_rate()
        for group in self._optimizer.param_groups:
            group["lr"] *= 1.1


class SkippedBackward(TrainingStep):
    def accumulate(self, tokens: StepTokens) -> torch.Tensor:
        loss = super().accumulate(tokens)
        self.model.zero_grad()
        return loss


class FrozenLayer(TrainingStep):
    def __init__(self, objective: Objective, order: WorkOrder, *rest: Any) -> None:
        objective.model.blocks[0].requires_grad_(False)
        super().__init__(objective, order, *rest)


class HalfTheBatch(TrainingStep):
    def accumulate(self, tokens: StepTokens) -> torch.Tensor:
        return super().accumulate(StepTokens(tokens.passes[:1], tokens.oracle_loss))


class SumForMean(TrainingStep):
    def accumulate(self, tokens: StepTokens) -> torch.Tensor:
        loss = super().accumulate(tokens)
        for parameter in self.model.parameters():
            assert parameter.grad is not None
            parameter.grad *= len(tokens.passes)
        return loss


class ReusedBatch(TrainingStep):
    first: StepTokens | None = None

    def run(self, tokens: StepTokens, outcomes: StepOutcomes) -> None:
        self.first = self.first or tokens
        super().run(self.first, outcomes)


class SkippedOptimizer(TrainingStep):
    def run(self, tokens: StepTokens, outcomes: StepOutcomes) -> None:
        before = [p.detach().clone() for p in self.model.parameters()]
        super().run(tokens, outcomes)
        with torch.no_grad():
            for parameter, old in zip(self.model.parameters(), before, strict=True):
                parameter.copy_(old)


class SeesTheFuture(TrainingStep):
    def __init__(self, objective: Objective, order: WorkOrder, *rest: Any) -> None:
        def unmasked(*heads: Any, **options: Any) -> torch.Tensor:
            return fused_attention(*heads, **{**options, "is_causal": False})

        use_core(objective.model, unmasked)
        super().__init__(objective, order, *rest)


class NotANumber(TrainingStep):
    def run(self, tokens: StepTokens, outcomes: StepOutcomes) -> None:
        super().run(tokens, outcomes)
        outcomes.losses[-1] *= float("nan")


class ComputesInBf16(TrainingStep):
    """A fault where fp32 was asked for."""

    def __init__(self, objective: Objective, order: WorkOrder, *rest: Any) -> None:
        objective.model.compute_dtype = torch.bfloat16
        super().__init__(objective, order, *rest)


class ComputesInFp32(TrainingStep):
    """A fault where less was asked for: every figure but the speed is better than it should be."""

    def __init__(self, objective: Objective, order: WorkOrder, *rest: Any) -> None:
        objective.model.compute_dtype = None
        objective.model.float()
        use_linear(objective.model.blocks, linear)
        use_core(objective.model, fused_attention)
        super().__init__(objective, replace(order, precision="fp32"), *rest)


class NoPositions(TrainingStep):
    def __init__(self, objective: Objective, order: WorkOrder, *rest: Any) -> None:
        objective.model.get_buffer("cosines_TH").fill_(1.0)
        objective.model.get_buffer("sines_TH").fill_(0.0)
        super().__init__(objective, order, *rest)


FAULTS: tuple[type[TrainingStep], ...] = (
    WrongSign, TenthTooFast, SkippedBackward, FrozenLayer, HalfTheBatch, SumForMean, ReusedBatch,
    SkippedOptimizer, SeesTheFuture, NoPositions, NotANumber, ComputesInBf16,
    ComputesInFp32,
)  # fmt: skip
