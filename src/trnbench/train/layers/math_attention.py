"""Attention by plain matmuls, which CPUs with bf16 instructions run faster in bf16.

torch's fused kernel for CPUs computes its backward matmuls in bf16 one small tile at a time. For
long sequences the scores need too much memory, and the fused kernel is faster. Scores are rounded
to bf16, as in eager attention. Measured: docs/decisions/0024.

Shapes: B batch, T queries, S keys, N query heads, K key heads, G = N / K, H head width.
"""

from typing import Any

import torch

from trnbench.train.layers.attention import fused_attention

LONGEST = 1024
"""Keys up to which plain matmuls are used."""


def math_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    *,
    is_causal: bool = False,
    allowed: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend to few keys by plain matmuls, to many by torch's kernel; an `AttentionCore`."""
    if k.shape[2] > LONGEST:
        return fused_attention(q, k, v, scale, is_causal=is_causal, allowed=allowed)
    groups = q.shape[1] // k.shape[1]
    bias = None
    if is_causal:
        allowed = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    if allowed is not None:
        bias = torch.zeros_like(allowed, dtype=q.dtype).masked_fill_(~allowed, float("-inf"))
    if groups > 1:
        # Queries that share a key head become more rows of one matmul: no key is copied.
        q = q.unflatten(1, (-1, groups)).flatten(2, 3)
        bias = None if bias is None else bias.repeat(*(1,) * (bias.ndim - 2), groups, 1)
    mixed: torch.Tensor = _Attention.apply(q, k, v, scale, bias)
    return mixed.unflatten(2, (groups, -1)).flatten(1, 2) if groups > 1 else mixed


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        scores = torch.matmul(q * scale, k.transpose(-1, -2))
        if bias is not None:
            scores.add_(bias)
        shares = torch.softmax(scores, -1)  # on a CPU its sums are fp32 whatever the type
        ctx.save_for_backward(q, k, v, shares)
        ctx.scale = scale
        return torch.matmul(shares, v)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, shares = ctx.saved_tensors
        of_v = torch.matmul(shares.transpose(-1, -2), gradient)
        of_shares = torch.matmul(gradient, v.transpose(-1, -2))
        of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)
        of_q = torch.matmul(of_scores, k).mul_(ctx.scale)
        of_k = torch.matmul(of_scores.transpose(-1, -2), q).mul_(ctx.scale)
        return of_q, of_k, of_v, None, None
