"""What ranks must have alike, as digests that the parent compares: the program, the weights.

Ranks that run different programs wait for each other for ever, without a word; ranks whose weights
differ train different models.
"""

import ctypes
import dataclasses
import hashlib
import json
from collections.abc import Iterable

import torch
from torch import nn

from trnbench.protocol.orders import WorkOrder
from trnbench.train.backends.base import Backend
from trnbench.train.parallel.mesh import Mesh
from trnbench.train.parallel.parts import local_of

OWN_SETTINGS = ("affinity", "peer_access")
"""Settings in which ranks differ by right: the processors of each, and what its device reaches."""

SAMPLED_ELEMENTS = 2**14
"""Of each weight, evenly spaced."""


def program_digest(order: WorkOrder, model: nn.Module, backend: Backend, mesh: Mesh) -> str:
    """Return a hash of all that decides which operations a rank runs, in which order.

    Of a pipeline's stages it has the weights of all.
    """
    settings = {k: v for k, v in backend.settings().items() if k not in OWN_SETTINGS}
    weights = describe_weights(model)
    if mesh.size("pipeline") > 1:
        weights = sorted({line for lines in mesh.gather(weights) for line in lines})
    program = [torch.__version__, dataclasses.asdict(order), settings, weights]
    return _hash_of([json.dumps(program, sort_keys=True).encode()])


def describe_weights(model: nn.Module) -> list[str]:
    """Return a line for each weight: name, whole shape, format, whether it is trained, placing."""
    return [
        f"{name} {tuple(p.shape)} {p.dtype} {p.requires_grad} {getattr(p, 'placements', '')}"
        for name, p in model.named_parameters()
    ]


def weights_digest(model: nn.Module) -> str:
    """Return a hash of the bits of this rank's weights, of large ones an even sample."""
    return _hash_of(_bits_of(local_of(p)) for p in model.parameters())


def _bits_of(tensor: torch.Tensor) -> bytes:
    flat = tensor.flatten()
    kept = flat[:: max(1, -(-flat.numel() // SAMPLED_ELEMENTS))].cpu().contiguous()
    return ctypes.string_at(kept.data_ptr(), kept.nbytes)


def _hash_of(parts: Iterable[bytes]) -> str:
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return made.hexdigest()[:32]
