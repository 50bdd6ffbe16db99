"""Transformer families, built from sizes: one file a family, one line here."""

from typing import Protocol

import torch

from trnbench.train.models import bert, gpt2, llama, moe, vit
from trnbench.train.models.base import Model
from trnbench.wire import ModelShape


class Builder(Protocol):
    """Makes a model, its weights not drawn yet, on the current device."""

    def __call__(
        self, shape: ModelShape, sequence_length: int, document_length: int | None = None
    ) -> Model:
        """Return the model for sequences of this length, packed with documents of that."""
        ...


FAMILIES: dict[str, Builder] = {
    "llama": llama.Llama,
    "gpt2": gpt2.Gpt2,
    "moe": moe.Moe,
    "bert": bert.Bert,
    "vit": vit.Vit,
}

NARROWED = ("gpt2",)
"""Families whose residual outputs begin narrower, by the root of twice the number of blocks."""


def build_model(
    shape: ModelShape, sequence_length: int, seed: int, document_length: int | None = None
) -> Model:
    """Build the model on the CPU in fp32, with the same weights for the same seed everywhere.

    Raises:
        KeyError: no such family.
    """
    model = FAMILIES[shape.family](shape, sequence_length, document_length)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _initialize(name, parameter, shape, generator)
    return model


def _initialize(
    name: str, parameter: torch.Tensor, shape: ModelShape, generator: torch.Generator
) -> None:
    """Draw matrices from a normal, GPT-2's residual outputs narrower; norms 1, biases 0.

    Source: `_init_weights` of Hugging Face transformers' classes, whose config files give the
    standard deviation.
    """
    if parameter.ndim < 2:
        parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        return
    narrowed = shape.family in NARROWED and name.endswith("output.weight")
    scale = (2 * shape.layers) ** -0.5 if narrowed else 1.0
    parameter.normal_(0.0, shape.init_std * scale, generator=generator)
