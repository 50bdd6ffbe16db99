"""Layers with weights, and the MLPs made of them.

Weights may be fp32 while a step runs in bf16: they are cast where they are read, and the gradient
has the weight's own format. Ranks may share out a weight: `read` takes a rank's own part of it.

Shapes: B batch, T tokens, D model width, F MLP width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.protocol.model import ModelShape

Reader = Callable[[torch.Tensor], torch.Tensor]
"""From a layer's weight to what it computes with: all of it, or this rank's part."""

LinearFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""From x, (..., in), a weight, (out, in), and a bias to x W^T + b, all in the format of x."""


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return x W^T + b by torch's own function; a `LinearFunction`."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def whole(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight as it is; a `Reader`."""
    return weight


class Linear(nn.Linear):
    """A weight and the matmul with it."""

    function: LinearFunction = staticmethod(linear)
    read: Reader = staticmethod(whole)
    read_bias: Reader = staticmethod(whole)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (..., out)."""
        # torch's annotation does not know that it may be None.
        bias: torch.Tensor | None = self._parameters["bias"]
        own_bias = None if bias is None else self.read_bias(bias)
        return self.function(x, self.read(self.weight), own_bias)


def use_linear(model: nn.Module, function: LinearFunction) -> None:
    """Set the function of every `Linear` of a model."""
    for module in model.modules():
        if isinstance(module, Linear):
            module.function = function


class RmsNorm(nn.RMSNorm):
    """Divides by the root of the mean square, which is taken in fp32."""

    read: Reader = staticmethod(whole)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x's shape and format."""
        weight = self.read(self.weight).to(x.dtype)
        return F.rms_norm(x, self.normalized_shape, weight, self.eps)


class LayerNorm(nn.LayerNorm):
    """Subtracts the mean and divides by the deviation, both in fp32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x's shape and format."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


class SwiGlu(nn.Module):
    """The gated MLP of Llama and its kin: down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate = Linear(hidden_size, intermediate_size, bias=False)
        self.up = Linear(hidden_size, intermediate_size, bias=False)
        self.down = Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D)."""
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class GeluMlp(nn.Module):
    """The MLP of GPT-2, BERT and ViT: two matmuls with biases, and GELU between them."""

    def __init__(self, shape: ModelShape, approximation: str) -> None:
        super().__init__()
        self.up = Linear(shape.hidden_size, shape.intermediate_size)
        self.output = Linear(shape.intermediate_size, shape.hidden_size)
        self.approximation = approximation  # `tanh`, as GPT-2 was trained, or `none`

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return (B, T, D)."""
        return self.output(F.gelu(self.up(x_BTD), approximate=self.approximation))
