"""MLPs: the gated one of Llama and its kin, the plain one of GPT-2, BERT and ViT.

Shapes: B batch, T tokens, D model width, F MLP width.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.train.layers.linear import Linear
from trnbench.wire import ModelShape


class SwiGlu(nn.Module):
    """The gated MLP: down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate = Linear(hidden_size, intermediate_size, bias=False)
        self.up = Linear(hidden_size, intermediate_size, bias=False)
        self.down = Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D)."""
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class GeluMlp(nn.Module):
    """Two products with biases, and GELU between them."""

    def __init__(self, shape: ModelShape, approximation: str) -> None:
        super().__init__()
        self.up = Linear(shape.hidden_size, shape.intermediate_size)
        self.output = Linear(shape.intermediate_size, shape.hidden_size)
        self.approximation = approximation  # `tanh`, as GPT-2 was trained, or `none`

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D)."""
        return self.output(F.gelu(self.up(x_BTD), approximate=self.approximation))
