"""The Llama family, Qwen3 included: RMSNorm, rotary embedding, grouped-query attention, SwiGLU.

Shapes: B batch, T tokens, D model width, N query heads, K key and value heads, H head width,
F MLP width, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.wire import ModelShape, RopeScaling


class Llama(nn.Module):
    """A decoder whose logits equal those of Hugging Face's Llama and Qwen3 classes."""

    def __init__(self, shape: ModelShape, sequence_length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.hidden_size)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.norm_epsilon)
        # A tied head is the embedding's own weight, used twice: no move can part the two.
        self.head = (
            None
            if shape.tied_embeddings
            else nn.Linear(shape.hidden_size, shape.vocabulary_size, bias=False)
        )
        cosines_TH, sines_TH = rotary_tables(shape, sequence_length)
        self.cosines_TH: torch.Tensor
        self.sines_TH: torch.Tensor
        self.register_buffer("cosines_TH", cosines_TH, persistent=False)
        self.register_buffer("sines_TH", sines_TH, persistent=False)

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        """Return the logits, (B, T, V)."""
        x_BTD = self.embedding(tokens_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, self.cosines_TH, self.sines_TH)
        weight_VD = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(self.norm(x_BTD), weight_VD)


class Block(nn.Module):
    """Attention and MLP, each normalised before and added to what came in."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.attention = Attention(shape)
        self.mlp_norm = nn.RMSNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.mlp = SwiGlu(shape)

    def forward(
        self, x_BTD: torch.Tensor, cosines_TH: torch.Tensor, sines_TH: torch.Tensor
    ) -> torch.Tensor:
        """Return what the next block takes, (B, T, D)."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cosines_TH, sines_TH)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Attention(nn.Module):
    """Causal grouped-query attention with rotary positions."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.is_grouped = shape.heads != shape.kv_heads
        query_width, key_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.query = nn.Linear(shape.hidden_size, query_width, bias=False)
        self.key = nn.Linear(shape.hidden_size, key_width, bias=False)
        self.value = nn.Linear(shape.hidden_size, key_width, bias=False)
        self.output = nn.Linear(query_width, shape.hidden_size, bias=False)
        self.query_norm: nn.Module = nn.Identity()
        self.key_norm: nn.Module = nn.Identity()
        if shape.qk_norm:
            self.query_norm = nn.RMSNorm(shape.head_dim, eps=shape.norm_epsilon)
            self.key_norm = nn.RMSNorm(shape.head_dim, eps=shape.norm_epsilon)

    def forward(
        self, x_BTD: torch.Tensor, cosines_TH: torch.Tensor, sines_TH: torch.Tensor
    ) -> torch.Tensor:
        """Return the attended values, projected back to (B, T, D)."""
        batch, tokens, _ = x_BTD.shape
        by_head = (batch, tokens, -1, self.head_dim)
        q_BNTH = self.query_norm(self.query(x_BTD).view(by_head)).transpose(1, 2)
        k_BKTH = self.key_norm(self.key(x_BTD).view(by_head)).transpose(1, 2)
        v_BKTH = self.value(x_BTD).view(by_head).transpose(1, 2)
        cosines_TH = cosines_TH.to(v_BKTH.dtype)
        sines_TH = sines_TH.to(v_BKTH.dtype)
        mixed_BNTH = F.scaled_dot_product_attention(
            rotate(q_BNTH.to(v_BKTH.dtype), cosines_TH, sines_TH),
            rotate(k_BKTH.to(v_BKTH.dtype), cosines_TH, sines_TH),
            v_BKTH,
            is_causal=True,
            enable_gqa=self.is_grouped,
        )
        return self.output(mixed_BNTH.transpose(1, 2).reshape(batch, tokens, -1))


class SwiGlu(nn.Module):
    """The gated MLP: down(silu(gate(x)) * up(x))."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D)."""
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


def rotate(x: torch.Tensor, cosines_TH: torch.Tensor, sines_TH: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (i, i + H/2) of each head by their position's angles; x is (B, heads, T, H).

    Source: Su et al., arXiv 2104.09864, in the half-split layout of the published weights.
    """
    first, second = x.chunk(2, dim=-1)
    return x * cosines_TH + torch.cat((-second, first), dim=-1) * sines_TH


def rotary_tables(shape: ModelShape, sequence_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines of every position's angles, each (T, H) in fp32."""
    pairs = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    frequencies = 1.0 / shape.rope_theta**pairs
    if shape.rope_scaling is not None:
        frequencies = _stretched(frequencies, shape.rope_scaling)
    angles = torch.outer(torch.arange(sequence_length, dtype=torch.float32), frequencies)
    angles_TH = torch.cat((angles, angles), dim=-1)
    return angles_TH.cos(), angles_TH.sin()


def _stretched(frequencies: torch.Tensor, scaling: RopeScaling) -> torch.Tensor:
    """Slow the low frequencies by `factor`, keep the high ones, and blend in between.

    Source: Llama 3.1's reference code, as in Hugging Face transformers, `rope_type: llama3`.
    """
    wavelengths = 2 * math.pi / frequencies
    turns = scaling.original_max_positions / wavelengths
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    blend = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - blend) * frequencies / scaling.factor + blend * frequencies
