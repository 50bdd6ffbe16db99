"""From a config's `model` to a shape whose sizes fit together."""

from typing import Any

from trnbench.analysis.flops import parameter_count
from trnbench.catalog.models import complete_shape, models, nearest_models
from trnbench.schema.config import ModelConfig
from trnbench.schema.config_file import Conflict
from trnbench.schema.plan import PlannedModel
from trnbench.wire import ModelShape

ALPHABET_SIZE = 64
"""Symbols of the token stream; a vocabulary must be able to tell them apart."""


def choose_model(model: str | ModelConfig) -> PlannedModel:
    """Resolve a catalog name, or a mapping of sizes, to a checked shape.

    Raises:
        Conflict: the name is unknown, a size is missing, or sizes do not fit together.
    """
    if isinstance(model, str):
        known = models()[_known_name(model, ("model",))]
        return PlannedModel(
            name=model,
            shape=known.shape,
            parameter_count=known.parameter_count,
            source=known.source,
        )
    given = model.model_dump(exclude_none=True, exclude={"name", "base"})
    sizes = {**_base_sizes(model), **given}
    try:
        shape = complete_shape(sizes)
    except KeyError as error:
        raise Conflict(
            ("model",),
            f"model.{error.args[0]}: is missing",
            hint="give it, or name a `base` from `trnbench models` whose sizes hold",
        ) from None
    _check_shape(shape)
    label = model.name or (f"{model.base}, changed" if model.base and given else model.base)
    return PlannedModel(
        name=label or f"own {shape.family}",
        shape=shape,
        parameter_count=parameter_count(shape),
        source="the config",
    )


def _known_name(name: str, path: tuple[str, ...]) -> str:
    if name in models():
        return name
    near = nearest_models(name)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise Conflict(
        path,
        f"{'.'.join(path)}: {name!r} is not in the catalog",
        hint=f"{hint}`trnbench models` lists them; or give your own sizes as a mapping",
    )


def _base_sizes(model: ModelConfig) -> dict[str, Any]:
    """Return the sizes to start from; a changed width or head count gives up the head's width."""
    if model.base is None:
        return {}
    shape = models()[_known_name(model.base, ("model", "base"))].shape
    sizes = {name: getattr(shape, name) for name in ModelShape.__dataclass_fields__}
    if model.head_dim is None and (model.hidden_size or model.heads):
        sizes["head_dim"] = None
    if model.kv_heads is None and model.heads and sizes["heads"] == sizes["kv_heads"]:
        sizes["kv_heads"] = None
    return sizes


def _check_shape(shape: ModelShape) -> None:
    if shape.heads % shape.kv_heads:
        raise Conflict(
            ("model", "kv_heads"),
            f"model: heads={shape.heads} is not a multiple of kv_heads={shape.kv_heads}",
            hint="each key head serves the same number of query heads",
        )
    if shape.head_dim < 1 or (shape.family == "llama" and shape.head_dim % 2):
        raise Conflict(
            ("model", "head_dim"),
            f"model: head_dim={shape.head_dim} cannot be turned in pairs",
            hint="rotary positions need an even head_dim; by default it is hidden_size / heads",
        )
    if shape.family == "gpt2" and shape.heads != shape.kv_heads:
        raise Conflict(
            ("model", "kv_heads"),
            f"model: gpt2 has no grouped heads, kv_heads={shape.kv_heads} and heads={shape.heads}",
            hint="leave kv_heads out, or use `family: llama`",
        )
    if shape.vocabulary_size < ALPHABET_SIZE:
        raise Conflict(
            ("model", "vocabulary_size"),
            f"model: vocabulary_size={shape.vocabulary_size} is smaller than the token stream's "
            f"alphabet of {ALPHABET_SIZE}",
            hint=f"use at least {ALPHABET_SIZE}",
        )
