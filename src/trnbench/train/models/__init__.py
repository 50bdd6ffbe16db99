"""Transformer families, built from sizes: one file a family, one line here."""

from collections.abc import Callable

import torch

from trnbench.train.models import gpt2, llama
from trnbench.wire import ModelShape

Builder = Callable[[ModelShape, int], torch.nn.Module]
"""From a shape and a sequence length to a module that maps (batch, tokens) ids to logits."""

FAMILIES: dict[str, Builder] = {
    "llama": llama.Llama,
    "gpt2": gpt2.Gpt2,
}


def build_model(shape: ModelShape, sequence_length: int, seed: int) -> torch.nn.Module:
    """Build the model on the CPU in fp32, with the same weights for the same seed everywhere.

    Raises:
        KeyError: no such family.
    """
    model = FAMILIES[shape.family](shape, sequence_length)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _initialize(name, parameter, shape, generator)
    return model


def _initialize(
    name: str, parameter: torch.Tensor, shape: ModelShape, generator: torch.Generator
) -> None:
    """Draw matrices from a normal, GPT-2's residual outputs narrower; norms 1, biases 0.

    Source: `_init_weights` of Hugging Face transformers' Llama and GPT-2, whose config files give
    the standard deviation.
    """
    if parameter.ndim < 2:
        parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        return
    narrowed = shape.family == "gpt2" and name.endswith("output.weight")
    scale = (2 * shape.layers) ** -0.5 if narrowed else 1.0
    parameter.normal_(0.0, shape.init_std * scale, generator=generator)
