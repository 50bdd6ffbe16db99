"""Pipeline parallelism: each rank has some of the blocks, and passes of a step run in turns.

A stage is a run of blocks; the first has the embedding, the last the final norm and the head. torch
schedules them and moves states and their gradients between ranks. The microbatches are the passes
of gradient accumulation.

Source: torch 2.13, `torch.distributed.pipelining`; Huang et al., arXiv 1811.06965 (GPipe);
Narayanan et al., arXiv 2104.04473, section 2.2 (1F1B, interleaved); Qi et al., arXiv 2401.10241
(zero bubble).

Shapes: B batch, T tokens, D model width.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import get_schedule_class

from trnbench.protocol.parallel import Layout, PipelineSchedule
from trnbench.train.layers.moe import ExpertsMlp
from trnbench.train.models.llama import Llama
from trnbench.train.objective import Objective
from trnbench.train.parallel.mesh import Mesh

_SCHEDULES: dict[PipelineSchedule, str] = {
    "gpipe": "GPipe",
    "1f1b": "1F1B",
    "interleaved_1f1b": "Interleaved1F1B",
    "zero_bubble": "InterleavedZeroBubble",
}
"""As torch names them."""
_OF_SEVERAL = ("interleaved_1f1b", "zero_bubble")
"""Those that take a list of stages."""


class Absent(nn.Module):
    """Stands where another rank has a part of the model."""


def own_stages(layout: Layout, index: int) -> list[int]:
    """Return the stages of a pipeline rank: every so many, as interleaved schedules need."""
    size = layout.pipeline_parallel_size
    return [index + turn * size for turn in range(layout.pipeline_stages_per_rank)]


def stage_count(layout: Layout) -> int:
    """Return the stages of all ranks."""
    return layout.pipeline_parallel_size * layout.pipeline_stages_per_rank


def stage_blocks(stage: int, stages: int, blocks: int) -> range:
    """Return the numbers of a stage's blocks."""
    return range(stage * blocks // stages, (stage + 1) * blocks // stages)


def keep_stages(objective: Objective, mesh: Mesh) -> None:
    """Leave the parts of this rank's stages, in `stages` too; what stays keeps its name.

    Raises:
        TypeError: the family has no way to be cut into stages.
    """
    model = objective.model
    if not isinstance(model, Llama) or model.head is None:
        raise TypeError(f"{type(model).__name__} cannot be cut into stages")
    own, stages = own_stages(mesh.layout, mesh.index("pipeline")), stage_count(mesh.layout)
    kept = {n for each in own for n in stage_blocks(each, stages, len(model.blocks))}
    for number in range(len(model.blocks)):
        if number not in kept:
            model.blocks[number] = Absent()
    absent = [] if 0 in own else ["embedding"]
    absent += [] if stages - 1 in own else ["norm", "head"]
    for name in absent:
        setattr(model, name, Absent())
    objective.stages = nn.ModuleList(Stage(objective, number, stages) for number in own)


class Stage(nn.Module):
    """One stage of a model, which shares its modules with it."""

    def __init__(self, objective: Objective, number: int, stages: int) -> None:
        super().__init__()
        model = objective.model
        if not isinstance(model, Llama):
            raise TypeError(f"{type(model).__name__} cannot be cut into stages")
        own = stage_blocks(number, stages, len(model.blocks))
        self.blocks = nn.ModuleList(model.blocks[each] for each in own)
        self.is_first, self.is_last = number == 0, number == stages - 1
        self.embedding = model.embedding if self.is_first else None
        self.norm = model.norm if self.is_last else None
        self.head = model.head if self.is_last else None  # the loss reads it
        # Bound methods: the model itself would bring the weights of other stages.
        self._begin, self._angles, self._run = model.begin, model.angles, model.blocks.run
        experts = model.shape.experts
        layers = len(model.blocks) - (0 if experts is None else experts.dense_layers)
        self.passes = 1
        self._balance_coefficient = objective.balance_coefficient / layers
        self._imbalance_scale = 1.0 / layers
        self.imbalance: torch.Tensor | None = None
        """This stage's share of the last pass's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the next stage takes, or the head's input; x are ids in the first."""
        x_BTD = self._begin(x) if self.is_first else x
        angles = self._angles(x_BTD.dtype)
        routings = []
        for block in self.blocks:
            made = self._run(block, x_BTD, *angles)
            if isinstance(block.mlp, ExpertsMlp):
                x_BTD, routing = made
                routings.append(routing)
            else:
                x_BTD = made
        if routings:
            balance = torch.stack([each.balance for each in routings]).sum()
            x_BTD = _WithLoss.apply(x_BTD, balance * (self._balance_coefficient / self.passes))
            imbalances = torch.stack([each.imbalance for each in routings])
            self.imbalance = imbalances.sum().detach() * self._imbalance_scale
        return x_BTD if self.norm is None else self.norm(x_BTD)


class _WithLoss(torch.autograd.Function):
    """States as they are; in the backward pass a loss of this stage joins that of the last."""

    @staticmethod
    def forward(ctx: Any, x_BTD: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(loss)
        return x_BTD.view_as(x_BTD)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gradient, torch.ones_like(ctx.saved_tensors[0])


class Pipeline:
    """Runs the passes of a step through the stages of all ranks."""

    def __init__(self, objective: Objective, passes: int, mesh: Mesh, device: torch.device) -> None:
        layout, group = mesh.layout, mesh.group("pipeline")
        count = stage_count(layout)
        self._group, self._over_ranks = group, objective.over_ranks
        numbers = own_stages(layout, mesh.index("pipeline"))
        self._stages = [each for each in objective.stages if isinstance(each, Stage)]
        for stage in self._stages:
            stage.passes = passes
        stages = [
            PipelineStage(stage, number, count, device, group=group)
            for stage, number in zip(self._stages, numbers, strict=True)
        ]
        objective.is_split_backward = layout.pipeline_schedule == "zero_bubble"
        schedule: Any = get_schedule_class(_SCHEDULES[layout.pipeline_schedule])
        is_of_several = layout.pipeline_schedule in _OF_SEVERAL
        self._schedule = schedule(
            stages if is_of_several else stages[0],
            passes,
            loss_fn=lambda rows, targets: objective.entropy(rows, targets) / passes,
            scale_grads=False,  # the loss is scaled
        )
        options = inspect.signature(self._schedule.step).parameters
        # Since torch 2.10: it need not keep the head's inputs of all passes.
        self._options = {"return_outputs": False} if "return_outputs" in options else {}

    def run(
        self, passes: Sequence[tuple[torch.Tensor, torch.Tensor, Any]]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Leave the gradients of all passes, each of inputs and targets, in the stages.

        Returns the mean loss and, of experts, the last pass's imbalance: the same on all ranks.
        """
        losses: list[torch.Tensor] = []
        inputs, targets = ([each[place] for each in passes] for place in (0, 1))
        given = (torch.cat(inputs),) if self._stages[0].is_first else ()
        asked: dict[str, Any] = dict(self._options)
        if self._stages[-1].is_last:
            asked.update(target=torch.cat(targets), losses=losses)
        self._schedule.step(*given, **asked)
        # Loss and imbalance, of which each rank has a share.
        told = torch.zeros(2, dtype=torch.float32, device=targets[0].device)
        if losses:
            told[0] = torch.stack([loss.detach() for loss in losses]).sum()
        imbalances = [each.imbalance for each in self._stages if each.imbalance is not None]
        for each in imbalances:
            told[1] += each
        dist.all_reduce(told, group=self._group)
        has_experts = any(isinstance(m, ExpertsMlp) for s in self._stages for m in s.modules())
        return self._over_ranks(told[0]), told[1] if has_experts else None
