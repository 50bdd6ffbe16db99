"""The parity gate: the device trains a small model of the same family, and so does the CPU.

The device's steps are those of the case: the same backend, precision, execution and `TrainingStep`.
Distances are sent, and how far the first steps move the case's own weights; the parent judges them.

Source: docs/metrics.md, "The parity gate".
"""

import gc
import importlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from trnbench.protocol.orders import GateOrder, WorkOrder
from trnbench.protocol.records import ParityPoint
from trnbench.train.backends.base import Backend
from trnbench.train.build import fit, make_stream
from trnbench.train.channel import finite
from trnbench.train.external import BadModel
from trnbench.train.known_answers import compare_known_answers
from trnbench.train.loop import StepOutcomes, StepTokens, TrainingStep, prepare_tokens
from trnbench.train.objective import Trainable
from trnbench.train.parallel.mesh import ALONE_MESH, Mesh
from trnbench.train.parallel.parts import local_of, put_whole, whole_of
from trnbench.train.reference import (
    Reference,
    Start,
    find_reference,
    sampled,
    start_model,
    starts_of,
)

NEGLIGIBLE = 1e-6
"""Part of the whole gradient below which a weight's difference is related to the whole."""

KEPT_ELEMENTS = 2**18
"""Of each weight whose update is measured: 1 MiB in fp32."""

MakeStep = Callable[[Trainable, WorkOrder, Backend, Mesh], TrainingStep]


def run_parity_gate(
    order: WorkOrder,
    backend: Backend,
    folder: Path | None,
    make_step: MakeStep = TrainingStep,
    mesh: Mesh = ALONE_MESH,
) -> dict[str, Any]:
    """Train the parity model on the device and return the fields of a `Parity`.

    References are cached in `folder`, or not at all (None).
    """
    gate = order.gate
    if gate is None:
        raise ValueError("the order has no gate")
    # torch's optimizers import it, the case's too: that second is not the gate's.
    importlib.import_module("torch._dynamo")
    began = time.perf_counter()
    # What D data-parallel ranks see in P passes, one process sees in P x D.
    whole = replace(gate, passes=gate.passes * mesh.layout.data_parallel_size)
    reference, was_cached = _find_together(whole, order, folder, mesh)
    reference_seconds = time.perf_counter() - began
    small = replace(
        order,
        shape=gate.shape,
        sequence_length=gate.sequence_length,
        micro_batch_size=gate.sequences_a_pass,
        gradient_accumulation_steps=gate.passes,
        optimizer=gate.optimizer,
        step=gate.step,
        external=gate.external,
    )
    tokens = prepare_tokens(make_stream(small), small, 0, gate.steps, backend, mesh)
    objective = fit(start_model(gate, order.seed, "production"), small, backend, mesh)
    model = objective.model
    step = make_step(objective, small, backend, mesh)
    points = [
        _compare(start, model, step, tokens[0], gate, order.seed, reference, mesh)
        for start in starts_of(gate)
    ]
    _set_weights(model, start_model(gate, order.seed, "production"))
    outcomes = StepOutcomes()
    for prepared in tokens:
        step.run(prepared, outcomes)
    backend.synchronize()
    losses = [finite(mesh.mean(float(loss))) for loss in outcomes.losses]
    # Free the device's memory, and forget what was compiled for the small model.
    del objective, model, step, tokens, outcomes
    gc.collect()
    if order.execution == "compile":
        torch.compiler.reset()
    backend.empty_cache()
    return {
        "seconds": time.perf_counter() - began,
        "reference_seconds": reference_seconds,
        "was_cached": was_cached,
        "points": points,
        "losses": losses,
        "reference_losses": reference.losses,
        "known_answers": {} if gate.shape is None else compare_known_answers(gate.shape.family),
    }


def _find_together(
    gate: GateOrder, order: WorkOrder, folder: Path | None, mesh: Mesh
) -> tuple[Reference, bool]:
    """Find the reference on rank 0, and give it to all: each would compute the same."""
    if mesh.rank != 0:
        fields, was_cached = mesh.broadcast(None)
        return Reference(**fields), was_cached
    reference, was_cached = find_reference(gate, order.stream, order.seed, folder)
    mesh.broadcast((asdict(reference), was_cached))
    return reference, was_cached


def _compare(
    start: Start,
    model: torch.nn.Module,
    step: TrainingStep,
    tokens: StepTokens,
    gate: GateOrder,
    seed: int,
    reference: Reference,
    mesh: Mesh,
) -> ParityPoint:
    _set_weights(model, start_model(gate, seed, start))
    loss = mesh.mean(float(step.accumulate(tokens)))
    expected = reference.gradients[start]
    found = _whole_gradients(model, mesh)
    for name, gradient in expected.items():
        found.setdefault(name, torch.zeros_like(gradient))
    model.zero_grad(set_to_none=True)
    whole = _norm(expected.values())
    if gate.external is not None and not 0 < whole < math.inf:
        raise BadModel(
            f"{gate.external.target}: on the CPU the gradients of its first tokens are "
            f"{'none' if whole == 0 else 'no numbers'}",
            hint="its loss must depend on its weights, and be a number",
        )
    distances, cosines = {}, {}
    for name, gradient in expected.items():
        norm = _norm([gradient])
        counts = norm > NEGLIGIBLE * whole
        distances[name] = _norm([found[name] - gradient]) / (norm if counts else whole)
        if counts:
            cosines[name] = _cosine(found[name], gradient)
    # A distance that is not finite is the worst.
    worst = max(distances, key=lambda name: _or(distances[name], math.inf))
    least = min(cosines, key=lambda name: _or(cosines[name], -math.inf))
    return ParityPoint(
        start=start,
        loss=finite(loss),
        reference_loss=reference.first_losses[start],
        gradient_norm=finite(_norm(found[name] for name in expected)),
        reference_gradient_norm=whole,
        tensors=len(expected),
        worst_tensor=worst,
        worst_distance=finite(distances[worst]),
        least_cosine_tensor=least,
        least_cosine=finite(cosines[least]),
    )


def _set_weights(model: torch.nn.Module, source: torch.nn.Module) -> None:
    """Copy weights in place: what was compiled for the model stays valid."""
    wholes = dict(source.named_parameters())
    for name, parameter in model.named_parameters():
        put_whole(parameter, wholes[name])


def _whole_gradients(model: torch.nn.Module, mesh: Mesh) -> dict[str, torch.Tensor]:
    """Return the sampled gradient of each weight that has one, of all of a pipeline's stages."""
    mine = {
        name: sampled(whole_of(p.grad))
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    if mesh.size("pipeline") == 1:
        return mine
    return {name: each for stage in mesh.gather(mine) for name, each in stage.items()}


class WeightSample:
    """The first rows of each weight before the first step, copied to the host.

    Where adapters alone are trained, only those that the first step moves: `adapter_in` has no
    gradient while `adapter_out` is zero.
    """

    def __init__(self, model: torch.nn.Module, is_adapted: bool = False) -> None:
        self._weights = {
            name: p
            for name, p in model.named_parameters()
            if not is_adapted or name.endswith("adapter_out")
        }
        # Of a weight that is spread, this rank's part: it may have none of a short one.
        rows = {name: _first_rows(p) for name, p in self._weights.items()}
        self._before = {name: each for name, each in rows.items() if each.numel()}

    def moved(self, steps: int, order: WorkOrder | None = None) -> dict[str, Any]:
        """Return the fields of a `WeightUpdate` after these steps, of an order's optimizer."""
        relative: dict[str, float] = {}
        still: list[str] = []
        rounded: list[str] = []
        for name, before in self._before.items():
            change, scale = _norm([_first_rows(self._weights[name]) - before]), _norm([before])
            if change == 0:
                is_rounded = order is not None and _rounds_away(
                    before, self._weights[name].dtype, steps, order
                )
                (rounded if is_rounded else still).append(name)
            elif scale > 0:
                relative[name] = change / scale
        # A weight that is not finite has moved the farthest.
        least = min(relative, key=relative.__getitem__, default=None)
        most = max(relative, key=lambda name: _or(relative[name], math.inf), default=None)
        return {
            "steps": steps,
            "tensors": len(self._before),
            "still": still,
            "rounded": rounded,
            "least_tensor": least,
            "least": None if least is None else finite(relative[least]),
            "most_tensor": most,
            "most": None if most is None else finite(relative[most]),
        }


def _rounds_away(before: torch.Tensor, dtype: torch.dtype, steps: int, order: WorkOrder) -> bool:
    """Whether a weight's format is too coarse for AdamW to have moved any of its elements.

    A step moves an element by the learning rate and the weight decay at most, and is rounded; over
    masters in fp32 steps add up. In bf16 a norm's weight, which begins at 1, needs 0.002.
    Source: Kingma and Ba, Adam, section 2.1; Loshchilov and Hutter, arXiv 1711.05101.
    """
    settings = order.optimizer
    part = min(1.0, steps / settings.lr_warmup_steps) if settings.lr_warmup_steps else 1.0
    together = steps if order.precision == "bf16_master" else 1
    rate = settings.learning_rate * part * together
    most = rate * (1 + settings.weight_decay * before.abs())
    held = before.to(dtype)
    return all(torch.equal((before + by).to(dtype), held) for by in (most, -most))


def _first_rows(parameter: torch.nn.Parameter) -> torch.Tensor:
    """Return a copy of the first rows, of this rank's, on the CPU in fp32.

    Of experts' weights, (expert, in, out), the first of each expert: some get no token in a step.
    """
    whole = local_of(parameter)
    if not whole.numel():
        return whole
    if whole.ndim == 3:
        rows = max(1, KEPT_ELEMENTS // (whole.shape[0] * whole.shape[2]))
        return whole[:, :rows].to("cpu", torch.float32, copy=True)
    row_elements = whole[0].numel() if whole.ndim > 1 else 1
    return whole[: max(1, KEPT_ELEMENTS // row_elements)].to("cpu", torch.float32, copy=True)


def _norm(tensors: Any) -> float:
    return math.sqrt(sum(float((t.double() ** 2).sum()) for t in tensors))


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    scale = _norm([a]) * _norm([b])
    return float((a.double() * b.double()).sum()) / scale if scale else 0.0


def _or(value: float, instead: float) -> float:
    return value if math.isfinite(value) else instead
