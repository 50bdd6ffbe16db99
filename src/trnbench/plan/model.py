"""From a config's `model` to a checked shape: every rule of sizes, alone and with the workload."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from trnbench.catalog.models import PARTS, complete_shape, models, nearest_models
from trnbench.config.load import Conflict
from trnbench.config.model import ModelConfig, WorkloadConfig
from trnbench.model.families import FAMILIES, family_of
from trnbench.model.flops import active_parameter_count, parameter_count
from trnbench.protocol.model import ExternalModel, ModelShape
from trnbench.protocol.records import Described
from trnbench.schema.plan import PlannedModel

OF_EXTERNAL_MODELS = ("config", "small")
"""Keys that say more of models that are not ours."""


def choose_model(model: str | ModelConfig) -> PlannedModel:
    """Resolve a catalog name, or a mapping of sizes, to a checked shape."""
    if isinstance(model, str):
        known = models()[_known_name(model, "model")]
        return planned_model(
            model, known.shape, parameter_count=known.parameter_count, source=known.source
        )
    for key in OF_EXTERNAL_MODELS:
        if getattr(model, key) is not None:
            raise Conflict(
                f"model.{key}",
                "goes with model.huggingface or model.python alone",
                hint="sizes of trnbench's own models stand under `model` itself",
            )
    given = model.model_dump(exclude_none=True, exclude={"name", "base"})
    shape = _complete(_merged(_base_sizes(model), given))
    check_shape(shape)
    label = model.name or (f"{model.base}, changed" if model.base and given else model.base)
    return planned_model(
        label or f"own {shape.family}",
        shape,
        parameter_count=parameter_count(shape),
        source="the config",
    )


def planned_model(
    name: str,
    shape: ModelShape | None,
    *,
    parameter_count: int,
    source: str,
    external: ExternalModel | None = None,
    described: Described | None = None,
) -> PlannedModel:
    """Return what a plan says of a model; a described external model may have no shape."""
    if described is not None:
        vocabulary_size = described.vocabulary_size
    elif shape is not None:
        vocabulary_size = shape.vocabulary_size
    else:
        raise ValueError(f"nothing is known of {name}")
    return PlannedModel(
        name=name,
        family=shape.family if shape else external.kind if external else "unknown",
        parameter_count=parameter_count,
        active_parameter_count=active_parameter_count(shape) if shape else None,
        layers=shape.layers if shape else None,
        hidden_size=shape.hidden_size if shape else None,
        vocabulary_size=vocabulary_size,
        source=source,
        shape=shape,
        external=external,
        described=described,
    )


def _known_name(name: str, key: str) -> str:
    if name in models():
        return name
    near = nearest_models(name)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise Conflict(
        key,
        f"{name!r} is not in the catalog",
        hint=f"{hint}`trnbench models` lists them; or give your own sizes as a mapping",
    )


def _base_sizes(model: ModelConfig) -> dict[str, Any]:
    """Return the sizes to start from; a changed width or head count gives up the head's width."""
    if model.base is None:
        return {}
    shape = models()[_known_name(model.base, "model.base")].shape
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
    """Return the shape."""
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
        f"model.{name}",
        "is missing",
        hint="give it, or name a `base` from `trnbench models` whose sizes hold",
    )


ONLY_ROTARY = {
    "qk_norm": False,
    "rope_scaling": None,
    "sliding_window": None,
    "full_attention_every": None,
    "attention_sinks": False,
    "attention_biases": "none",
}
"""What rotary decoders alone can have, and what it is where there is none."""


def check_shape(shape: ModelShape) -> None:
    """Check a shape by every rule."""
    for rule in SHAPE_RULES:
        rule(shape)


def check_workload(shape: ModelShape, name: str, workload: WorkloadConfig) -> None:
    """Check a shape against the workload's sequences."""
    for rule in WORKLOAD_RULES:
        rule(shape, name, workload)


# --- rules of the shape ---------------------------------------------------------------------------


def _heads(shape: ModelShape) -> None:
    if shape.heads % shape.kv_heads:
        raise Conflict(
            "model.kv_heads",
            f"{shape.kv_heads} does not divide heads={shape.heads}",
            hint="each key head serves the same number of query heads",
        )
    is_default = shape.head_dim == shape.hidden_size // shape.heads
    if shape.head_dim and is_default and shape.hidden_size % shape.heads:
        raise Conflict(
            "model.heads",
            f"{shape.heads} does not divide hidden_size={shape.hidden_size}",
            hint="change one of them, or give a head_dim that is not hidden_size / heads",
        )
    if shape.head_dim < 1 or (family_of(shape).is_rotary and shape.head_dim % 2):
        raise Conflict(
            "model.head_dim",
            f"{shape.head_dim} cannot be rotated in pairs",
            hint="rotary positions need an even head_dim; by default it is hidden_size / heads",
        )
    if not family_of(shape).is_rotary and shape.heads != shape.kv_heads:
        raise Conflict(
            "model.kv_heads",
            f"{shape.kv_heads} is not heads={shape.heads}, and {shape.family} has no grouped heads",
            hint="leave kv_heads out, or use `family: llama`",
        )


def _family(shape: ModelShape) -> None:
    """Refuse what the family does not have, before it is left out in silence."""
    family = family_of(shape)
    if not family.is_rotary:
        for size, none in ONLY_ROTARY.items():
            if getattr(shape, size) != none:
                raise Conflict(
                    f"model.{size}",
                    f"{shape.family} has none",
                    hint="leave it out, or use `family: llama`",
                )
    for part in ("experts", "image"):
        if (getattr(shape, part) is not None) != (family.needs == part):
            has = "needs" if family.needs == part else "has no"
            named = " or ".join(row.name for row in FAMILIES.values() if row.needs == part)
            raise Conflict(
                f"model.{part}",
                f"{shape.family} {has} {part}",
                hint=f"{part} and `family: {named}` go together",
            )


def _experts(shape: ModelShape) -> None:
    experts = shape.experts
    if experts is None:
        return
    if experts.per_token > experts.count:
        raise Conflict(
            "model.experts",
            f"per_token={experts.per_token} is more than count={experts.count}",
            hint="a token is sent to some of the experts",
        )
    if experts.dense_layers >= shape.layers:
        raise Conflict(
            "model.experts",
            f"dense_layers={experts.dense_layers} leaves none of {shape.layers} "
            "layers for the experts",
            hint="use fewer, or `family: llama`",
        )
    if experts.shared_gate and not experts.shared_size:
        raise Conflict(
            "model.experts",
            "shared_gate has no shared MLP to scale",
            hint="give shared_size, or leave shared_gate out",
        )


def _image(shape: ModelShape) -> None:
    image = shape.image
    if image is None:
        return
    if image.size % image.patch_size:
        raise Conflict(
            "model.image",
            f"size={image.size} is not a multiple of patch_size={image.patch_size}",
            hint="patches must fill the picture",
        )
    patches = (image.size // image.patch_size) ** 2
    if shape.max_positions != patches + 1:
        raise Conflict(
            "model.max_positions",
            f"{shape.max_positions} is not the {patches} patches of the "
            "picture and the class token",
            hint=f"leave it out, or use {patches + 1}",
        )
    if shape.tied_embeddings:
        raise Conflict(
            "model.tied_embeddings",
            "vit has no embedding of tokens to tie its head to",
            hint="leave it out",
        )


def _vocabulary(shape: ModelShape) -> None:
    # The masked-token mark is a token that the stream never has.
    family = family_of(shape)
    is_masked = family.task == "masked_token"
    least = family.alphabet_size + is_masked
    if shape.vocabulary_size < least:
        mark = " and the mark of a masked token" if is_masked else ""
        raise Conflict(
            "model.vocabulary_size",
            f"{shape.vocabulary_size} is smaller than the token stream's "
            f"alphabet of {family.alphabet_size}{mark}",
            hint=f"use at least {least}",
        )


def _rotary_scaling(shape: ModelShape) -> None:
    scaling = shape.rope_scaling
    if scaling is not None and scaling.low_frequency_factor >= scaling.high_frequency_factor:
        raise Conflict(
            "model.rope_scaling",
            f"low_frequency_factor={scaling.low_frequency_factor:g} is not "
            f"below high_frequency_factor={scaling.high_frequency_factor:g}",
            hint="below the one a frequency is slowed, above the other it is kept",
        )


SHAPE_RULES: tuple[Callable[[ModelShape], None], ...] = (
    _heads,
    _family,
    _experts,
    _image,
    _vocabulary,
    _rotary_scaling,
)


# --- rules of the workload ------------------------------------------------------------------------


def _length(shape: ModelShape, name: str, workload: WorkloadConfig) -> None:
    length = workload.sequence_length
    if shape.image is not None and length != shape.max_positions:
        raise Conflict(
            "workload.sequence_length",
            f"{length} is not the {shape.max_positions} patches and class token of {name}",
            hint=f"use {shape.max_positions}; a picture is one sequence",
        )
    if length > shape.max_positions:
        raise Conflict(
            "workload.sequence_length",
            f"{length} is longer than the {shape.max_positions} positions of {name}",
            hint="shorten it, or give the model more `max_positions`",
        )
    least = family_of(shape).least_sequence_length
    if length < least:
        raise Conflict(
            "workload.sequence_length",
            f"{length} is too short to mask a token between two others",
            hint=f"use at least {least}",
        )


def _window(shape: ModelShape, name: str, workload: WorkloadConfig) -> None:
    if shape.sliding_window is not None:
        check_window(shape.sliding_window, name, workload)


def check_window(
    window: int, name: str, workload: WorkloadConfig, key: str = "model.sliding_window"
) -> None:
    """Refuse a window longer than the sequence."""
    if window > workload.sequence_length:
        raise Conflict(
            key,
            f"{window} tokens of {name} is longer than the sequence of {workload.sequence_length}",
            hint=f"use workload.sequence_length of {window} or more, or "
            f"{key}: {workload.sequence_length}, which is plain causal attention",
        )


def _documents(shape: ModelShape, name: str, workload: WorkloadConfig) -> None:
    length = workload.document_length
    if length is None:
        return
    if shape.image is not None:
        raise Conflict(
            "workload.document_length",
            f"{name} sees one picture at a time",
            hint="leave it out",
        )
    if length > workload.sequence_length:
        raise Conflict(
            "workload.document_length",
            f"{length} is longer than the sequence of {workload.sequence_length}",
            hint="documents are packed into a sequence: use a shorter one, or leave it out",
        )


WORKLOAD_RULES: tuple[Callable[[ModelShape, str, WorkloadConfig], None], ...] = (
    _length,
    _window,
    _documents,
)
