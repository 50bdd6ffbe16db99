"""The GPT-2 family: LayerNorm, learned positions, biases, GELU.

Shapes: B batch, T tokens, D model width, N heads, H head width, V vocabulary.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.wire import ModelShape


class Gpt2(nn.Module):
    """A decoder whose logits equal those of Hugging Face's GPT2LMHeadModel without dropout."""

    def __init__(self, shape: ModelShape, sequence_length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.hidden_size)
        self.positions = nn.Embedding(shape.max_positions, shape.hidden_size)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.norm_epsilon)
        # A tied head is the embedding's own weight, used twice: no move can part the two.
        self.head = (
            None
            if shape.tied_embeddings
            else nn.Linear(shape.hidden_size, shape.vocabulary_size, bias=False)
        )
        self.positions_T: torch.Tensor
        self.register_buffer("positions_T", torch.arange(sequence_length), persistent=False)

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        """Return the logits, (B, T, V)."""
        tokens = tokens_BT.shape[1]
        x_BTD = self.embedding(tokens_BT) + self.positions(self.positions_T[:tokens])
        for block in self.blocks:
            x_BTD = block(x_BTD)
        weight_VD = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(self.norm(x_BTD), weight_VD)


class Block(nn.Module):
    """Attention and MLP, each normalised before and added to what came in."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.attention = Attention(shape)
        self.mlp_norm = nn.LayerNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.mlp = Mlp(shape)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return what the next block takes, (B, T, D)."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Attention(nn.Module):
    """Causal multi-head attention, queries, keys and values from one product."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.heads, self.head_dim = shape.heads, shape.head_dim
        width = shape.heads * shape.head_dim
        self.query_key_value = nn.Linear(shape.hidden_size, 3 * width)
        self.output = nn.Linear(width, shape.hidden_size)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return the attended values, projected back to (B, T, D)."""
        batch, tokens, _ = x_BTD.shape
        by_head = (batch, tokens, self.heads, self.head_dim)
        q_BNTH, k_BNTH, v_BNTH = (
            part.view(by_head).transpose(1, 2) for part in self.query_key_value(x_BTD).chunk(3, -1)
        )
        mixed_BNTH = F.scaled_dot_product_attention(q_BNTH, k_BNTH, v_BNTH, is_causal=True)
        return self.output(mixed_BNTH.transpose(1, 2).reshape(batch, tokens, -1))


class Mlp(nn.Module):
    """Two products with GELU, in the tanh form that GPT-2 was trained with, between them."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.output = nn.Linear(shape.intermediate_size, shape.hidden_size)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D)."""
        return self.output(F.gelu(self.up(x_BTD), approximate="tanh"))
