"""Layers with weights: each takes them in the type of what it is given.

Weights may be kept in fp32 while a step runs in bf16: they are cast where they are read, and the
gradient comes back in the weight's own type.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.train.layers.products import PLAIN, Product


class Linear(nn.Linear):
    """A weight and the product with it."""

    product: Product = staticmethod(PLAIN.linear)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (..., out)."""
        return self.product(x, self.weight, self.bias)


class RmsNorm(nn.RMSNorm):
    """Divides by the root of the mean square, which is taken in fp32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x's shape and type."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class LayerNorm(nn.LayerNorm):
    """Takes the mean off and divides by the deviation, both in fp32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x's shape and type."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


def use_product(model: nn.Module, product: Product) -> None:
    """Let every `Linear` of a model make its product so."""
    for module in model.modules():
        if isinstance(module, Linear):
            module.product = product
