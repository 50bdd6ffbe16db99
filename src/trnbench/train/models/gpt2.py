"""The GPT-2 family: LayerNorm, learned positions, biases, GELU.

Shapes: B batch, T tokens, D model width.
"""

from typing import ClassVar

import torch
from torch import nn

from trnbench.protocol.model import ModelShape
from trnbench.train.layers.attention import JoinedAttention, Mask
from trnbench.train.layers.linear import GeluMlp, LayerNorm
from trnbench.train.models.base import Blocks, Hidden, Model


class Gpt2(Model):
    """A decoder whose logits equal those of Hugging Face's GPT2LMHeadModel without dropout."""

    narrows_residuals: ClassVar[bool] = True

    def __init__(
        self, shape: ModelShape, sequence_length: int, document_length: int | None = None
    ) -> None:
        super().__init__(shape, sequence_length, document_length)
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.hidden_size)
        self.positions = nn.Embedding(shape.max_positions, shape.hidden_size)
        mask = Mask(document_length=document_length)
        self.blocks = Blocks(Block(shape, mask, "tanh") for _ in range(shape.layers))
        self.norm = LayerNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.make_head()

    def hidden(self, inputs: torch.Tensor, positions: torch.Tensor | None = None) -> Hidden:
        """Return the normalised states of all tokens, (B, T, D); inputs are (B, T) ids."""
        at_T = self.positions_T[: inputs.shape[1]]
        x_BTD = self.embed(self.embedding, inputs) + self.embed(self.positions, at_T)
        for block in self.blocks:
            x_BTD = self.blocks.run(block, x_BTD)
        return Hidden(self.norm(x_BTD))


class Block(nn.Module):
    """Attention and MLP, each normalised before and added to what came in."""

    def __init__(self, shape: ModelShape, mask: Mask, gelu: str) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.attention = JoinedAttention(shape, mask)
        self.mlp_norm = LayerNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.mlp = GeluMlp(shape, gelu)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return what the next block takes, (B, T, D)."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))
