"""What an external model is, found without a device: its weights, vocabulary, FLOPs and loss."""

import json
import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from trnbench.protocol.model import ExternalModel, masked_positions
from trnbench.protocol.orders import DescribeModel, StreamSettings
from trnbench.train.data import stream_of
from trnbench.train.external import (
    BadModel,
    ExternalObjective,
    blaming,
    build_external,
    is_tied,
    vocabulary_of,
)
from trnbench.train.loop import Pass
from trnbench.train.software import library_versions

SMALL_PARAMETERS = 50_000_000
"""Up to this many weights, a model that must run to be counted runs on the CPU."""

TRIAL_FLOPS = 2e11
"""A model whose first two sequences take less is tried: a second or two."""

TRIAL_SEQUENCES = 2
TRIAL_STREAM = StreamSettings(alphabet_size=64, noise=0.1, seed=0)
FIRST_TOKENS_HINT = {
    "python": "its `forward(inputs, targets)` gets two int64 tensors, (batch, tokens)",
    "huggingface": "its sizes under `model.config`, or in the config.json, do not fit together",
}


def describe(task: DescribeModel) -> dict[str, Any]:
    """Return the fields of a `Described`, by torch's `meta` device, which has no memory.

    Raises:
        BadModel: it cannot be built, has nothing to train, does not say its vocabulary, or returns
            no loss that depends on its weights.
    """
    external = task.external
    try:
        with torch.device("meta"):
            module = build_external(external, seed=0)
    except BadModel:  # it may need the values of its weights
        module = build_external(external, seed=0)
    parameters = list(module.parameters())
    if not any(p.requires_grad for p in parameters):
        raise BadModel(
            f"{external.target} has no weight that can be trained",
            hint="leave `requires_grad` at true for those that are to be trained",
        )
    flops, reason = _count(module, external, task.sequence_length)
    vocabulary_size = vocabulary_of(module, external.target)
    work = 6.0 * sum(p.numel() for p in parameters) * task.sequence_length * TRIAL_SEQUENCES
    if vocabulary_size > TRIAL_STREAM.alphabet_size and work <= TRIAL_FLOPS:
        _try(replace(external, vocabulary_size=vocabulary_size), task.sequence_length)
    config: Any = getattr(module, "config", None)
    values = config.to_dict() if callable(getattr(config, "to_dict", None)) else None
    return {
        "parameter_count": sum(p.numel() for p in parameters),
        "trained_count": sum(p.numel() for p in parameters if p.requires_grad),
        "embeddings_are_tied": is_tied(module),
        "vocabulary_size": vocabulary_size,
        "config": None if values is None else json.dumps(values, default=str),
        "flops_per_token": None if flops is None else flops / task.sequence_length,
        "flops_reason": reason,
        "versions": library_versions(external),
    }


def _count(
    module: nn.Module, external: ExternalModel, sequence_length: int
) -> tuple[float | None, str | None]:
    """Return the FLOPs of one sequence, or why they could not be counted."""
    place = next(module.parameters()).device
    try:
        return _counted(module, external, _made_up(external, sequence_length, place))
    except BadModel:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - another's, on no device
        if sum(p.numel() for p in module.parameters()) > SMALL_PARAMETERS:
            return None, (
                f"torch's counter would have to run it ({type(error).__name__}), and it has more "
                f"than {SMALL_PARAMETERS:,} weights"
            )
    with blaming(external, "its first tokens", FIRST_TOKENS_HINT[external.kind]):
        given = _made_up(external, sequence_length, torch.device("cpu"))
        return _counted(build_external(external, seed=0), external, given)


def _try(external: ExternalModel, sequence_length: int) -> None:
    """Refuse a model that has no gradients of a finite loss on its first tokens, on the CPU."""
    module = build_external(external, seed=0)
    batch = stream_of(external, sequence_length, TRIAL_STREAM).batch(0, TRIAL_SEQUENCES)
    with blaming(external, "its first tokens", FIRST_TOKENS_HINT[external.kind]):
        objective = ExternalObjective(module, external, "fp32")
        loss = objective(batch.inputs, batch.targets, batch.positions)
        loss.total.backward()
    if not math.isfinite(value := float(loss.cross_entropy)):
        raise BadModel(
            f"{external.target}: the loss of its first tokens is {value}",
            hint="weights as they are drawn must give a finite loss",
        )
    trained = [(name, p.grad) for name, p in module.named_parameters() if p.requires_grad]
    if not any(g is not None and bool(g.any()) for _, g in trained):
        raise BadModel(
            f"{external.target}: no weight has a gradient: its loss does not depend on them",
            hint="return the loss as it was computed, not detached from the graph",
        )
    unused = [name for name, gradient in trained if gradient is None]
    if unused and external.kind == "python":
        raise BadModel(
            f"{external.target}: {unused[0]} has no part in the loss",
            hint="leave it out, or set its `requires_grad` to false",
        )


def _made_up(external: ExternalModel, sequence_length: int, place: torch.device) -> Pass:
    """Return one sequence of zeros, as the model's arguments."""
    inputs = torch.zeros((1, sequence_length), dtype=torch.int64, device=place)
    if external.task == "next_token":
        return Pass(inputs, inputs)
    count = masked_positions(sequence_length)
    return Pass(inputs, inputs[:, :count], torch.arange(count, device=place)[None])


def _counted(
    module: nn.Module, external: ExternalModel, given: Pass
) -> tuple[float | None, str | None]:
    """Count one forward and backward pass, with attention by matmuls."""
    objective = ExternalObjective(module, external, "fp32")
    if given.inputs.is_meta and external.kind == "huggingface":
        # To make a mask of its own, transformers would read values.
        length = given.inputs.shape[1]
        mask = torch.ones((1, 1, length, length), dtype=torch.bool, device="meta")
        objective.extra = {"attention_mask": mask}
    counting = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    with sdpa_kernel(SDPBackend.MATH), counting as counter, _Seen() as seen:
        objective(*given).total.backward()
    if seen.uncounted:
        return None, f"torch's counter knows no operations of {', '.join(sorted(seen.uncounted))}"
    return float(counter.get_total_flops()), None


class _Seen(TorchDispatchMode):
    """Collects matmuls that torch's counter leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet = func._overloadpacket
        name = str(packet)
        is_torchs = name.startswith(("aten.", "prims."))
        is_matmul = not is_torchs or any(part in name for part in UNCOUNTED)
        if is_matmul and packet not in flop_registry and packet not in FORMULAS:
            self.uncounted.add(name)
        return func(*args, **(kwargs or {}))


Shape = tuple[int, ...]


def flops_of_grouped_matmul(left: Shape, right: Shape, *_: object, **__: object) -> int:
    """Return the FLOPs of a grouped matmul in which every row is in one run.

    (R, I) by (E, I, O) and (M, R) by (R, N) are cut along R, (E, M, K) by (K, N) along N.
    """
    runs = left[0] if len(left) == 3 and len(right) == 2 else 1
    return 2 * math.prod(left) * right[-1] // runs


_GROUPED = getattr(torch.ops.aten, "_grouped_mm", None)
FORMULAS: dict[Any, Any] = {_GROUPED: flops_of_grouped_matmul} if _GROUPED is not None else {}
"""For operators without a formula in torch's counter."""

UNCOUNTED = ("grouped_mm", "attention_for_cpu", "mkldnn", "lstm", "gru", "int_mm")
"""Parts of the names of torch's operators that contain matmuls."""
