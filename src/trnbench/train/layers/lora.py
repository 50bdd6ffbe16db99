"""Low-rank adapters, which are trained beside frozen weights.

Source: Hu et al., arXiv 2106.09685: W x + (alpha / rank) B A x, with A drawn at random and B zero,
so that at first the adapted model equals the frozen one.

Shapes: R rank.
"""

import torch
from torch import nn

from trnbench.protocol.orders import Lora
from trnbench.train.layers.linear import Linear

ADAPTER_IN, ADAPTER_OUT = "adapter_in", "adapter_out"
"""Last parts of the names of adapters."""

ATTENTION = ".attention."
"""Part of the name of each linear layer of attention."""


class LoraLinear(Linear):
    """A frozen weight with two narrow trained ones beside it."""

    def __init__(self, frozen: Linear, lora: Lora) -> None:
        nn.Module.__init__(self)
        self.weight = frozen.weight
        self.register_parameter("bias", frozen.bias)
        self.in_features, self.out_features = frozen.in_features, frozen.out_features
        self.scale = lora.alpha / lora.rank
        self.adapter_in = nn.Parameter(torch.empty(lora.rank, self.in_features))
        self.adapter_out = nn.Parameter(torch.empty(self.out_features, lora.rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (..., out)."""
        inner_R = self.function(x, self.read(self.adapter_in), None)
        adapted = self.function(inner_R, self.read(self.adapter_out), None)
        return super().forward(x) + adapted * self.scale


def add_adapters(model: nn.Module, lora: Lora) -> None:
    """Freeze a model's weights, and put adapters beside those of its blocks, not drawn yet."""
    model.requires_grad_(False)
    chosen = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, Linear)
        and name.startswith("blocks.")
        and (lora.targets == "all" or ATTENTION in name)
    ]
    for name, frozen in chosen:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, LoraLinear(frozen, lora))


def is_adapter(name: str) -> bool:
    """Tell by a weight's name whether it is an adapter's."""
    return name.endswith((ADAPTER_IN, ADAPTER_OUT))


def draw_adapter(name: str, weight: torch.Tensor, generator: torch.Generator) -> None:
    """Draw A from a uniform distribution; B is zero."""
    if name.endswith(ADAPTER_OUT):
        weight.zero_()
        return
    bound = weight.shape[1] ** -0.5  # that of torch's own linear layers, as in the paper's code
    weight.uniform_(-bound, bound, generator=generator)
