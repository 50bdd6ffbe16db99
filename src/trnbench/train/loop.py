"""One optimizer step, and the timed block of such steps.

A step is: for each pass a forward, the mean cross-entropy, a backward; then clip, AdamW, clear.
Nothing in a step waits for the device or reads a value from it.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from trnbench.protocol.orders import WorkOrder
from trnbench.train.backends.base import Backend, Timer
from trnbench.train.data import Stream
from trnbench.train.objective import Losses, Trainable
from trnbench.train.optimizer import make_optimizer
from trnbench.train.parallel.data import (
    averaging_group,
    prepare,
    sequence_numbers,
    share_gradients,
    sharing,
)
from trnbench.train.parallel.mesh import ALONE_MESH, Mesh
from trnbench.train.parallel.norm import clip_gradients
from trnbench.train.parallel.parts import Parts
from trnbench.train.parallel.split import make_pipeline, tokens_of_rank

Clock = Callable[[], float]


class Pass(NamedTuple):
    """The arguments of one forward pass, on the device."""

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor | None = None
    """Where an encoder's targets are, (B, P); None: everywhere."""


@dataclass(frozen=True, slots=True)
class StepTokens:
    """The tokens of one optimizer step, on the device."""

    passes: list[Pass]
    oracle_loss: float


@dataclass(slots=True)
class StepOutcomes:
    """One value a step, left on the device and read after the clock has stopped."""

    losses: list[torch.Tensor] = field(default_factory=list)
    gradient_norms: list[torch.Tensor] = field(default_factory=list)
    imbalances: list[torch.Tensor] = field(default_factory=list)
    """Of a mixture of experts: rows of the fullest expert over the mean, in the last pass."""


class TrainingStep:
    """Runs this rank's part of an order's optimizer steps on its device; counts them."""

    def __init__(
        self, objective: Trainable, order: WorkOrder, backend: Backend, mesh: Mesh = ALONE_MESH
    ) -> None:
        self.model = objective.model
        self._shared = share_gradients(objective, order, backend, mesh)
        self._forward: Callable[..., Losses] = prepare(self._shared, order, backend)
        self._backend = backend
        self._settings = order.optimizer
        self._mesh = mesh
        trained = [p for p in objective.parameters() if p.requires_grad]
        self._parts = Parts(trained, averaging_group(mesh))
        self._pipeline = make_pipeline(
            objective, order.gradient_accumulation_steps, mesh, backend.device
        )
        self._optimizer = make_optimizer(
            self._parts.parameters,
            order.optimizer,
            order.step.adamw or backend.adamw,
            order.precision,
        )
        self._imbalance: torch.Tensor | None = None
        self.steps_done = 0

    def run(self, tokens: StepTokens, outcomes: StepOutcomes) -> None:
        """Run one optimizer step."""
        self._set_learning_rate()
        loss = self.accumulate(tokens)
        self._parts.take_gradients()
        norm = clip_gradients(self._parts, self._settings.gradient_clip_norm, self._mesh)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._parts.drop_gradients()
        self.steps_done += 1
        outcomes.losses.append(loss)
        outcomes.gradient_norms.append(norm.detach())
        if self._imbalance is not None:
            outcomes.imbalances.append(self._imbalance)
        self._backend.end_step()

    def accumulate(self, tokens: StepTokens) -> torch.Tensor:
        """Leave the gradients of the mean over all passes and ranks in the model.

        Returns the mean loss of this rank's passes.
        """
        if self._pipeline is not None:
            loss, self._imbalance = self._pipeline.run(tokens.passes)
            self._parts.sum_gradients()
            return loss
        last = len(tokens.passes)
        share = 1.0 / last
        entropies: list[torch.Tensor] = []
        for number, arguments in enumerate(tokens.passes, 1):
            with sharing(self._shared, is_last=number == last):
                losses = self._forward(*arguments)
                (losses.total if share == 1.0 else losses.total * share).backward()
            entropies.append(losses.cross_entropy)
            self._imbalance = losses.imbalance
        self._parts.sum_gradients()
        return entropies[0] if share == 1.0 else torch.stack(entropies).mean()

    def _set_learning_rate(self) -> None:
        warmup = self._settings.lr_warmup_steps
        part = min(1.0, (self.steps_done + 1) / warmup) if warmup else 1.0
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * part


def prepare_tokens(
    stream: Stream,
    order: WorkOrder,
    first_step: int,
    steps: int,
    backend: Backend,
    mesh: Mesh = ALONE_MESH,
) -> list[StepTokens]:
    """Make this rank's tokens of `steps` optimizer steps and put them on the device."""
    prepared = []
    for step in range(first_step, first_step + steps):
        batch = stream.numbered(sequence_numbers(order, mesh, step))
        parts = [
            [None] * order.gradient_accumulation_steps
            if whole is None
            else _on_device(tokens_of_rank(whole, mesh).split(order.micro_batch_size), backend)
            for whole in (batch.inputs, batch.targets, batch.positions)
        ]
        passes = [Pass(*tensors) for tensors in zip(*parts, strict=True)]
        prepared.append(StepTokens(passes, batch.oracle_loss))
    return prepared


def _on_device(parts: Iterable[torch.Tensor], backend: Backend) -> list[torch.Tensor]:
    """Move ids in the device's integer format; an image's bytes stay bytes.

    They are split before: a lazy device would compile the split anew for each number of steps.
    """
    return [
        (part.to(backend.token_dtype) if part.dtype == torch.int64 else part).to(backend.device)
        for part in parts
    ]


@dataclass(frozen=True, slots=True)
class Timed:
    """A block's time by the clock, and by the device's events or None."""

    seconds: float
    event_seconds: float | None
    outcomes: StepOutcomes


def timed_block(
    step: Callable[[StepTokens, StepOutcomes], None],
    prepared: Sequence[StepTokens],
    synchronize: Callable[[], None],
    timer: Timer | None = None,
    clock: Clock = time.perf_counter,
    meet: Callable[[], None] = ALONE_MESH.barrier,
) -> Timed:
    """Time steps as one: wait, meet, clock, steps, wait, clock, and nothing else in between.

    Ranks meet before the clock, so that no rank's time has the others' coming in it.
    """
    outcomes = StepOutcomes()
    synchronize()
    meet()
    started = clock()
    if timer is not None:
        timer.start()
    for tokens in prepared:
        step(tokens, outcomes)
    if timer is not None:
        timer.stop()
    synchronize()
    seconds = clock() - started
    return Timed(seconds, None if timer is None else timer.seconds(), outcomes)


def clock_step_seconds(clock: Clock = time.perf_counter, changes: int = 20) -> float:
    """Return the least by which the clock moves, seconds: of `changes` changes the smallest.

    That takes microseconds, and a third of a second with the coarsest clock in use (1/64 s).
    """
    steps: list[float] = []
    last = clock()
    while len(steps) < changes:
        now = clock()
        if now > last:
            steps.append(now - last)
            last = now
    return min(steps)
