"""Configs of transformers whose family we know: read as sizes of ours, and written back.

A config that says what our families do not have (other activations, other positions) is not read:
its operations are then counted by torch, and not by a formula that is not its own.

Source: the configuration classes of transformers 5.23 (`configuration_<family>.py`), read 2026-11.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trnbench.catalog.models import complete_shape
from trnbench.protocol.model import Experts, ModelShape

Config = Mapping[str, Any]

TASKS = {"ForCausalLM": "next_token", "LMHeadModel": "next_token", "ForMaskedLM": "masked_token"}
"""What a class is trained on, by the end of its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """How one `model_type` says our sizes."""

    family: str
    keys: Mapping[str, str]
    """Our size to its key."""
    experts: Mapping[str, str] = field(default_factory=dict)
    """The same of the mixture of experts."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Sizes of ours that every model of it has."""
    mlp_multiple: int | None = None
    """Width of the MLP over the model's, where the config does not say it."""
    required: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Keys that must be one of these, or absent, for our formula to be its own."""


_ROTARY = {
    "layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "intermediate_size": "intermediate_size",
    "vocabulary_size": "vocab_size",
    "max_positions": "max_position_embeddings",
    "tied_embeddings": "tie_word_embeddings",
    "init_std": "initializer_range",
}
_WINDOWED = {**_ROTARY, "sliding_window": "sliding_window"}
_UNWINDOWED = {"use_sliding_window": (False,)}
_SILU = {"hidden_act": ("silu",), "mlp_bias": (False,), "pretraining_tp": (1,)}
_PLAIN_ATTENTION = {"attention_bias": (False,)}
_GPT2 = {
    "layers": "n_layer",
    "hidden_size": "n_embd",
    "heads": "n_head",
    "intermediate_size": "n_inner",
    "vocabulary_size": "vocab_size",
    "max_positions": "n_positions",
    "tied_embeddings": "tie_word_embeddings",
    "init_std": "initializer_range",
}
_BERT = {
    **{ours: theirs for ours, theirs in _ROTARY.items() if ours not in ("kv_heads", "head_dim")},
}
_EVERY_BLOCK: Mapping[str, tuple[Any, ...]] = {
    "decoder_sparse_step": (1,),
    "mlp_only_layers": ([], None),
}

TYPES: Mapping[str, _Family] = {
    "llama": _Family(family="llama", keys=_ROTARY, required={**_SILU, **_PLAIN_ATTENTION}),
    "mistral": _Family(family="llama", keys=_WINDOWED, required=_SILU),
    "qwen2": _Family(
        family="llama",
        keys=_ROTARY,
        fixed={"attention_biases": "qkv"},
        required={**_SILU, **_UNWINDOWED},
    ),
    "qwen3": _Family(
        family="llama",
        keys=_ROTARY,
        fixed={"qk_norm": True},
        required={**_SILU, **_PLAIN_ATTENTION, **_UNWINDOWED},
    ),
    "mixtral": _Family(
        family="moe",
        keys=_WINDOWED,
        experts={
            "count": "num_local_experts",
            "per_token": "num_experts_per_tok",
            "size": "intermediate_size",
        },
        required=_SILU,
    ),
    "qwen3_moe": _Family(
        family="moe",
        keys=_ROTARY,
        experts={
            "count": "num_experts",
            "per_token": "num_experts_per_tok",
            "size": "moe_intermediate_size",
        },
        fixed={"qk_norm": True},
        required={**_SILU, **_PLAIN_ATTENTION, **_UNWINDOWED, **_EVERY_BLOCK},
    ),
    "qwen2_moe": _Family(
        family="moe",
        keys=_ROTARY,
        experts={
            "count": "num_experts",
            "per_token": "num_experts_per_tok",
            "size": "moe_intermediate_size",
            "shared_size": "shared_expert_intermediate_size",
        },
        fixed={"attention_biases": "qkv"},
        required={**_SILU, **_UNWINDOWED, **_EVERY_BLOCK},
    ),
    "gpt_oss": _Family(
        family="moe",
        keys=_WINDOWED,
        experts={
            "count": "num_local_experts",
            "per_token": "num_experts_per_tok",
            "size": "intermediate_size",
        },
        fixed={"attention_biases": "all", "attention_sinks": True, "full_attention_every": 2},
    ),
    "gpt2": _Family(
        family="gpt2", keys=_GPT2, mlp_multiple=4, required={"add_cross_attention": (False,)}
    ),
    "bert": _Family(
        family="bert",
        keys=_BERT,
        required={"add_cross_attention": (False,), "is_decoder": (False,)},
    ),
}

_NO_SIZES = ("head_dim", "sliding_window", "tied_embeddings", "init_std")
SIZE_KEYS = frozenset(
    theirs
    for known in TYPES.values()
    for ours, theirs in (*known.keys.items(), *known.experts.items())
    if ours not in _NO_SIZES
)
"""Keys under which configs say how many of something there are: whole numbers from 1."""

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
"""Families that attend both ways unless their config says `is_decoder`."""


def shape_of_config(config: Config) -> ModelShape | None:
    """Return a config's sizes, or None where its family or a setting of it is not one of ours.

    Args:
        config: with every default that its class adds.
    """
    known = TYPES.get(str(config.get("model_type")))
    if known is None or not _is_plain(known, config):
        return None
    sizes = {ours: config.get(theirs) for ours, theirs in known.keys.items()}
    sizes = {ours: value for ours, value in sizes.items() if value is not None}
    sizes |= {"family": known.family, **known.fixed}
    if known.mlp_multiple is not None:
        width = known.mlp_multiple * int(str(sizes["hidden_size"]))
        sizes.setdefault("intermediate_size", width)
    experts = _experts(known, config)
    if known.experts and experts is None:
        return None
    try:
        shape = complete_shape({**sizes, "experts": experts})
    except (KeyError, TypeError, ZeroDivisionError):
        return None
    window = shape.sliding_window
    if window is not None and shape.full_attention_every is None and _is_mixed(config):
        return None
    return replace(shape, sliding_window=window, rope_theta=_rope_theta(config))


def small_values(config: Config, shape: ModelShape) -> dict[str, Any]:
    """Return what a config must say to be of these sizes, in its own keys.

    Args:
        config: the large one, whole.
        shape: the sizes that it shall have.

    Raises:
        KeyError: the config's family is not known.
    """
    known = TYPES[str(config["model_type"])]
    values = {
        theirs: getattr(shape, ours)
        for ours, theirs in known.keys.items()
        if theirs in config and ours not in ("tied_embeddings", "init_std")
    }
    if shape.experts is not None:
        values |= {
            _key(config, theirs): getattr(shape.experts, ours)
            for ours, theirs in known.experts.items()
            if ours in ("count", "per_token", "size") or shape.experts.shared_size
        }
    if isinstance(config.get("layer_types"), list):
        values["layer_types"] = config["layer_types"][: shape.layers]
    # Marks of text that the stream does not have; they may lie beyond a small vocabulary.
    marks = ("pad_token_id", "bos_token_id", "eos_token_id")
    return values | {mark: None for mark in marks if config.get(mark) is not None}


def _is_plain(known: _Family, config: Config) -> bool:
    return all(
        key not in config or config[key] in allowed for key, allowed in known.required.items()
    )


def _experts(known: _Family, config: Config) -> Experts | None:
    if not known.experts:
        return None
    sizes = {ours: config.get(_key(config, theirs)) for ours, theirs in known.experts.items()}
    if not all(isinstance(size, int) for size in sizes.values()):
        return None
    is_gpt_oss = "attention_sinks" in known.fixed
    normalized = config.get("norm_topk_prob", True)
    return Experts(
        **{ours: int(str(size)) for ours, size in sizes.items()},
        shared_gate="shared_size" in sizes,
        normalized=bool(normalized),
        biases=is_gpt_oss,
        clamped=is_gpt_oss,
    )


def _key(config: Config, name: str) -> str:
    """Return the name under which this version of transformers keeps a setting."""
    return next((each for each in (name, *ALIASES.get(name, ())) if each in config), name)


ALIASES: Mapping[str, tuple[str, ...]] = {"num_experts": ("num_local_experts",)}
"""What transformers 4 and 5 call differently."""


def _is_mixed(config: Config) -> bool:
    kinds = config.get("layer_types")
    return isinstance(kinds, list) and len(set(kinds)) > 1


def _rope_theta(config: Config) -> float:
    """Return the base of its rotary frequencies, which no count depends on."""
    parameters = config.get("rope_parameters")
    found = config.get("rope_theta")
    if isinstance(parameters, Mapping):
        found = parameters.get("rope_theta", found)
    return float(found) if isinstance(found, int | float) else 10000.0
