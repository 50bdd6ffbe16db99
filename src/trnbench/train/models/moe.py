"""Mixtures of experts: Mixtral, Qwen3-MoE, gpt-oss, and those with a shared expert.

Llama's blocks with a router and experts in the MLP's place; the first blocks may keep an MLP.

Shapes: B batch, T tokens, D model width, H head width.
"""

import torch
from torch import nn

from trnbench.protocol.model import Experts, ModelShape
from trnbench.train.layers.attention import RotaryAttention, mask_of_layer
from trnbench.train.layers.linear import RmsNorm
from trnbench.train.layers.moe import ExpertsMlp, Routing
from trnbench.train.models.base import Hidden
from trnbench.train.models.llama import Llama


class Moe(Llama):
    """A decoder whose logits equal those of transformers' Mixtral, Qwen2-, Qwen3-MoE, gpt-oss."""

    def make_block(self, shape: ModelShape, layer: int, document_length: int | None) -> nn.Module:
        """Return block number `layer`: dense, or with experts."""
        if shape.experts is None or layer < shape.experts.dense_layers:
            return super().make_block(shape, layer, document_length)
        return ExpertsBlock(shape, shape.experts, layer, document_length)

    def hidden(self, inputs: torch.Tensor, positions: torch.Tensor | None = None) -> Hidden:
        """Return the normalised states of all tokens, (B, T, D), and how the experts were used."""
        x_BTD = self.begin(inputs)
        angles = self.angles(x_BTD.dtype)
        routings: list[Routing] = []
        for block in self.blocks:
            made = self.blocks.run(block, x_BTD, *angles)
            if isinstance(block, ExpertsBlock):
                x_BTD, routing = made
                routings.append(routing)
            else:
                x_BTD = made
        return Hidden(
            self.norm(x_BTD),
            torch.stack([r.balance for r in routings]).mean(),
            torch.stack([r.imbalance for r in routings]).mean(),
        )


class ExpertsBlock(nn.Module):
    """Attention and experts, each normalised before and added to what came in."""

    def __init__(
        self, shape: ModelShape, experts: Experts, layer: int, document_length: int | None
    ) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.attention = RotaryAttention(shape, mask_of_layer(shape, layer, document_length))
        self.mlp_norm = RmsNorm(shape.hidden_size, eps=shape.norm_epsilon)
        self.mlp = ExpertsMlp(shape, experts)

    def forward(
        self, x_BTD: torch.Tensor, cosines_TH: torch.Tensor, sines_TH: torch.Tensor
    ) -> tuple[torch.Tensor, Routing]:
        """Return what the next block takes, (B, T, D), and what the router did."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cosines_TH, sines_TH)
        mixed_BTD, routing = self.mlp(self.mlp_norm(x_BTD))
        return x_BTD + mixed_BTD, routing
