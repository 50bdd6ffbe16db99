"""From a pass's inputs and targets to the loss: the model, its head and its cross-entropy.

A device compiles one graph from tokens to loss. The head computes all logits at once, or those of
one chunk of rows after another: a chunk's logits are replaced by their own gradient and freed, so
that the largest tensor of a step never exists and no matmul runs twice.

Shapes: R rows that have a target, C rows of a chunk, D model width, V vocabulary; B, T and P batch,
tokens and masked positions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.train.layers.linear import Reader, linear, whole
from trnbench.train.layers.vocabulary_loss import VocabularyPart, entropies
from trnbench.train.models.base import Model

ADDED_ROWS = 2048
"""Rows of a matmul that are added to a sum at once: all of them would need the sum's memory."""


class Losses(NamedTuple):
    """The losses of one pass, on the device."""

    total: torch.Tensor
    """What is minimised: the cross-entropy, and the load-balancing loss of experts; fp32."""
    cross_entropy: torch.Tensor
    """The mean, without its graph; fp32."""
    imbalance: torch.Tensor | None
    """Rows of the fullest expert over the mean."""


class Trainable(nn.Module):
    """A model and its loss: ours, or an external one's."""

    model: nn.Module

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor, positions: torch.Tensor | None = None
    ) -> Losses:
        """Return the losses of one pass.

        Targets are (B, T), (B, P) where `positions` says at which P tokens, or (B,) for classes.
        """
        raise NotImplementedError


class Objective(Trainable):
    """One of our families with its loss; all logits exist at once, or those of a chunk."""

    model: Model
    read: Reader = staticmethod(whole)
    enter: Callable[[torch.Tensor], torch.Tensor] = staticmethod(whole)
    """From this rank's tokens to all tokens of a group that shares them out."""
    over_ranks: Callable[[torch.Tensor], torch.Tensor] = staticmethod(whole)
    """The mean over such a group, of figures without a gradient."""
    is_split_backward: bool = False
    """Whether a backward pass runs twice, for states and for weights."""
    part: VocabularyPart | None = None
    """Of the vocabulary, where ranks share it out; None: all of it."""

    def __init__(self, model: Model, *, loss_chunk_rows: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.loss_chunk_rows = loss_chunk_rows
        experts = model.shape.experts
        self.balance_coefficient = 0.0 if experts is None else experts.balance_coefficient
        self.stages = nn.ModuleList()
        """Of a pipeline: those of this rank, whose modules are the model's."""

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor, positions: torch.Tensor | None = None
    ) -> Losses:
        """Return the losses of one pass."""
        hidden = self.model.hidden(inputs, positions)
        total = entropy = self.entropy(hidden.rows, targets)
        if hidden.balance is not None and self.balance_coefficient:
            total = entropy + self.balance_coefficient * hidden.balance
        return Losses(total, self.over_ranks(entropy.detach()), hidden.imbalance)

    def entropy(self, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of the head's input, (..., D), in fp32."""
        weight, bias = self.model.head_parameters()
        rows_RD, targets_R = self.enter(rows).flatten(0, -2), targets.flatten()
        weight, chunk_rows = self.read(weight), self.loss_chunk_rows
        if chunk_rows is None and self.part is None:
            return plain_loss(rows_RD, weight, bias, targets_R)
        chunk_rows = chunk_rows or len(rows_RD)
        return chunked_loss(
            rows_RD, weight, bias, targets_R, chunk_rows, self.part, self.is_split_backward
        )


def plain_loss(
    rows_RD: torch.Tensor,
    weight_VD: torch.Tensor,
    bias_V: torch.Tensor | None,
    targets_R: torch.Tensor,
) -> torch.Tensor:
    """Return the mean cross-entropy in fp32 of the head on all rows, all logits at once."""
    return F.cross_entropy(linear(rows_RD, weight_VD, bias_V).float(), targets_R.long())


def chunked_loss(
    rows_RD: torch.Tensor,
    weight_VD: torch.Tensor,
    bias_V: torch.Tensor | None,
    targets_R: torch.Tensor,
    chunk_rows: int,
    part: VocabularyPart | None = None,
    is_split_backward: bool = False,
) -> torch.Tensor:
    """Return the same, `chunk_rows` rows of logits at a time, which may be those of a part."""
    made: torch.Tensor = _ChunkedLoss.apply(
        rows_RD,
        weight_VD,
        bias_V,
        targets_R.long(),
        chunk_rows,
        *(part or (None, None)),
        is_split_backward,
    )
    return made


class _ChunkedLoss(torch.autograd.Function):
    """Computes gradients in the forward pass, while a chunk's logits exist."""

    @staticmethod
    def forward(
        ctx: Any,
        rows_RD: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_R: torch.Tensor,
        chunk_rows: int,
        first: torch.Tensor | None,
        group: Any,
        is_split_backward: bool,
    ) -> torch.Tensor:
        part = None if first is None else VocabularyPart(first, group)
        cast_VD = weight_VD.to(rows_RD.dtype)
        total = torch.zeros((), dtype=torch.float32, device=rows_RD.device)
        parts_of_rows: list[torch.Tensor] = []
        of_weight: torch.Tensor | None = None
        of_bias = None if bias_V is None else torch.zeros_like(bias_V, dtype=torch.float32)
        chunks = zip(rows_RD.split(chunk_rows), targets_R.split(chunk_rows), strict=True)
        for rows_CD, targets_C in chunks:
            logits_CV = torch.mm(rows_CD, cast_VD.t())
            if bias_V is not None:
                logits_CV = logits_CV + bias_V.to(logits_CV.dtype)
            losses_C1, gradient_CV = entropies(logits_CV, targets_C[:, None], part)
            total += losses_C1.sum()
            if of_bias is not None:
                of_bias += gradient_CV.sum(0)
            cast_CV = gradient_CV.to(rows_RD.dtype)
            parts_of_rows.append(torch.mm(cast_CV, cast_VD))
            if ctx.needs_input_grad[1]:  # else it is frozen, beneath adapters
                # fp32 whatever the weight's type: it is a sum over all chunks.
                if of_weight is None:
                    of_weight = torch.mm(cast_CV.t(), rows_CD).float()
                else:
                    _add_matmul(of_weight, cast_CV.t(), rows_CD)
            # Else they are there while the next chunk's are made: 8 bytes a logit more.
            del logits_CV, gradient_CV, cast_CV
        count = len(rows_RD)
        ctx.count, ctx.is_split_backward = count, is_split_backward
        ctx.types = weight_VD.dtype, None if bias_V is None else bias_V.dtype
        ctx.save_for_backward(torch.cat(parts_of_rows), of_weight, of_bias)
        return total / count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        of_rows, of_weight, of_bias = ctx.saved_tensors
        scale = gradient / ctx.count
        weight_type, bias_type = ctx.types
        # In place, where no other pass needs them: the head's may be the largest of all gradients.
        scaled = torch.mul if ctx.is_split_backward else torch.Tensor.mul_
        return (
            of_rows * scale.to(of_rows.dtype),
            None if of_weight is None else scaled(of_weight, scale).to(weight_type),
            None if of_bias is None else scaled(of_bias, scale).to(bias_type),
            *(None,) * 5,
        )


# An operator of our own: torch's compiler would else compute the matmuls of all chunks before it
# adds any, and hold them all. Not by torch.library.custom_op, whose first call imports the whole of
# torch's compiler.
torch.library.define("trnbench::add_product", "(Tensor(a!) total, Tensor left, Tensor right) -> ()")


def _add_by_rows(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    for rows, part in zip(total.split(ADDED_ROWS), left.split(ADDED_ROWS), strict=True):
        rows.add_(torch.mm(part, right))


torch.library.impl("trnbench::add_product", "CPU", _add_by_rows)
torch.library.register_fake("trnbench::add_product", lambda _total, _left, _right: None)


def _add_matmul(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add left @ right to a sum in fp32; on a CPU without holding the whole matmul."""
    if total.device.type == "cpu":
        torch.ops.trnbench.add_product(total, left, right)
    else:
        total.add_(torch.mm(left, right))
