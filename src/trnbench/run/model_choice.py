"""From a config's `model` to a shape whose sizes fit together."""

from dataclasses import asdict
from typing import Any

from trnbench.catalog.models import PARTS, complete_shape, models, nearest_models
from trnbench.config.load import Conflict
from trnbench.config.model import ModelConfig
from trnbench.model.flops import parameter_count
from trnbench.run.model_checks import check_shape
from trnbench.schema.plan import PlannedModel
from trnbench.wire import ModelShape

OF_GUESTS = ("config", "small")
"""Keys that say more of models that are not ours."""


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
    for key in OF_GUESTS:
        if getattr(model, key) is not None:
            raise Conflict(
                ("model", key),
                f"model.{key}: goes with model.huggingface or model.python alone",
                hint="sizes of trnbench's own models stand under `model` itself",
            )
    given = model.model_dump(exclude_none=True, exclude={"name", "base"})
    shape = _complete(_merged(_base_sizes(model), given))
    check_shape(shape)
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
    """Return the shape.

    Raises:
        Conflict: a size is missing.
    """
    for name in REQUIRED_OF_EXPERTS:
        if sizes.get("experts") is not None and name not in sizes["experts"]:
            raise _missing(f"experts.{name}")
    try:
        return complete_shape(sizes)
    except KeyError as error:
        raise _missing(error.args[0]) from None


REQUIRED_OF_EXPERTS = ("count", "per_token", "size")


def _missing(name: str) -> Conflict:
    return Conflict(
        ("model",),
        f"model.{name}: is missing",
        hint="give it, or name a `base` from `trnbench models` whose sizes hold",
    )
