"""Transformer families, built from sizes: one file each, `<name>.py` holds `<Name>`."""

import importlib
import pkgutil
from collections.abc import Mapping

import torch

from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import StepSettings
from trnbench.train.layers.lora import add_adapters, draw_adapter, is_adapter
from trnbench.train.layers.moe import ExpertsMlp
from trnbench.train.models.base import Model
from trnbench.train.parallel.parts import is_spread, put_whole

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
    model = make_model(shape, sequence_length, step)
    draw_weights(model, seed)
    return model


def make_model(shape: ModelShape, sequence_length: int, step: StepSettings | None = None) -> Model:
    """Build the model without drawing its weights."""
    step = step or StepSettings()
    model = family_class(shape.family)(shape, sequence_length, step.document_length)
    if step.lora is not None:
        add_adapters(model, step.lora)
    for module in model.modules():
        if isinstance(module, ExpertsMlp):
            module.capacity = step.expert_capacity
    return model


@torch.no_grad()
def draw_weights(model: Model, seed: int, sizes: Mapping[str, torch.Size] | None = None) -> None:
    """Draw all weights in their order: the same for the same seed, wherever each rank has a part.

    Where a weight is neither on the CPU nor whole in fp32, it is drawn beside, and copied. `sizes`
    has those of the whole model, of which a rank may have some: the others are drawn all the same.
    """
    generator, of_adapters = (torch.Generator().manual_seed(seed) for _ in range(2))
    own: dict[str, torch.Tensor] = dict(model.named_parameters())
    for name, size in (sizes or {name: p.shape for name, p in own.items()}).items():
        parameter = own.get(name)
        if parameter is None or not _is_drawn_in_place(parameter):
            whole = torch.empty(size, device="cpu")
        else:
            whole = parameter
        if is_adapter(name):
            draw_adapter(name, whole, of_adapters)
        else:
            _initialize(name, whole, model.shape, generator)
        if parameter is not None and whole is not parameter:
            put_whole(parameter, whole)


def _is_drawn_in_place(parameter: torch.Tensor) -> bool:
    is_whole = not is_spread(parameter) and parameter.device.type == "cpu"
    return is_whole and parameter.dtype == torch.float32


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
