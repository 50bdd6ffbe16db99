"""Attention with its projections: as rotary decoders have it, and as GPT-2, BERT and ViT do.

Shapes: B batch, T tokens, D model width, N query heads, K key and value heads, H head width.
"""

from dataclasses import replace

import torch
from torch import nn

from trnbench.train.layers.attend import Mask, attend
from trnbench.train.layers.linear import Linear, RmsNorm
from trnbench.train.layers.products import Core, fused
from trnbench.train.layers.rotary import rotate
from trnbench.wire import ModelShape


class RotaryAttention(nn.Module):
    """Causal grouped-query attention with rotary positions."""

    core: Core = staticmethod(fused)

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
        mixed_BNTH = attend(
            rotate(q_BNTH, cosines_TH, sines_TH),
            rotate(k_BKTH, cosines_TH, sines_TH),
            v_BKTH,
            self.mask,
            self.sink_bias,
            self.core,
        )
        return self.output(mixed_BNTH.transpose(1, 2).flatten(2))


class JoinedAttention(nn.Module):
    """Multi-head attention with biases, queries, keys and values from one product."""

    core: Core = staticmethod(fused)

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
        mixed_BNTH = attend(q_BNTH, k_BNTH, v_BNTH, self.mask, core=self.core)
        return self.output(mixed_BNTH.transpose(1, 2).flatten(2))


def use_core(model: nn.Module, core: Core) -> None:
    """Let all attention of a model be made so."""
    for module in model.modules():
        if isinstance(module, RotaryAttention | JoinedAttention):
            module.core = core


def mask_of_layer(shape: ModelShape, layer: int, document_length: int | None) -> Mask:
    """Return which keys block number `layer`, counted from 0, lets a query look at."""
    mask = Mask(window=shape.sliding_window, document_length=document_length)
    every = shape.full_attention_every
    return replace(mask, window=None) if every and (layer + 1) % every == 0 else mask
