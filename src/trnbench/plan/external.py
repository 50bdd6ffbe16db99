"""External models: the values of their configs, their place in a plan, and their small twins."""

import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trnbench.config.load import Conflict
from trnbench.config.model import Config, ModelConfig
from trnbench.model.external import SIZE_KEYS, attended_keys, shape_of_config, small_values
from trnbench.model.families import ALPHABET_SIZE, LEAST_MASKED_LENGTH, family_of
from trnbench.model.flops import (
    COUNTED_CONVENTION,
    DEFAULT_CONVENTION,
    FULL_CONVENTION,
    active_parameter_count,
    parameter_count,
)
from trnbench.plan.rules import fp8_conflict
from trnbench.protocol.model import ExternalModel, ModelShape
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

EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_k")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")

PADDING, VOCABULARY = "pad_token_id", "vocab_size"

ENCODERS = (
    "albert", "bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie",
    "megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "roformer", "xlm-roberta",
    "xlm-roberta-xl", "xmod",
)  # fmt: skip
"""Types of configs that attend both ways unless they say `is_decoder`."""

OURS_ALONE = ("lora", "document_length", "loss_chunk_tokens", "expert_capacity")
"""Keys of the workload that our families alone can carry out."""


@dataclass(frozen=True, slots=True)
class KnownExternal:
    """An external model, and what it was found to be."""

    external: ExternalModel
    described: Described

    @property
    def config(self) -> dict[str, Any]:
        """Its config with every default; empty where it has none."""
        config: dict[str, Any] = json.loads(self.described.config or "{}")
        return config


Describe = Callable[[ModelConfig, int], KnownExternal]
"""Finds what the external model of a config is, at a sequence length; raises a `Conflict` for one
that cannot be trained."""


# --- before it is described -----------------------------------------------------------------------


def check_values(values: Mapping[str, Any]) -> None:
    """Refuse sizes in a config of transformers that are not sizes or do not fit together."""
    for key, value in sorted(values.items()):
        if isinstance(value, float) and not math.isfinite(value):
            raise _conflict(f"{key}: {value} is no number", "give a finite one")
    for key in sorted(values.keys() & {*SIZE_KEYS, "head_dim"}):
        size = values[key]
        is_whole = isinstance(size, int) and not isinstance(size, bool)
        if size is not None and not (is_whole and size >= 1):
            raise _conflict(f"{key}: {size!r} is not a size", "give a whole number from 1")
    for larger, smaller in MULTIPLES:
        whole, part = values.get(larger), values.get(smaller)
        is_free = larger == "hidden_size" and values.get("head_dim") is not None
        if whole is not None and part is not None and not is_free and whole % part:
            raise _conflict(
                f"{larger}={whole} is not a multiple of {smaller}={part}", "change one of them"
            )
    for key, experts in itertools.product(EXPERTS_PER_TOKEN, EXPERTS):
        taken, there = values.get(key), values.get(experts)
        if isinstance(taken, int) and isinstance(there, int) and taken > there:
            raise _conflict(
                f"{key}={taken} is more than {experts}={there}",
                "a token is sent to some of the experts",
            )
    mark, vocabulary = values.get(PADDING), values.get(VOCABULARY)
    if isinstance(mark, int) and isinstance(vocabulary, int) and mark >= vocabulary:
        raise _conflict(
            f"{PADDING}={mark} is no token of {VOCABULARY}={vocabulary}",
            f"give `{PADDING}: null`, or one below",
        )


def _conflict(fault: str, hint: str) -> Conflict:
    return Conflict(
        "model.config", fault, hint=f"{hint}, under `model.config` or in the config.json"
    )


# --- in a plan ------------------------------------------------------------------------------------


def choose_external(config: Config, known: KnownExternal, name: str | None) -> PlannedModel:
    """Return an external model as the model of a plan; with sizes where its family is known."""
    external, described = known.external, known.described
    _check_described(known)
    _check_length(known, config.workload.sequence_length)
    _check_options(external, config)
    if config.workload.precision == "fp8":
        raise fp8_conflict(name or external.target, "a model of your own")
    shape = _trusted_shape(known)
    return PlannedModel(
        name=name or external.target,
        family=shape.family if shape else external.kind,
        parameter_count=described.parameter_count,
        active_parameter_count=active_parameter_count(shape) if shape else None,
        layers=shape.layers if shape else None,
        hidden_size=shape.hidden_size if shape else None,
        vocabulary_size=described.vocabulary_size,
        source="transformers' class" if external.kind == "huggingface" else "the user's module",
        shape=shape,
        external=external,
        described=described,
        notes=_notes(known, config.workload.sequence_length),
    )


def _trusted_shape(known: KnownExternal) -> ModelShape | None:
    """Return the sizes that its config says, if they come to its weights and its targets."""
    shape = shape_of_config(known.config)
    if shape is None or parameter_count(shape) != known.described.parameter_count:
        return None
    return shape if family_of(shape).task == known.external.task else None


def _check_described(known: KnownExternal) -> None:
    external, config = known.external, known.config
    key = f"model.{external.kind}"
    least = ALPHABET_SIZE + (1 if external.task == "masked_token" else 0)
    if known.described.vocabulary_size < least:
        raise Conflict(
            key,
            f"{external.target} has a vocabulary of {known.described.vocabulary_size} tokens, and "
            f"the token stream has {least}",
            hint=f"give it a vocabulary of at least {least}",
        )
    if known.described.trained_count == 0:
        raise Conflict(
            key,
            f"{external.target} has no weight that can be trained",
            hint="leave `requires_grad` at true for those that are to be trained",
        )
    attends_both_ways = config.get("model_type") in ENCODERS and not config.get("is_decoder")
    if attends_both_ways and external.task == "next_token":
        raise Conflict(
            key,
            f"{external.target} attends both ways and would see the tokens that it is to predict",
            hint="add `is_decoder: true` under `model.config`, or name its ForMaskedLM",
        )


def _check_length(known: KnownExternal, length: int) -> None:
    config = known.config
    limits = [config[key] for key in LENGTH_KEYS if isinstance(config.get(key), int)]
    if limits and length > min(limits):
        raise Conflict(
            "workload.sequence_length",
            f"{length} is longer than the {min(limits)} positions of the model",
            hint="shorten it, or raise the number in `model.config`",
        )
    if length < LEAST_MASKED_LENGTH:
        raise Conflict(
            "workload.sequence_length",
            f"{length} is too short for an external model",
            hint=f"use at least {LEAST_MASKED_LENGTH}",
        )


def _check_options(external: ExternalModel, config: Config) -> None:
    """Refuse options that are built into our own families alone."""
    asked = config.workload
    unfit = [key for key in OURS_ALONE if getattr(asked, key) is not None]
    if asked.loss == "chunked":
        unfit.append("loss")
    can = ("auto", "none", "full") if external.kind == "huggingface" else ("auto", "none")
    if asked.activation_checkpointing not in can:
        unfit.append("activation_checkpointing")
    if unfit:
        raise Conflict(
            f"workload.{unfit[0]}",
            f"goes with trnbench's own models alone, not with {external.target}",
            hint="leave it out, or do it in the module itself",
        )


def counted_flops(model: PlannedModel, sequence_length: int) -> dict[str, float]:
    """Return the FLOPs of a token by convention, as torch counted them over all keys.

    Without the keys that the mask hides they are comparable with our families', where the config
    tells which those are.
    """
    external, described = model.external, model.described
    if described is None or described.flops_per_token is None:
        return {}
    whole, of_key = described.flops_per_token, described.flops_per_key
    if external is None or external.task != "next_token" or of_key is None:
        return {COUNTED_CONVENTION: whole}
    keys = attended_keys(json.loads(described.config or "{}"), sequence_length)
    if keys is None:
        return {COUNTED_CONVENTION: whole}
    causal = whole - of_key * (sequence_length - keys)
    return {DEFAULT_CONVENTION: causal, FULL_CONVENTION: whole, COUNTED_CONVENTION: whole}


def _notes(known: KnownExternal, sequence_length: int) -> tuple[str, ...]:
    """Return what its config asks for and is not done, a sentence each."""
    window = known.config.get("sliding_window")
    notes = known.described.notes
    is_used = known.config.get("use_sliding_window") is not False
    if isinstance(window, int) and window >= sequence_length and is_used:
        notes = [*notes, f"sliding_window={window} is no window at {sequence_length} tokens"]
    return tuple(notes)


# --- for the parity gate --------------------------------------------------------------------------


def small_external(
    model: PlannedModel, asked: Mapping[str, Any] | None, small: ModelShape | None
) -> ExternalModel | None:
    """Return an external model of the same make that a CPU can train; None where none is known.

    It has the values that the config asks for, else the sizes of `small`, which is None for a model
    of no known family.
    """
    external, described = model.external, model.described
    if external is None or described is None:
        return None
    values: dict[str, Any] = json.loads(external.arguments)
    if asked is not None:
        values |= asked
        sizes = [values.get(key) for key in ("vocab_size", "vocabulary_size")]
        vocabulary = next((n for n in sizes if isinstance(n, int)), external.vocabulary_size)
    elif small is not None and described.config is not None:
        values |= small_values(json.loads(described.config), small)
        vocabulary = small.vocabulary_size
    else:
        return external if model.parameter_count <= LARGEST_WHOLE_GATE else None
    arguments = json.dumps(values, sort_keys=True)
    return replace(external, arguments=arguments, vocabulary_size=vocabulary)
