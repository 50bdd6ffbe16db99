"""What all families share: blocks that compute hidden states, and a head for the logits.

Shapes: B batch, T tokens, D model width, V vocabulary or classes, R rows that have a target.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Recompute
from trnbench.train.layers.linear import Linear, linear

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
    "reduce_scatter_tensor",
    "all_reduce",
)
"""Operators of torch whose outcome `selective` keeps; it keeps that of our own too."""


class Hidden(NamedTuple):
    """The head's input, and the figures of a mixture of experts."""

    rows: torch.Tensor
    """(R, D) or (B, T, D)."""
    balance: torch.Tensor | None = None
    """Load-balancing loss, mean over the blocks that have experts."""
    imbalance: torch.Tensor | None = None
    """Rows of the fullest expert over the mean, mean over those blocks."""


class Blocks(nn.ModuleList):
    """A model's blocks in order, and what of them the backward pass recomputes.

    full: all but a block's input. selective: what lies between its matmuls and attention, which
    costs memory traffic and no matmul. none: nothing.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__(blocks)
        self.recompute: Recompute = "none"

    def run(self, block: nn.Module, *inputs: Any) -> Any:
        """Run one of the blocks."""
        if self.recompute == "none" or not torch.is_grad_enabled():
            return block(*inputs)
        return recomputed(block, self.recompute, *inputs)


def recomputed(block: Callable[..., Any], recompute: Recompute, *inputs: Any) -> Any:
    """Run a block so that the backward pass computes it again, `selective` or `full`."""
    chosen: dict[str, Any] = {}
    if recompute == "selective":
        chosen["context_fn"] = _contexts
    # Nothing in a block is random: there is no state to restore.
    return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False, **chosen)


def _policy(_context: Any, operator: Any, *_: Any, **__: Any) -> CheckpointPolicy:
    name = operator.name().partition("::")[2].partition(".")[0]
    is_torchs = operator.namespace in ("aten", "_c10d_functional")
    is_kept = operator.namespace == "trnbench" or (is_torchs and name in KEPT)
    return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE


_contexts: Callable[[], Any] = functools.partial(create_selective_checkpoint_contexts, _policy)


class Model(nn.Module):
    """What all families share: embedding, blocks, and a head that may be the embedding."""

    is_masked: ClassVar[bool] = False
    """Whether it predicts masked tokens instead of the next."""
    narrows_residuals: ClassVar[bool] = False
    """Whether residual outputs are drawn narrower, by the root of twice the number of blocks."""
    blocks: Blocks

    def __init__(
        self, shape: ModelShape, sequence_length: int, document_length: int | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        self.positions_T: torch.Tensor
        """From 0 in each document of a packed sequence."""
        positions_T = torch.arange(sequence_length)
        if document_length is not None:
            positions_T = positions_T % document_length
        self.register_buffer("positions_T", positions_T, persistent=False)
        self.compute_dtype: torch.dtype | None = None
        """The format of a step; None: the weights' own."""
        self.head: Linear | None = None

    def make_head(self) -> None:
        """Add the head, unless its weight is the embedding's."""
        if not self.shape.tied_embeddings:
            self.head = Linear(self.shape.hidden_size, self.shape.vocabulary_size, bias=False)

    def hidden(self, inputs: torch.Tensor, positions: torch.Tensor | None = None) -> Hidden:
        """Return the head's input at the targets' positions, (B, P), or everywhere (None)."""
        raise NotImplementedError

    def head_parameters(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the head's weight, (V, D), and its bias."""
        if self.head is not None:
            return self.head.weight, self.head.bias
        return self.get_parameter("embedding.weight"), None

    def forward(self, inputs: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits of every row, (..., V)."""
        return linear(self.hidden(inputs, positions).rows, *self.head_parameters())

    def embed(self, embedding: nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
        """Look up ids, in the format of the step."""
        return embedding(ids).to(self.compute_dtype or embedding.weight.dtype)


def rows_at(x_BTD: torch.Tensor, positions_BP: torch.Tensor | None) -> torch.Tensor:
    """Return the rows at each sequence's positions, (B, P, D), or all of them (None)."""
    if positions_BP is None:
        return x_BTD
    return x_BTD.gather(1, positions_BP.long()[..., None].expand(-1, -1, x_BTD.shape[-1]))
