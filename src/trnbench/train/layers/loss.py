"""The head's product and its cross-entropy: all rows at once, or a chunk of rows at a time.

A chunk's logits become their own gradient on the spot and are then gone, so that the largest tensor
of a step is never made; no product is made twice.

Shapes: R rows that have a target, D model width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it

from trnbench.train.layers.products import PLAIN, AddProduct, Multiply, Products


def plain_loss(
    rows_RD: torch.Tensor,
    weight_VD: torch.Tensor,
    bias_V: torch.Tensor | None,
    targets_R: torch.Tensor,
) -> torch.Tensor:
    """Return the mean cross-entropy in fp32, all logits at once.

    Args:
        rows_RD: what the head is given, in the type that its product is made in.
        weight_VD: the head's weight.
        bias_V: and its bias.
        targets_R: the right entry of each row.
    """
    bias = None if bias_V is None else bias_V.to(rows_RD.dtype)
    logits_RV = F.linear(rows_RD, weight_VD.to(rows_RD.dtype), bias)
    return F.cross_entropy(logits_RV.float(), targets_R.long())


def chunked_loss(
    rows_RD: torch.Tensor,
    weight_VD: torch.Tensor,
    bias_V: torch.Tensor | None,
    targets_R: torch.Tensor,
    chunk_rows: int,
    products: Products = PLAIN,
) -> torch.Tensor:
    """Return the same, `chunk_rows` rows of logits at a time."""
    loss: torch.Tensor = _ChunkedLoss.apply(
        rows_RD,
        weight_VD,
        bias_V,
        targets_R.long(),
        chunk_rows,
        products.multiply,
        products.rounds,
        products.add_product,
    )
    return loss


class _ChunkedLoss(torch.autograd.Function):
    """Gradients are made in the forward pass, while a chunk's logits exist."""

    @staticmethod
    def forward(
        ctx: Any,
        rows_RD: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_R: torch.Tensor,
        chunk_rows: int,
        multiply: Multiply,
        rounds: bool,
        add_product: AddProduct,
    ) -> torch.Tensor:
        factor_VD = weight_VD if rounds else weight_VD.to(rows_RD.dtype)
        total = torch.zeros((), dtype=torch.float32, device=rows_RD.device)
        parts_of_rows: list[torch.Tensor] = []
        of_weight: torch.Tensor | None = None
        of_bias = None if bias_V is None else torch.zeros_like(bias_V, dtype=torch.float32)
        chunks = zip(rows_RD.split(chunk_rows), targets_R.split(chunk_rows), strict=True)
        for rows_CD, targets_C in chunks:
            logits_CV = multiply(rows_CD, factor_VD.t())
            if bias_V is not None:
                logits_CV = logits_CV + bias_V.to(logits_CV.dtype)
            losses_C1, gradient_CV = _entropies(logits_CV, targets_C[:, None])
            total += losses_C1.sum()
            if of_bias is not None:
                of_bias += gradient_CV.sum(0)
            cast_CV = gradient_CV.to(rows_RD.dtype)
            parts_of_rows.append(multiply(cast_CV, factor_VD))
            if ctx.needs_input_grad[1]:  # else it is frozen, beneath adapters
                # fp32 whatever the weight's type: it is a sum over all chunks.
                if of_weight is None:
                    of_weight = multiply(cast_CV.t(), rows_CD).float()
                else:
                    add_product(of_weight, cast_CV.t(), rows_CD)
        count = len(rows_RD)
        ctx.count = count
        ctx.types = weight_VD.dtype, None if bias_V is None else bias_V.dtype
        ctx.save_for_backward(torch.cat(parts_of_rows), of_weight, of_bias)
        return total / count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        of_rows, of_weight, of_bias = ctx.saved_tensors
        scale = gradient / ctx.count
        weight_type, bias_type = ctx.types
        return (
            of_rows * scale.to(of_rows.dtype),
            None if of_weight is None else of_weight.mul_(scale).to(weight_type),
            None if of_bias is None else of_bias.mul_(scale).to(bias_type),
            None,
            None,
            None,
            None,
            None,
        )


def _entropies(
    logits_CV: torch.Tensor, targets_C1: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's cross-entropy, (C, 1), and its gradient by the logits, both in fp32."""
    of_targets_C1 = logits_CV.gather(1, targets_C1).float()
    if torch.compiler.is_compiling():
        # One kernel of what is read anyway: neither shares nor gradient are ever made in fp32.
        sums_C1 = logits_CV.float().logsumexp(1, keepdim=True)
        is_target_CV = torch.arange(logits_CV.shape[1], device=logits_CV.device) == targets_C1
        gradient_CV = (logits_CV.float() - sums_C1).exp() - is_target_CV.float()
        return sums_C1 - of_targets_C1, gradient_CV
    # log sum exp from the likeliest entry, whose share cannot be too small for a number.
    largest_C1 = logits_CV.amax(1, keepdim=True).float()
    gradient_CV = _softmax_in_fp32(logits_CV)
    losses_C1 = largest_C1 - gradient_CV.amax(1, keepdim=True).log() - of_targets_C1
    gradient_CV.scatter_add_(1, targets_C1, gradient_CV.new_full(targets_C1.shape, -1.0))
    return losses_C1, gradient_CV


def _softmax_in_fp32(logits: torch.Tensor) -> torch.Tensor:
    """Return each row's softmax; a CPU is nine times as fast if it need not cast on the way."""
    if logits.device.type == "cpu":
        return torch.softmax(logits.float(), 1)
    return torch.softmax(logits, 1, dtype=torch.float32)
