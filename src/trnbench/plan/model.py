"""From a config's `model` to the model of a plan: a catalog name, or sizes over those of a base."""

from dataclasses import asdict, fields
from typing import Any

from trnbench.catalog.models import PARTS, complete_shape, models
from trnbench.config.load import Conflict
from trnbench.config.model import ModelConfig
from trnbench.model.flops import active_parameter_count, parameter_count
from trnbench.plan.rules import check_shape
from trnbench.protocol.model import ModelShape
from trnbench.schema.plan import PlannedModel

OF_EXTERNALS = ("config", "small")
"""Keys of external models alone."""

REQUIRED_OF_EXPERTS = ("count", "per_token", "size")


def choose_model(model: str | ModelConfig) -> PlannedModel:
    """Resolve a catalog name, or a mapping of sizes, to a checked shape."""
    if isinstance(model, str):
        known = models()[model]
        return _planned(model, known.shape, known.parameter_count, known.source)
    for key in OF_EXTERNALS:
        if getattr(model, key) is not None:
            raise Conflict(
                f"model.{key}",
                "goes with model.huggingface or model.python alone",
                hint="write the sizes of trnbench's own models under `model` itself",
            )
    given = model.model_dump(exclude_none=True, exclude={"name", "base"})
    shape = _complete(_merged(_base_sizes(model), given))
    check_shape(shape)
    label = model.name or (f"{model.base}, changed" if model.base and given else model.base)
    return _planned(label or f"own {shape.family}", shape, parameter_count(shape), "the config")


def _planned(name: str, shape: ModelShape, weights: int, source: str) -> PlannedModel:
    return PlannedModel(
        name=name,
        family=shape.family,
        parameter_count=weights,
        active_parameter_count=active_parameter_count(shape),
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        vocabulary_size=shape.vocabulary_size,
        source=source,
        shape=shape,
    )


def _base_sizes(model: ModelConfig) -> dict[str, Any]:
    """Return the base's sizes without those that follow from a size that the config changes."""
    if model.base is None:
        return {}
    shape = models()[model.base].shape
    sizes = {field.name: getattr(shape, field.name) for field in fields(shape)}
    for name in PARTS:
        if sizes[name] is not None:
            sizes[name] = asdict(sizes[name])
    if model.head_dim is None and (model.hidden_size or model.heads):
        sizes["head_dim"] = None
    if model.kv_heads is None and model.heads and sizes["heads"] == sizes["kv_heads"]:
        sizes["kv_heads"] = None
    if model.image is not None and model.max_positions is None:
        sizes["max_positions"] = None
    return sizes


def _merged(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Put what is given over the base; of the experts, what is not given stays."""
    merged = {**base, **given}
    if "experts" in given:
        merged["experts"] = {**(base.get("experts") or {}), **given["experts"]}
    image = merged.get("image")
    if image is not None and merged.get("max_positions") is None:
        merged["max_positions"] = (image["size"] // image["patch_size"]) ** 2 + 1
    return merged


def _complete(sizes: dict[str, Any]) -> ModelShape:
    for name in REQUIRED_OF_EXPERTS:
        if sizes.get("experts") is not None and name not in sizes["experts"]:
            raise _missing(f"experts.{name}")
    try:
        return complete_shape(sizes)
    except KeyError as error:
        raise _missing(error.args[0]) from None


def _missing(name: str) -> Conflict:
    return Conflict(
        f"model.{name}",
        "is missing",
        hint="give it, or name a `base` from `trnbench models`, whose sizes then apply",
    )
