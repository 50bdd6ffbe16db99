"""Transformer families, built from sizes: one file each, `<name>.py` holds `<Name>`."""

import importlib
import pkgutil

import torch

from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import StepSettings
from trnbench.train.layers.lora import add_adapters
from trnbench.train.layers.moe import ExpertsMlp
from trnbench.train.models.base import Model

NAMES = tuple(file.name for file in pkgutil.iter_modules(__path__) if file.name != "base")


def family_class(name: str) -> type[Model]:
    """Return a family's class.

    Raises:
        KeyError: no such family.
    """
    if name not in NAMES:
        raise KeyError(name)
    module = importlib.import_module(f"{__name__}.{name}")
    found: type[Model] = getattr(module, name.capitalize())
    return found


def build_model(
    shape: ModelShape, sequence_length: int, seed: int, step: StepSettings | None = None
) -> Model:
    """Build the model on the CPU in fp32, with the same weights for the same seed everywhere.

    Of the step's settings it has the documents, the adapters and the experts' capacity.

    Raises:
        KeyError: no such family.
    """
    step = step or StepSettings()
    model = family_class(shape.family)(shape, sequence_length, step.document_length)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _initialize(name, parameter, shape, generator)
    if step.lora is not None:
        add_adapters(model, step.lora, seed)
    for module in model.modules():
        if isinstance(module, ExpertsMlp):
            module.capacity = step.expert_capacity
    return model


def _initialize(
    name: str, parameter: torch.Tensor, shape: ModelShape, generator: torch.Generator
) -> None:
    """Draw matrices from a normal, GPT-2's residual outputs narrower; norms 1, biases 0.

    Source: `_init_weights` of Hugging Face transformers' classes.
    """
    if parameter.ndim < 2:
        parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        return
    narrowed = family_class(shape.family).narrows_residuals and name.endswith("output.weight")
    scale = (2 * shape.layers) ** -0.5 if narrowed else 1.0
    parameter.normal_(0.0, shape.init_std * scale, generator=generator)
