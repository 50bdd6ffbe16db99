"""An external model, once described, as the model of a plan: its checks, step and small twin."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trnbench.config.load import Conflict
from trnbench.config.model import Config, ModelConfig, WorkloadConfig
from trnbench.model.external import SIZE_KEYS, shape_of_config, small_values
from trnbench.model.families import ALPHABET_SIZE, LEAST_MASKED_LENGTH, family_of
from trnbench.model.flops import parameter_count
from trnbench.plan.model import check_window, planned_model
from trnbench.protocol.model import ExternalModel, ModelShape
from trnbench.protocol.orders import StepSettings
from trnbench.protocol.records import Described
from trnbench.schema.plan import PlannedModel

LARGEST_WHOLE_GATE = 20_000_000
"""An external model of up to this many weights is its own small model, where none is described."""

LENGTH_KEYS = ("max_position_embeddings", "n_positions")

MULTIPLES = (
    ("hidden_size", "num_attention_heads"),
    ("n_embd", "n_head"),
    ("num_attention_heads", "num_key_value_heads"),
)
"""Pairs of keys of which the first must be a multiple of the second."""

MORE_THAN_TAKEN = ("num_local_experts", "num_experts")
TAKEN = "num_experts_per_tok"

ENCODERS = (
    "albert", "bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie",
    "megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "roformer", "xlm-roberta",
    "xlm-roberta-xl", "xmod",
)  # fmt: skip
"""Types of configs that attend both ways unless they say `is_decoder`."""

DEFAULTS = WorkloadConfig(sequence_length=1, global_batch_size=1)
OURS_ALONE = ("lora", "document_length", "loss_chunk_tokens", "expert_capacity")


@dataclass(frozen=True, slots=True)
class KnownExternal:
    """An external model, and what it was found to be."""

    external: ExternalModel
    described: Described


Describe = Callable[[ModelConfig, int], KnownExternal]
"""Says what the external model of a config is, at a sequence length; it raises a `Conflict` for
one that cannot be trained."""


def is_external(model: str | ModelConfig) -> bool:
    """Tell whether a config's model is none of ours."""
    return isinstance(model, ModelConfig) and (model.huggingface or model.python) is not None


def choose_external(config: Config, known: KnownExternal, name: str | None) -> PlannedModel:
    """Resolve an external model to what a plan says of a model."""
    external, described = known.external, known.described
    _check_stream(external, described)
    _check_length(described, config.workload)
    _check_options(external, config)
    _check_config(external, described, config.workload)
    shape = _trusted_shape(external, described)
    return planned_model(
        name or external.target,
        shape,
        parameter_count=described.parameter_count,
        source="transformers' class" if external.kind == "huggingface" else "the user's module",
        external=external,
        described=described,
    )


def _trusted_shape(external: ExternalModel, described: Described) -> ModelShape | None:
    """Return the sizes that its config says, if they come to the weights that it has."""
    if described.config is None:
        return None
    shape = shape_of_config(json.loads(described.config))
    if shape is None or parameter_count(shape) != described.parameter_count:
        return None
    # The formula is of the family's own targets alone.
    return shape if family_of(shape).task == external.task else None


def _check_config(external: ExternalModel, described: Described, workload: WorkloadConfig) -> None:
    """Refuse a window longer than the sequence, and an encoder that would see its targets."""
    config: Mapping[str, Any] = json.loads(described.config) if described.config else {}
    window = config.get("sliding_window")
    if isinstance(window, int) and config.get("use_sliding_window", True):
        check_window(window, external.target, workload, key="model.config.sliding_window")
    attends_both_ways = config.get("model_type") in ENCODERS and not config.get("is_decoder")
    if attends_both_ways and external.task == "next_token":
        raise Conflict(
            f"model.{external.kind}",
            f"{external.target} attends both ways and would see the tokens that it is to predict",
            hint="add `is_decoder: true` under `model.config`, or name its ForMaskedLM",
        )


def _check_stream(external: ExternalModel, described: Described) -> None:
    least = ALPHABET_SIZE + (1 if external.task == "masked_token" else 0)
    if described.vocabulary_size < least:
        raise Conflict(
            f"model.{external.kind}",
            f"{external.target} knows {described.vocabulary_size} tokens, "
            f"fewer than the token stream's alphabet of {least}",
            hint=f"give it a vocabulary of at least {least}",
        )
    if described.trained_count == 0:
        raise Conflict(
            f"model.{external.kind}",
            f"{external.target} has no weight that can be trained",
            hint="leave `requires_grad` at true for those that are to be trained",
        )


def _check_length(described: Described, workload: WorkloadConfig) -> None:
    config: Mapping[str, Any] = json.loads(described.config) if described.config else {}
    limits = [config[key] for key in LENGTH_KEYS if isinstance(config.get(key), int)]
    if limits and workload.sequence_length > min(limits):
        raise Conflict(
            "workload.sequence_length",
            f"{workload.sequence_length} is longer than the {min(limits)} positions of the model",
            hint="shorten it, or raise the number in `model.config`",
        )
    if workload.sequence_length < LEAST_MASKED_LENGTH:
        raise Conflict(
            "workload.sequence_length",
            f"{workload.sequence_length} is too short for an external model",
            hint=f"use at least {LEAST_MASKED_LENGTH}",
        )


def _check_options(external: ExternalModel, config: Config) -> None:
    """Refuse options that are built into our own families alone."""
    asked = config.workload
    unfit = [key for key in OURS_ALONE if getattr(asked, key) != getattr(DEFAULTS, key)]
    if asked.loss == "chunked":
        unfit.append("loss")
    can = ("auto", "none", "full") if external.kind == "huggingface" else ("auto", "none")
    if asked.activation_checkpointing not in can:
        unfit.append("activation_checkpointing")
    if unfit:
        raise Conflict(
            f"workload.{unfit[0]}",
            f"goes with trnbench's own models alone, and {external.target} is none",
            hint="leave it out, or do it in the module itself",
        )
    sizes = config.parallel
    for key in ("tensor", "pipeline", "context"):
        name = f"{key}_parallel_size"
        if getattr(sizes, name) != 1:
            raise Conflict(
                f"parallel.{name}",
                f"{getattr(sizes, name)} would split {external.target}, whose parts are not known",
                hint="use 1",
            )


def external_step(config: Config) -> StepSettings:
    """Return how an external model's step is carried out: plainly, but for what was asked."""
    asked = config.workload
    return StepSettings(
        recompute="full" if asked.activation_checkpointing == "full" else "none",
        adamw=None if asked.adamw == "auto" else asked.adamw,
    )


def small_external(
    model: PlannedModel, asked: ModelConfig, small: ModelShape | None
) -> ExternalModel | None:
    """Return an external model of the same make that a CPU can train, or None if none is known.

    Args:
        model: the external model of the plan.
        asked: the config's words.
        small: sizes of a small model, where its family is known.
    """
    external, described = model.external, model.described
    if external is None or described is None:
        return None
    values: dict[str, Any] = json.loads(external.arguments)
    if asked.small is not None:
        values |= asked.small
        return _resized(external, values, None)
    if small is not None and described.config is not None:
        values |= small_values(json.loads(described.config), small)
        return _resized(external, values, small.vocabulary_size)
    return external if model.parameter_count <= LARGEST_WHOLE_GATE else None


def _resized(
    external: ExternalModel, values: dict[str, Any], vocabulary_size: int | None
) -> ExternalModel:
    """Return the model with other arguments, its vocabulary no larger than either allows."""
    told = [values[key] for key in ("vocab_size", "vocabulary_size") if key in values]
    known = vocabulary_size or (told[0] if told and isinstance(told[0], int) else None)
    if known is None or external.vocabulary_size is None:
        known = external.vocabulary_size
    return replace(external, arguments=json.dumps(values, sort_keys=True), vocabulary_size=known)


def check_values(values: Mapping[str, Any]) -> None:
    """Hold the sizes that a config says against each other."""
    for key in sorted(SIZE_KEYS & values.keys()):
        _check_size(key, values[key])
    for larger, smaller in MULTIPLES:
        whole, part = values.get(larger), values.get(smaller)
        is_free = larger == "hidden_size" and values.get("head_dim") is not None
        if whole is not None and part is not None and not is_free and whole % part:
            raise _conflict(
                f"{larger}={whole} is not a multiple of {smaller}={part}", "change one of them"
            )
    taken = values.get(TAKEN)
    for key in MORE_THAN_TAKEN:
        if taken is not None and values.get(key) is not None and taken > values[key]:
            raise _conflict(
                f"{TAKEN}={taken} is more than {key}={values[key]}",
                "a token is sent to some of the experts",
            )


def _check_size(key: str, value: Any) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (is_whole and value >= 1):
        raise _conflict(f"{key}: {value!r} is no size", "give a whole number from 1")


def _conflict(said: str, hint: str) -> Conflict:
    return Conflict(
        "model.config",
        said,
        hint=f"{hint}, under `model.config` or in the config.json",
    )
