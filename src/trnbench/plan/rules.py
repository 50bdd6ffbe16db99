"""Every rule that the sizes of a model obey: alone, and with the workload."""

from functools import partial

from trnbench.config.load import Conflict, check_all
from trnbench.config.model import Config, WorkloadConfig
from trnbench.model.families import FAMILIES, family_of
from trnbench.protocol.model import ModelShape

ONLY_ROTARY = {
    "qk_norm": False,
    "rope_scaling": None,
    "sliding_window": None,
    "full_attention_every": None,
    "attention_sinks": False,
    "attention_biases": "none",
}
"""Sizes of rotary decoders alone, and their values in all other families."""

FP8_FAMILIES = tuple(row.name for row in FAMILIES.values() if row.trains_in_fp8)

FP8_MULTIPLE = 16
"""Of the edges of an fp8 matmul. Source: PyTorch, `_scaled_mm`'s checks."""


def check_shape(shape: ModelShape) -> None:
    """Refuse sizes that do not fit together."""
    checks = (
        _check_heads,
        _check_family,
        _check_experts,
        _check_image,
        _check_vocabulary,
        _check_rope_scaling,
    )
    check_all(*(partial(check, shape) for check in checks))


def check_config(shape: ModelShape, name: str, config: Config) -> None:
    """Refuse a workload that does not fit the sizes of a model."""
    workload = config.workload
    length, window = workload.sequence_length, shape.sliding_window
    checks = [partial(_check_length, shape, name, length)]
    if workload.precision == "fp8":
        checks.append(partial(_check_fp8, shape, name, workload))
    if window is not None:
        checks.append(partial(check_window, window, name, length, "model.sliding_window"))
    if workload.document_length is not None:
        checks.append(partial(_check_documents, shape, name, workload.document_length, length))
    check_all(*checks)


# --- of the model alone ---------------------------------------------------------------------------


def _check_heads(shape: ModelShape) -> None:
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


def _check_family(shape: ModelShape) -> None:
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


def _check_experts(shape: ModelShape) -> None:
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


def _check_image(shape: ModelShape) -> None:
    image = shape.image
    if image is None:
        return
    if image.size % image.patch_size:
        raise Conflict(
            "model.image",
            f"size={image.size} is not a multiple of patch_size={image.patch_size}",
            hint="patches must fill the image",
        )
    patches = (image.size // image.patch_size) ** 2
    if shape.max_positions != patches + 1:
        raise Conflict(
            "model.max_positions",
            f"{shape.max_positions} is not the {patches} patches of the image and the class token",
            hint=f"leave it out, or use {patches + 1}",
        )
    if shape.tied_embeddings:
        raise Conflict(
            "model.tied_embeddings",
            "vit has no embedding of tokens to tie its head to",
            hint="leave it out",
        )


def _check_vocabulary(shape: ModelShape) -> None:
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


def _check_rope_scaling(shape: ModelShape) -> None:
    scaling = shape.rope_scaling
    if scaling is not None and scaling.low_frequency_factor >= scaling.high_frequency_factor:
        raise Conflict(
            "model.rope_scaling",
            f"low_frequency_factor={scaling.low_frequency_factor:g} is not "
            f"below high_frequency_factor={scaling.high_frequency_factor:g}",
            hint="frequencies below the first are slowed, those above the second are kept",
        )


# --- with the rest of the config ------------------------------------------------------------------


def fp8_conflict(name: str, family: str) -> Conflict:
    """Say that fp8 does not train models of this family."""
    return Conflict(
        "workload.precision",
        f"fp8 trains {' and '.join(FP8_FAMILIES)} models, and {name} is {family}",
        hint="use bf16",
        others=["model"],
    )


def _check_fp8(shape: ModelShape, name: str, workload: WorkloadConfig) -> None:
    """Refuse a family whose training in fp8 is untested, and edges that its kernels do not take."""
    if shape.family not in FP8_FAMILIES:
        raise fp8_conflict(name, shape.family)
    if workload.lora is not None:
        raise Conflict(
            "workload.lora",
            "adapters are too narrow to gain by fp8",
            hint="leave it out, or use precision: bf16",
            others=["workload.precision"],
        )
    for key, value in (
        ("model.hidden_size", shape.hidden_size),
        ("model.head_dim", shape.head_dim),
        ("model.intermediate_size", shape.intermediate_size),
        ("workload.sequence_length", workload.sequence_length),
    ):
        if value % FP8_MULTIPLE:
            raise Conflict(
                key,
                f"{value} is not a multiple of {FP8_MULTIPLE}, as fp8 matmuls need",
                hint="change it, or use precision: bf16",
                others=["workload.precision"],
            )


def _check_length(shape: ModelShape, name: str, length: int) -> None:
    if shape.image is not None and length != shape.max_positions:
        raise Conflict(
            "workload.sequence_length",
            f"{length} is not the {shape.max_positions} patches and class token of {name}",
            hint=f"use {shape.max_positions}; an image is one sequence",
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


def check_window(window: int, name: str, length: int, key: str) -> None:
    """Refuse a window longer than the sequence of `length` tokens."""
    if window > length:
        raise Conflict(
            key,
            f"{window} tokens of {name} is longer than the sequence of {length}",
            hint=f"use workload.sequence_length of {window} or more, or {key}: {length}, which is "
            "plain causal attention",
        )


def _check_documents(shape: ModelShape, name: str, document: int, length: int) -> None:
    if shape.image is not None:
        raise Conflict(
            "workload.document_length", f"{name} sees one image at a time", hint="leave it out"
        )
    if document > length:
        raise Conflict(
            "workload.document_length",
            f"{document} is longer than the sequence of {length}",
            hint="documents are packed into a sequence: use a shorter one, or leave it out",
        )
