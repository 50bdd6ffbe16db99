"""What a guest is, found without a device: its weights, its tokens, its operations and its loss."""

import json
import platform
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from trnbench.train.backends.base import version_of
from trnbench.train.guests import (
    BadModel,
    GuestObjective,
    build_guest,
    first_line,
    is_tied,
    vocabulary_of,
)
from trnbench.wire import Guest, GuestQuestion, masked_positions

SMALL_PARAMETERS = 50_000_000
"""Up to this many weights a guest that has to be run to be counted is run, on the CPU."""

Given = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


def describe(question: GuestQuestion) -> dict[str, Any]:
    """Build a guest on torch's `meta` device, which has shapes and no memory, and look at it.

    Returns:
        The fields of a `Described`.

    Raises:
        BadModel: it cannot be built, does not say its vocabulary, or returns no loss.
    """
    guest = question.guest
    module = _without_memory(guest)
    parameters = list(module.parameters())
    flops, reason = _count(module, guest, question.sequence_length)
    config: Any = getattr(module, "config", None)
    values = config.to_dict() if callable(getattr(config, "to_dict", None)) else None
    return {
        "wire_version": question.wire_version,
        "parameter_count": sum(p.numel() for p in parameters),
        "trained_count": sum(p.numel() for p in parameters if p.requires_grad),
        "embeddings_are_tied": is_tied(module),
        "vocabulary_size": vocabulary_of(module, guest.target),
        "config": None if values is None else json.dumps(values, default=str),
        "flops_per_token": None if flops is None else flops / question.sequence_length,
        "flops_reason": reason,
        "versions": _versions(guest),
    }


def _without_memory(guest: Guest) -> nn.Module:
    try:
        with torch.device("meta"):
            return build_guest(guest, seed=0)
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return build_guest(guest, seed=0)  # it looks at its weights while it makes them


def _count(
    module: nn.Module, guest: Guest, sequence_length: int
) -> tuple[float | None, str | None]:
    """Return the FLOPs of one sequence, or why they could not be counted.

    Raises:
        BadModel: it returns no loss, or fails where it could be run.
    """
    place = next(module.parameters()).device
    try:
        return _counted(module, guest, _made_up(guest, sequence_length, place))
    except BadModel:
        raise
    except Exception as error:  # noqa: BLE001 - another's code, on a device that has no values
        if sum(p.numel() for p in module.parameters()) > SMALL_PARAMETERS:
            return None, (
                f"torch's counter would have to run it ({type(error).__name__}), and it has more "
                f"than {SMALL_PARAMETERS:,} weights"
            )
    here = torch.device("cpu")
    try:
        return _counted(build_guest(guest, seed=0), guest, _made_up(guest, sequence_length, here))
    except BadModel:
        raise
    except Exception as error:
        raise BadModel(
            f"{guest.target}: fails on its first tokens: {first_line(error)}",
            hint="its `forward(inputs, targets)` gets two int64 tensors, (batch, tokens)",
        ) from error


def _made_up(guest: Guest, sequence_length: int, place: torch.device) -> Given:
    """Return one sequence of zeros, as this guest is given it."""
    inputs = torch.zeros((1, sequence_length), dtype=torch.int64, device=place)
    if guest.task == "next_token":
        return inputs, inputs, None
    count = masked_positions(sequence_length)
    where = torch.arange(count, device=place)[None]
    return inputs, inputs[:, :count], where


def _counted(module: nn.Module, guest: Guest, given: Given) -> tuple[float | None, str | None]:
    """Count one forward and backward pass; attention by products, which torch can count."""
    objective = GuestObjective(module, guest, "fp32")
    if given[0].is_meta and guest.kind == "huggingface":
        # Without a mask of its own, transformers looks at values to make one.
        length = given[0].shape[1]
        mask = torch.ones((1, 1, length, length), dtype=torch.bool, device="meta")
        objective.extra = {"attention_mask": mask}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, _Seen() as seen:
        objective(*given).minimised.backward()
    if seen.uncounted:
        return None, f"torch's counter knows no operations of {', '.join(sorted(seen.uncounted))}"
    return float(counter.get_total_flops()), None


class _Seen(TorchDispatchMode):
    """Notes products that torch's counter passes over as if they were none."""

    def __init__(self) -> None:
        super().__init__()
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet = func._overloadpacket
        name = str(packet)
        is_product = not name.startswith(("aten.", "prims.")) or any(
            part in name for part in UNCOUNTED
        )
        if is_product and packet not in flop_registry:
            self.uncounted.add(name)
        return func(*args, **(kwargs or {}))


UNCOUNTED = ("grouped_mm", "attention_for_cpu", "mkldnn", "lstm", "gru", "int_mm")
"""Parts of names of torch's own operators that make products."""


def _versions(guest: Guest) -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    if guest.kind == "huggingface":
        found["transformers"] = version_of("transformers") or "unknown"
    return found
