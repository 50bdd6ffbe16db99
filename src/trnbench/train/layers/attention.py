"""Attention with its projections, under a causal mask, a window, documents and sinks.

A window is cut into bands of its own width and documents into batches of their own length: no mask
of the whole sequence exists, and the work grows with what is attended to. Lengths are known when
the model is built, so that lazy and ahead-of-time compilers see one graph.

Shapes: B batch, T tokens or queries, S keys, D model width, N query heads, K key and value heads
(N is a multiple of K), H head width, W window, C bands.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.protocol.model import ModelShape
from trnbench.train.layers.linear import Linear, Reader, RmsNorm, whole
from trnbench.train.layers.rotary import rotate

SINK_WIDTH = 8
"""Columns that a sink adds to each head; kernels need widths that are multiples of eight."""


class AttentionCore(Protocol):
    """Attention as a device computes it."""

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        scale: float,
        *,
        is_causal: bool = False,
        allowed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the attended values, (B, N, T, H), of q, (B, N, T, H), and k and v, (B, K, S, H).

        `is_causal`: query t sees keys up to t; else `allowed`, (B, 1, T, S), says which.
        """
        ...


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    *,
    is_causal: bool = False,
    allowed: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend by torch's own function; an `AttentionCore`."""
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=allowed,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """Which keys a query sees."""

    is_causal: bool = True
    window: int | None = None
    """Keys that a query sees, its own included; only under a causal mask."""
    document_length: int | None = None
    """Tokens of each document in a packed sequence; the last document may be shorter."""


def attend(
    q_BNTH: torch.Tensor,
    k_BKTH: torch.Tensor,
    v_BKTH: torch.Tensor,
    mask: Mask,
    sinks_N: torch.Tensor | None = None,
    core: AttentionCore = fused_attention,
) -> torch.Tensor:
    """Return the attended values, (B, N, T, H).

    A sink is a logit of each head that takes part in the softmax and has no value.
    """
    tokens, width = q_BNTH.shape[2:]
    scale = width**-0.5
    if sinks_N is not None:
        q_BNTH, k_BKTH, v_BKTH = with_sinks(q_BNTH, k_BKTH, v_BKTH, sinks_N / scale)
    mix = functools.partial(core, scale=scale)
    length = mask.document_length
    if length is None or length >= tokens:
        mixed = _one_document((q_BNTH, k_BKTH, v_BKTH), mask, mix, sinks_N is not None)
    else:
        whole = tokens // length * length
        parts = [
            _documents(
                (q_BNTH[:, :, a:b], k_BKTH[:, :, a:b], v_BKTH[:, :, a:b]),
                min(length, b - a),
                mask,
                mix,
                sinks_N is not None,
            )
            for a, b in ((0, whole), (whole, tokens))
            if b > a
        ]
        mixed = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
    return mixed if sinks_N is None else mixed[..., :width]


Attend = Callable[..., torch.Tensor]
"""`attend`, or what does the same where ranks share out the tokens."""


class RotaryAttention(nn.Module):
    """Causal grouped-query attention with rotary positions."""

    core: AttentionCore = staticmethod(fused_attention)
    attend: Attend = staticmethod(attend)
    read: Reader = staticmethod(whole)

    def __init__(self, shape: ModelShape, mask: Mask) -> None:
        super().__init__()
        self.mask = mask
        self.head_dim = shape.head_dim
        query_width, key_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        into, out = shape.attention_biases != "none", shape.attention_biases == "all"
        self.query = Linear(shape.hidden_size, query_width, bias=into)
        self.key = Linear(shape.hidden_size, key_width, bias=into)
        self.value = Linear(shape.hidden_size, key_width, bias=into)
        self.output = Linear(query_width, shape.hidden_size, bias=out)
        self.query_norm: nn.Module = nn.Identity()
        self.key_norm: nn.Module = nn.Identity()
        if shape.qk_norm:
            self.query_norm = RmsNorm(shape.head_dim, eps=shape.norm_epsilon)
            self.key_norm = RmsNorm(shape.head_dim, eps=shape.norm_epsilon)
        self.sink_bias = nn.Parameter(torch.zeros(shape.heads)) if shape.attention_sinks else None

    def forward(
        self, x_BTD: torch.Tensor, cosines_TH: torch.Tensor, sines_TH: torch.Tensor
    ) -> torch.Tensor:
        """Return the attended values, projected back to (B, T, D)."""
        by_head = (*x_BTD.shape[:2], -1, self.head_dim)
        q_BNTH = self.query_norm(self.query(x_BTD).view(by_head)).transpose(1, 2)
        k_BKTH = self.key_norm(self.key(x_BTD).view(by_head)).transpose(1, 2)
        v_BKTH = self.value(x_BTD).view(by_head).transpose(1, 2)
        mixed_BNTH = self.attend(
            rotate(q_BNTH, cosines_TH, sines_TH),
            rotate(k_BKTH, cosines_TH, sines_TH),
            v_BKTH,
            self.mask,
            None if self.sink_bias is None else self.read(self.sink_bias),
            self.core,
        )
        return self.output(mixed_BNTH.transpose(1, 2).flatten(2))


class JoinedAttention(nn.Module):
    """Multi-head attention with biases, queries, keys and values from one matmul."""

    core: AttentionCore = staticmethod(fused_attention)
    attend: Attend = staticmethod(attend)

    def __init__(self, shape: ModelShape, mask: Mask) -> None:
        super().__init__()
        self.mask = mask
        self.heads, self.head_dim = shape.heads, shape.head_dim
        width = shape.heads * shape.head_dim
        self.query_key_value = Linear(shape.hidden_size, 3 * width)
        self.output = Linear(width, shape.hidden_size)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return the attended values, projected back to (B, T, D)."""
        by_head = (*x_BTD.shape[:2], self.heads, self.head_dim)
        q_BNTH, k_BNTH, v_BNTH = (
            part.view(by_head).transpose(1, 2) for part in self.query_key_value(x_BTD).chunk(3, -1)
        )
        mixed_BNTH = self.attend(q_BNTH, k_BNTH, v_BNTH, self.mask, core=self.core)
        return self.output(mixed_BNTH.transpose(1, 2).flatten(2))


def use_core(model: nn.Module, core: AttentionCore) -> None:
    """Have every attention layer of a model use this core."""
    for module in model.modules():
        if isinstance(module, RotaryAttention | JoinedAttention):
            module.core = core


def mask_of_layer(shape: ModelShape, layer: int, document_length: int | None) -> Mask:
    """Return the mask of block number `layer`, counted from 0."""
    mask = Mask(window=shape.sliding_window, document_length=document_length)
    every = shape.full_attention_every
    return replace(mask, window=None) if every and (layer + 1) % every == 0 else mask


Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Mix = Callable[..., torch.Tensor]
"""An `AttentionCore` that has its scale."""


def _documents(heads: Heads, length: int, mask: Mask, mix: Mix, has_sinks: bool) -> torch.Tensor:
    """Attend within documents of one length, as more sequences of the batch."""
    batch, _, tokens, _ = heads[0].shape
    count = tokens // length
    q, k, v = (
        x.unflatten(2, (count, length)).transpose(1, 2).flatten(0, 1)  # (B x count, heads, length)
        for x in heads
    )
    mixed = _one_document((q, k, v), mask, mix, has_sinks)
    return mixed.unflatten(0, (batch, count)).transpose(1, 2).flatten(2, 3)


def _one_document(heads: Heads, mask: Mask, mix: Mix, has_sinks: bool) -> torch.Tensor:
    q, k, v = heads
    if mask.window is not None and mask.window < q.shape[2]:
        return _banded(heads, mask.window, mix, has_sinks)
    if not has_sinks:
        return mix(q, k, v, is_causal=mask.is_causal)
    # Every query sees the sink. As the first key, with a first query whose outcome is dropped, it
    # fits a causal mask, which all kernels have.
    first = torch.zeros_like(q[:, :, :1])
    k, v = sink_first(k, v)
    return mix(torch.cat((first, q), 2), k, v, is_causal=True)[:, :, 1:]


def _banded(heads: Heads, window: int, mix: Mix, has_sinks: bool) -> torch.Tensor:
    """Let each band of W queries see its own band of keys and the one before it.

    That is 2 W keys for the W of the mask: twice the least work, and linear in the sequence.
    """
    batch, count, tokens, width = heads[0].shape
    bands = -(-tokens // window)
    padding = bands * window - tokens
    q, k, v = (F.pad(x, (0, 0, 0, padding)) for x in heads)
    q = q.unflatten(2, (bands, window)).transpose(1, 2).flatten(0, 1)  # (B x C, N, W, H)
    k, v = (_pairs_of_bands(x, bands, window) for x in (k, v))
    allowed = _band_mask(bands, window, q.device)
    if has_sinks:
        k, v = sink_first(k, v)
        allowed = F.pad(allowed, (1, 0), value=True)
    allowed = allowed.repeat(batch, 1, 1, 1)
    mixed = mix(q, k, v, allowed=allowed)
    mixed = mixed.unflatten(0, (batch, bands)).transpose(1, 2).reshape(batch, count, -1, width)
    return mixed[:, :, :tokens]


def _pairs_of_bands(x: torch.Tensor, bands: int, window: int) -> torch.Tensor:
    """Return each band after the one before it, (B x C, K, 2 W, H); before the first are zeros."""
    banded = x.unflatten(2, (bands, window))
    before = F.pad(banded, (0, 0, 0, 0, 1, 0))[:, :, :-1]
    return torch.cat((before, banded), dim=3).transpose(1, 2).flatten(0, 1)


def _band_mask(bands: int, window: int, device: torch.device) -> torch.Tensor:
    """Return which keys each query of a band sees, (C, 1, W, 2 W)."""
    query = torch.arange(window, device=device)[:, None] + window
    key = torch.arange(2 * window, device=device)[None, :]
    inside = (key <= query) & (key > query - window)
    is_first = torch.arange(bands, device=device)[:, None, None, None] == 0
    return inside & ~(is_first & (key < window))


def with_sinks(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, logits_N: torch.Tensor) -> Heads:
    """Widen the heads so that a key with a one in the first new column scores the head's sink.

    So sinks run on every kernel, although none has them.
    """
    logit = logits_N.to(q.dtype)[None, :, None, None].expand(*q.shape[:3], 1)
    rest = F.pad(q, (0, SINK_WIDTH))[..., -SINK_WIDTH + 1 :]
    return torch.cat((q, logit, rest), -1), F.pad(k, (0, SINK_WIDTH)), F.pad(v, (0, SINK_WIDTH))


def sink_first(k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Put the sink first: a key of one in the column of the queries' logits, a value of 0."""
    key, value = torch.zeros_like(k[:, :, :1]), torch.zeros_like(v[:, :, :1])
    key[..., -SINK_WIDTH] = 1
    return torch.cat((key, k), 2), torch.cat((value, v), 2)
