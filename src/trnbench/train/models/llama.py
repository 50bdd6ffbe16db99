"""The Llama family: Llama, Mistral (a window), Qwen2 (biases), Qwen3 (norms on queries and keys).

RMSNorm, rotary embedding, grouped-query attention, SwiGLU.

Shapes: B batch, T tokens, D model width, H head width.
"""

import torch
from torch import nn

from trnbench.protocol.model import ModelShape
from trnbench.train.layers.attention import RotaryAttention, mask_of_layer
from trnbench.train.layers.linear import RmsNorm, SwiGlu
from trnbench.train.layers.rotary import rotary_tables
from trnbench.train.models.base import Blocks, Hidden, Model


class Llama(Model):
    """A decoder whose logits equal those of Hugging Face's Llama, Mistral, Qwen2 and Qwen3."""

    def __init__(
        self, shape: ModelShape, sequence_length: int, document_length: int | None = None
    ) -> None:
        super().__init__(shape, sequence_length, document_length)
        self.embedding = nn.Embedding(shape.vocabulary_size, shape.hidden_size)
        self.blocks = Blocks(
            self.make_block(shape, layer, document_length) for layer in range(shape.layers)
        )
        self.norm = RmsNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.make_head()
        cosines_TH, sines_TH = rotary_tables(shape, self.positions_T)
        self.cosines_TH: torch.Tensor
        self.sines_TH: torch.Tensor
        self.register_buffer("cosines_TH", cosines_TH, persistent=False)
        self.register_buffer("sines_TH", sines_TH, persistent=False)

    def make_block(self, shape: ModelShape, layer: int, document_length: int | None) -> nn.Module:
        """Return block number `layer`."""
        return Block(shape, layer, document_length)

    def hidden(self, inputs: torch.Tensor, positions: torch.Tensor | None = None) -> Hidden:
        """Return the normalised states of all tokens, (B, T, D); inputs are (B, T) ids."""
        x_BTD = self.begin(inputs)
        angles = self.angles(x_BTD.dtype)
        for block in self.blocks:
            x_BTD = self.blocks.run(block, x_BTD, *angles)
        return Hidden(self.norm(x_BTD))

    def begin(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the first block takes, (B, T, D)."""
        return self.embed(self.embedding, inputs)

    def angles(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what every block takes beside the states: cosines and sines, each (T, H/2)."""
        return self.cosines_TH.to(dtype), self.sines_TH.to(dtype)


class Block(nn.Module):
    """Attention and MLP, each normalised before and added to what came in."""

    def __init__(self, shape: ModelShape, layer: int, document_length: int | None) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.attention = RotaryAttention(shape, mask_of_layer(shape, layer, document_length))
        self.mlp_norm = RmsNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.mlp = SwiGlu(shape.hidden_size, shape.intermediate_size)

    def forward(
        self, x_BTD: torch.Tensor, cosines_TH: torch.Tensor, sines_TH: torch.Tensor
    ) -> torch.Tensor:
        """Return what the next block takes, (B, T, D)."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cosines_TH, sines_TH)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))
