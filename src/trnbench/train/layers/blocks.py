"""A model's blocks in their order, and what of them is made again in the backward pass.

full: a block keeps its input alone. selective: it keeps its matrix products and its attention too,
and makes again what lies between them, which costs memory traffic and no product. none: all.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from trnbench.wire import Recompute

KEPT = (
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "_grouped_mm",
    "_scaled_mm",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
"""Operators of torch whose outcome `selective` keeps, beside our own `trnbench::product`."""


class Blocks(nn.ModuleList):
    """Runs blocks one after the other, each as `recompute` says."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__(blocks)
        self.recompute: Recompute = "none"

    def run(self, block: nn.Module, *inputs: Any) -> Any:
        """Run one of the blocks."""
        if self.recompute == "none" or not torch.is_grad_enabled():
            return block(*inputs)
        chosen: dict[str, Any] = {}
        if self.recompute == "selective":
            chosen["context_fn"] = _contexts
        # Nothing in a block is drawn at random: there is no state to bring back.
        return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False, **chosen)


def _policy(_context: Any, operator: Any, *_: Any, **__: Any) -> CheckpointPolicy:
    name = operator.name().partition("::")[2].partition(".")[0]
    is_kept = operator.namespace == "trnbench" or (operator.namespace == "aten" and name in KEPT)
    return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE


_contexts: Callable[[], Any] = functools.partial(create_selective_checkpoint_contexts, _policy)
