"""The parity gate's reference: the small model trained in fp32 on the CPU by an independent loop.

It uses nothing of `loop.py` and of the backends: a step's sequences go through in one pass, and
clipping and AdamW are written out as in their papers.

Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2;
Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013, for clipping.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pickle
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it

from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import GateOrder, OptimizerSettings, StreamSettings
from trnbench.train.data import Stream, stream_of
from trnbench.train.external import ExternalObjective, build_external
from trnbench.train.models import build_model
from trnbench.train.models.base import Model

RULES = "reference-v2"
"""Part of the cache's key: another number, another computation."""

SAMPLED_ELEMENTS = 2**14
"""Of each gradient, evenly spaced."""

Start = Literal["production", "stress"]
STARTS: tuple[Start, ...] = ("production", "stress")
"""Initial weights: the family's own, and weights that make attention uneven."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Losses of the first steps, and the first batch's loss and gradients from both starts."""

    losses: list[float]
    first_losses: dict[str, float]
    """By start."""
    gradients: dict[str, dict[str, torch.Tensor]]
    """By start and by the weight's name; `sampled`."""


def find_reference(
    gate: GateOrder, stream: StreamSettings, seed: int, folder: Path | None
) -> tuple[Reference, bool]:
    """Return the reference, and whether it was found in the cache, if there is one."""
    if folder is None or gate.external is not None:  # a model's code may change under its name
        return compute_reference(gate, stream, seed), False
    path = folder / f"{content_key(gate, stream, seed)}.pt"
    found = _read(path)
    if found is not None:
        return found, True
    computed = compute_reference(gate, stream, seed)
    _write(path, computed)
    return computed, False


def content_key(gate: GateOrder, stream: StreamSettings, seed: int) -> str:
    """Return a hash of all that the reference depends on."""
    content = {
        "rules": RULES,
        "gate": dataclasses.asdict(gate),
        "stream": dataclasses.asdict(stream),
        "seed": seed,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "code": _code_digest(),
    }
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.cache
def _code_digest() -> str:
    """Return a hash of the code that computes it: another version's reference is not this one's."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("models/*.py")), *sorted(here.glob("layers/*.py"))]
    files += [here / name for name in ("reference.py", "data.py", "objective.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def cache_folder() -> Path:
    """Return where references are cached, by the XDG base directory specification."""
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "trnbench" / "reference"


def compute_reference(gate: GateOrder, stream: StreamSettings, seed: int) -> Reference:
    """Compute the gradients from both starts, and the losses of the first steps."""
    tokens = stream_of(gate.external or _shape(gate), gate.sequence_length, stream)
    first_losses: dict[str, float] = {}
    gradients: dict[str, dict[str, torch.Tensor]] = {}
    for start in starts_of(gate):
        model = start_model(gate, seed, start)
        first_losses[start] = _backward(model, tokens, gate, step=0)
        gradients[start] = {
            name: sampled(p.grad) for name, p in model.named_parameters() if p.grad is not None
        }
    return Reference(_train(gate, tokens, seed), first_losses, gradients)


def starts_of(gate: GateOrder) -> tuple[Start, ...]:
    """Return the starts whose gradients are compared: of a user's module only its own."""
    is_users = gate.external is not None and gate.external.kind == "python"
    return ("production",) if is_users else STARTS


def _shape(gate: GateOrder) -> ModelShape:
    if gate.shape is None:
        raise ValueError("the gate has neither a shape nor an external model")
    return gate.shape


def start_model(gate: GateOrder, seed: int, start: Start) -> torch.nn.Module:
    """Build the small model on the CPU in fp32, with the weights of this start.

    `stress` draws matrices with variance 1 / inputs and embeddings with variance 1: with weights
    near zero every query attends evenly, and a fault in attention would not show.
    """
    model: torch.nn.Module
    if gate.external is not None:
        model, is_tied = build_external(gate.external, seed), True
    else:
        shape = _shape(gate)
        model = build_model(shape, gate.sequence_length, seed, gate.step)
        is_tied = shape.tied_embeddings
    if start == "stress":
        _draw_uneven(model, gate, seed, is_tied)
    return model


@torch.no_grad()
def _draw_uneven(model: torch.nn.Module, gate: GateOrder, seed: int, is_tied: bool) -> None:
    generator = torch.Generator().manual_seed(seed + 1)
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue
        # A tied table is a matrix too: with variance 1 its logits would be extreme.
        is_table = "embedding" in name and not is_tied
        # Experts' weights are (expert, in, out); all others are (out, in).
        inputs = parameter.shape[-1 if parameter.ndim == 2 else -2]
        spread = 1.0 if is_table else inputs**-0.5
        if gate.step.lora is not None and name.endswith("adapter_out"):
            # Adapters as strong as the frozen matmul would make scores extreme.
            spread *= gate.step.lora.rank / gate.step.lora.alpha / 2
        parameter.normal_(0.0, spread, generator=generator)


def sampled(tensor: torch.Tensor) -> torch.Tensor:
    """Return up to `SAMPLED_ELEMENTS` elements, evenly spaced, as fp32 on the CPU."""
    flat = tensor.detach().cpu().float().flatten()
    stride = -(-flat.numel() // SAMPLED_ELEMENTS)
    return flat[::stride].clone()


def _backward(model: torch.nn.Module, tokens: Stream, gate: GateOrder, step: int) -> float:
    """Put the gradients of one step's mean loss into the model, and return the loss.

    External models and experts run pass by pass: their load-balancing loss of a pass is not that of
    the whole step.
    """
    sequences = gate.sequences_a_pass * gate.passes
    batch = tokens.batch(step * sequences, sequences)
    is_split = gate.external is not None or _shape(gate).experts is not None
    passes = gate.passes if is_split else 1
    total = 0.0
    for number in range(passes):
        rows = slice(number * sequences // passes, (number + 1) * sequences // passes)
        positions = None if batch.positions is None else batch.positions[rows]
        loss, entropy = _losses(model, gate, batch.inputs[rows], batch.targets[rows], positions)
        (loss / passes).backward()
        total += entropy / passes
    return total


def _losses(
    model: torch.nn.Module,
    gate: GateOrder,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    positions: torch.Tensor | None,
) -> tuple[torch.Tensor, float]:
    """Return one pass's loss, the load-balancing loss included, and its cross-entropy."""
    if gate.external is not None:
        losses = ExternalObjective(model, gate.external, "fp32")(inputs, targets, positions)
        return losses.total, losses.cross_entropy.item()
    if not isinstance(model, Model) or (experts := _shape(gate).experts) is None:
        logits, balance = model(inputs, positions), None
    else:
        hidden = model.hidden(inputs)
        logits = hidden.rows @ model.head_parameters()[0].T
        balance = None if hidden.balance is None else experts.balance_coefficient * hidden.balance
    entropy = F.cross_entropy(logits.flatten(0, -2), targets.flatten())
    return entropy if balance is None else entropy + balance, entropy.item()


def _train(gate: GateOrder, tokens: Stream, seed: int) -> list[float]:
    model = start_model(gate, seed, "production")
    optimizer = _AdamW(model, gate.optimizer)
    losses = []
    for step in range(gate.steps):
        model.zero_grad(set_to_none=True)
        losses.append(_backward(model, tokens, gate, step))
        optimizer.step()
    return losses


class _AdamW:
    """Clipping and AdamW, one weight after the other."""

    def __init__(self, model: torch.nn.Module, settings: OptimizerSettings) -> None:
        self._weights = [p for p in model.parameters() if p.requires_grad]
        self._settings = settings
        self._first = [torch.zeros_like(p) for p in self._weights]
        self._second = [torch.zeros_like(p) for p in self._weights]
        self._count = 0

    @torch.no_grad()
    def step(self) -> None:
        settings, count = self._settings, self._count + 1
        self._count = count
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._weights]
        norm = sum(float((g.double() ** 2).sum()) for g in gradients) ** 0.5
        scale = min(1.0, settings.gradient_clip_norm / (norm + 1e-6))
        warmup = settings.lr_warmup_steps
        rate = settings.learning_rate * (min(1.0, count / warmup) if warmup else 1.0)
        for weight, gradient, first, second in zip(
            self._weights, gradients, self._first, self._second, strict=True
        ):
            clipped = gradient * scale
            first.mul_(settings.beta1).add_(clipped, alpha=1 - settings.beta1)
            second.mul_(settings.beta2).add_(clipped**2, alpha=1 - settings.beta2)
            if weight.ndim >= 2:
                weight.mul_(1 - rate * settings.weight_decay)
            mean = first / (1 - settings.beta1**count)
            spread = (second / (1 - settings.beta2**count)).sqrt() + settings.epsilon
            weight.sub_(rate * mean / spread)


# --- the cache ------------------------------------------------------------------------------------


def _read(path: Path) -> Reference | None:
    try:
        kept: dict[str, Any] = torch.load(path, weights_only=True)
        return Reference(kept["losses"], kept["first_losses"], kept["gradients"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
        return None  # absent or damaged: it is computed and written again


def _write(path: Path, reference: Reference) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dataclasses.asdict(reference), unfinished)
        unfinished.replace(path)
