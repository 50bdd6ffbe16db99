"""One optimizer step, and the timed block that is made of such steps.

A step is: for each pass a forward, the mean cross-entropy, a backward; then clip, AdamW, clear.
Nothing in a step waits for the device or reads a value from it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it

from trnbench.train.backends.base import AdamW, Backend, Timer, autocast
from trnbench.train.data import TokenStream
from trnbench.wire import OptimizerSettings, WorkOrder

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class StepTokens:
    """The tokens of one optimizer step, on the device: one pair (inputs, targets) a pass."""

    passes: list[tuple[torch.Tensor, torch.Tensor]]
    oracle_loss: float


@dataclass(slots=True)
class StepOutcomes:
    """What each step left on the device, to be read when the clock has stopped."""

    losses: list[torch.Tensor] = field(default_factory=list)
    gradient_norms: list[torch.Tensor] = field(default_factory=list)


class TrainingStep:
    """Runs optimizer steps of one order on one device; counts them."""

    def __init__(self, model: torch.nn.Module, order: WorkOrder, backend: Backend) -> None:
        self.model = model
        self._forward = backend.prepare(model)
        self._backend = backend
        self._precision = order.precision
        self._settings = order.optimizer
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = make_optimizer(self._parameters, order.optimizer, backend.adamw)
        self.steps_done = 0

    def run(self, tokens: StepTokens, outcomes: StepOutcomes) -> None:
        """Run one optimizer step."""
        self._set_learning_rate()
        loss = self.accumulate(tokens)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.gradient_clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        outcomes.losses.append(loss)
        outcomes.gradient_norms.append(norm.detach())
        self._backend.end_step()

    def accumulate(self, tokens: StepTokens) -> torch.Tensor:
        """Leave the gradients of the mean loss over all passes in the model; return that loss."""
        total = torch.zeros((), device=self._backend.device)
        for inputs, targets in tokens.passes:
            with autocast(self._backend.device, self._precision):
                logits = self._forward(inputs)
            # Targets are as narrow as the device wants ids; the loss wants them as 64 bits.
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten().long())
            (loss / len(tokens.passes)).backward()
            total += loss.detach()
        return total / len(tokens.passes)

    def _set_learning_rate(self) -> None:
        warmup = self._settings.lr_warmup_steps
        part = min(1.0, (self.steps_done + 1) / warmup) if warmup else 1.0
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * part


def make_optimizer(
    parameters: Sequence[torch.nn.Parameter], settings: OptimizerSettings, adamw: AdamW
) -> torch.optim.Optimizer:
    """Build AdamW; weight decay applies to matrices alone, as GPT-2's and Llama's recipes do.

    Args:
        parameters: as they stand on the device.
        settings: the recipe.
        adamw: which of torch's implementations the device is served best by.
    """
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=adamw == "fused",
        foreach=adamw == "foreach",
    )


def prepare_tokens(
    stream: TokenStream, order: WorkOrder, first_step: int, steps: int, backend: Backend
) -> list[StepTokens]:
    """Make the tokens of `steps` optimizer steps and put them on the device."""
    device, dtype = backend.device, backend.token_dtype
    sequences_per_step = order.micro_batch_size * order.gradient_accumulation_steps
    prepared = []
    for step in range(first_step, first_step + steps):
        batch = stream.batch(step * sequences_per_step, sequences_per_step)
        inputs = batch.inputs.to(dtype).to(device).split(order.micro_batch_size)
        targets = batch.targets.to(dtype).to(device).split(order.micro_batch_size)
        prepared.append(StepTokens(list(zip(inputs, targets, strict=True)), batch.oracle_loss))
    return prepared


@dataclass(frozen=True, slots=True)
class Timed:
    """A block's time by the clock and, where they can be trusted, by the device's events."""

    seconds: float
    event_seconds: float | None
    outcomes: StepOutcomes


def timed_block(
    step: Callable[[StepTokens, StepOutcomes], None],
    prepared: Sequence[StepTokens],
    synchronize: Callable[[], None],
    timer: Timer | None = None,
    clock: Clock = time.perf_counter,
) -> Timed:
    """Time steps as one: wait, clock, steps, wait, clock, and nothing else in between."""
    outcomes = StepOutcomes()
    synchronize()
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
