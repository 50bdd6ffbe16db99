"""The BERT family: an encoder that sees both ways and is trained to predict masked tokens.

The head runs on the masked positions alone, a fixed number in each sequence, as in the trainers of
published results.

Shapes: B batch, T tokens, P masked positions, D model width, V vocabulary.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.protocol.model import ModelShape
from trnbench.train.layers.attention import JoinedAttention, Mask
from trnbench.train.layers.linear import GeluMlp, LayerNorm, Linear
from trnbench.train.models.base import Blocks, Hidden, Model, rows_at

SEGMENTS = 2
"""Embeddings of segments; all tokens are of the first."""


class Bert(Model):
    """An encoder whose logits equal those of Hugging Face's BertForMaskedLM without dropout."""

    is_masked: ClassVar[bool] = True

    def __init__(
        self, shape: ModelShape, sequence_length: int, document_length: int | None = None
    ) -> None:
        super().__init__(shape, sequence_length, document_length)
        width = shape.hidden_size
        self.embedding = nn.Embedding(shape.vocabulary_size, width)
        self.positions = nn.Embedding(shape.max_positions, width)
        self.segments = nn.Embedding(SEGMENTS, width)
        self.embedding_norm = LayerNorm(width, eps=shape.norm_epsilon)
        mask = Mask(is_causal=False, document_length=document_length)
        self.blocks = Blocks(Block(shape, mask) for _ in range(shape.layers))
        self.transform = Linear(width, width)
        self.transform_norm = LayerNorm(width, eps=shape.norm_epsilon)
        self.make_head()
        self.head_bias = nn.Parameter(torch.empty(shape.vocabulary_size))

    def hidden(self, inputs: torch.Tensor, positions: torch.Tensor | None = None) -> Hidden:
        """Return the transformed states at the masked positions, (B, P, D); inputs are (B, T)."""
        at_T = self.positions_T[: inputs.shape[1]]
        x_BTD = self.embed(self.embedding, inputs) + self.embed(self.positions, at_T)
        x_BTD = x_BTD + self.segments.weight[0].to(x_BTD.dtype)
        x_BTD = self.embedding_norm(x_BTD)
        for block in self.blocks:
            x_BTD = self.blocks.run(block, x_BTD)
        rows_BPD = rows_at(x_BTD, positions)
        return Hidden(self.transform_norm(F.gelu(self.transform(rows_BPD))))

    def head_parameters(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the head's weight, (V, D), and its bias, which is never tied."""
        weight, _ = super().head_parameters()
        return weight, self.head_bias


class Block(nn.Module):
    """Attention and MLP, each added to what came in and normalised after."""

    def __init__(self, shape: ModelShape, mask: Mask) -> None:
        super().__init__()
        self.attention = JoinedAttention(shape, mask)
        self.attention_norm = LayerNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.mlp = GeluMlp(shape, "none")
        self.mlp_norm = LayerNorm(shape.hidden_size, eps=shape.norm_epsilon)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return what the next block takes, (B, T, D)."""
        x_BTD = self.attention_norm(x_BTD + self.attention(x_BTD))
        return self.mlp_norm(x_BTD + self.mlp(x_BTD))
