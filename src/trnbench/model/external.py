"""Configs of transformers whose family we know: read as our sizes, and our sizes written back.

A config with a setting that our families do not have is not read; torch then counts its FLOPs.

Source: the configuration classes of transformers 5.23 (`configuration_<family>.py`), read 2026-11.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trnbench.catalog.models import complete_shape
from trnbench.protocol.model import Experts, ExternalTask, ModelShape

Config = Mapping[str, Any]

TASKS: dict[str, ExternalTask] = {
    "ForCausalLM": "next_token",
    "LMHeadModel": "next_token",
    "ForMaskedLM": "masked_token",
}
"""What a class is trained on, by the end of its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Type:
    """How configs of one `model_type` say our sizes."""

    family: str
    keys: Mapping[str, str]
    """Name of our size to its key."""
    experts: Mapping[str, str] = field(default_factory=dict)
    """The same of the mixture of experts."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Our sizes that all its models share."""
    allowed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Values of settings with which our formulas hold; a missing key is allowed."""


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
_BERT = {ours: key for ours, key in _ROTARY.items() if ours not in ("kv_heads", "head_dim")}
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
_LOCAL_EXPERTS = {
    "count": "num_local_experts",
    "per_token": "num_experts_per_tok",
    "size": "intermediate_size",
}
_QWEN_EXPERTS = {
    "count": "num_experts",
    "per_token": "num_experts_per_tok",
    "size": "moe_intermediate_size",
}
_SILU = {"hidden_act": ("silu",), "mlp_bias": (False,)}
_UNBIASED = {"attention_bias": (False,)}
_EVERY_BLOCK: Mapping[str, tuple[Any, ...]] = {
    "decoder_sparse_step": (1,),
    "mlp_only_layers": ([], None),
}

TYPES: Mapping[str, _Type] = {
    "llama": _Type(family="llama", keys=_ROTARY, allowed={**_SILU, **_UNBIASED}),
    "mistral": _Type(family="llama", keys=_WINDOWED, allowed=_SILU),
    "qwen2": _Type(
        family="llama",
        keys=_WINDOWED,
        fixed={"attention_biases": "qkv"},
        allowed=_SILU,
    ),
    "qwen3": _Type(
        family="llama",
        keys=_WINDOWED,
        fixed={"qk_norm": True},
        allowed={**_SILU, **_UNBIASED},
    ),
    "mixtral": _Type(family="moe", keys=_WINDOWED, experts=_LOCAL_EXPERTS, allowed=_SILU),
    "qwen3_moe": _Type(
        family="moe",
        keys=_WINDOWED,
        experts=_QWEN_EXPERTS,
        fixed={"qk_norm": True},
        allowed={**_SILU, **_UNBIASED, **_EVERY_BLOCK},
    ),
    "qwen2_moe": _Type(
        family="moe",
        keys=_WINDOWED,
        experts={**_QWEN_EXPERTS, "shared_size": "shared_expert_intermediate_size"},
        fixed={"attention_biases": "qkv"},
        allowed={**_SILU, **_EVERY_BLOCK},
    ),
    "gpt_oss": _Type(
        family="moe",
        keys=_WINDOWED,
        experts=_LOCAL_EXPERTS,
        fixed={"attention_biases": "all", "attention_sinks": True},
    ),
    "gpt2": _Type(family="gpt2", keys=_GPT2, allowed={"add_cross_attention": (False,)}),
    "bert": _Type(
        family="bert",
        keys=_BERT,
        allowed={"add_cross_attention": (False,), "is_decoder": (False,)},
    ),
}

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
KINDS_OF_ATTENTION = (FULL, SLIDING, CHUNKED)
WITHOUT_ATTENTION = ("linear_attention", "conv", "mamba", "recurrent", "moe")
"""Values of `layer_types`: whose keys are known, and which have none."""

_ALIASES: Mapping[str, tuple[str, ...]] = {"num_experts": ("num_local_experts",)}
"""Keys that transformers 4 and 5 call differently."""

_NO_SIZES = ("head_dim", "sliding_window", "tied_embeddings", "init_std")
SIZE_KEYS = frozenset(
    theirs
    for known in TYPES.values()
    for ours, theirs in (*known.keys.items(), *known.experts.items())
    if ours not in _NO_SIZES
)
"""Keys under which configs say a size: whole numbers from 1."""


def shape_of_config(config: Config) -> ModelShape | None:
    """Return the sizes of a config, which has every default that its class adds.

    None where its family or one of its settings is not one of ours.
    """
    known = TYPES.get(str(config.get("model_type")))
    if known is None or not _is_allowed(known, config):
        return None
    sizes = {ours: config.get(theirs) for ours, theirs in known.keys.items()}
    sizes = {ours: value for ours, value in sizes.items() if value is not None}
    sizes |= {"family": known.family, "rope_theta": _rope_theta(config), **known.fixed}
    windows = _windows(config)
    if windows is None:
        return None
    sizes = {ours: value for ours, value in {**sizes, **windows}.items() if value is not None}
    if known.family == "gpt2":
        sizes.setdefault("intermediate_size", 4 * int(str(sizes["hidden_size"])))
    if known.experts:
        sizes["experts"] = _experts(known, config)
        if sizes["experts"] is None:
            return None
    try:
        shape = complete_shape(sizes)
    except (KeyError, TypeError, ZeroDivisionError):
        return None
    return shape


def small_values(config: Config, shape: ModelShape) -> dict[str, Any]:
    """Return what the config of a known family must say, under its keys, to have these sizes."""
    known = TYPES[str(config["model_type"])]
    values = {
        theirs: getattr(shape, ours)
        for ours, theirs in known.keys.items()
        if theirs in config and ours not in ("tied_embeddings", "init_std")
    }
    if shape.sliding_window is None:
        values.pop("sliding_window", None)  # its `layer_types` have none
    if shape.experts is not None:
        values |= {
            _key(config, theirs): getattr(shape.experts, ours)
            for ours, theirs in known.experts.items()
            if ours in ("count", "per_token", "size") or shape.experts.shared_size
        }
    if isinstance(config.get("layer_types"), list):
        values["layer_types"] = config["layer_types"][: shape.layers]
    # The token stream has none of these marks, and a small vocabulary may not hold them.
    marks = ("pad_token_id", "bos_token_id", "eos_token_id")
    return values | {mark: None for mark in marks if config.get(mark) is not None}


def _windows(config: Config) -> dict[str, Any] | None:
    """Return which blocks have the config's window, as our sizes; None where ours cannot say it.

    Without `layer_types` every block has it, if there is one.
    """
    kinds = config.get("layer_types")
    if not isinstance(kinds, list):
        return {}
    if not set(kinds) <= {FULL, SLIDING}:
        return None
    is_full = [kind == FULL for kind in kinds]
    if all(is_full):
        return {"sliding_window": None}
    if not any(is_full):
        return {}
    every = is_full.index(True) + 1
    is_regular = all(full == (number % every == 0) for number, full in enumerate(is_full, start=1))
    return {"full_attention_every": every} if is_regular else None


def attended_keys(config: Config, sequence_length: int) -> float | None:
    """Return the mean number of keys that a query of a decoder attends to, over its layers.

    None where the config does not tell, or its layers are of unlike sizes. Means: of a causal mask
    s / 2, with a window W - W^2 / 2s, within chunks the mean by tokens (docs/metrics.md, "FLOPs").
    """
    kinds, window = config.get("layer_types"), config.get("sliding_window")
    if config.get("use_sliding_window") is False or not isinstance(window, int):
        window = None
    if not isinstance(kinds, list):
        kinds = [FULL if window is None else SLIDING]
    wide, usual = config.get("global_head_dim"), config.get("head_dim")
    if not set(kinds) <= {*KINDS_OF_ATTENTION, *WITHOUT_ATTENTION} or wide not in (None, usual):
        return None
    chunk = config.get("attention_chunk_size")
    keys = {
        FULL: sequence_length / 2,
        SLIDING: None if window is None else _keys_in_window(window, sequence_length),
        CHUNKED: _keys_in_chunks(chunk, sequence_length) if isinstance(chunk, int) else None,
    }
    found = [keys[kind] for kind in kinds if kind in keys]
    known = [each for each in found if each is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def _keys_in_window(window: int, tokens: int) -> float:
    shown = min(window, tokens)
    return shown - shown**2 / (2 * tokens)


def _keys_in_chunks(chunk: int, tokens: int) -> float:
    whole, rest = divmod(tokens, chunk)
    return (whole * chunk**2 + rest**2) / (2 * tokens)


def _is_allowed(known: _Type, config: Config) -> bool:
    return all(key not in config or config[key] in values for key, values in known.allowed.items())


def _experts(known: _Type, config: Config) -> Experts | None:
    sizes = {ours: config.get(_key(config, theirs)) for ours, theirs in known.experts.items()}
    if not all(isinstance(size, int) for size in sizes.values()):
        return None
    is_gpt_oss = "attention_sinks" in known.fixed
    return Experts(
        **{ours: int(str(size)) for ours, size in sizes.items()},
        shared_gate="shared_size" in sizes,
        normalized=bool(config.get("norm_topk_prob", True)),
        biases=is_gpt_oss,
        clamped=is_gpt_oss,
    )


def _key(config: Config, name: str) -> str:
    """Return the key of a setting in the version of transformers that made the config."""
    return next((each for each in (name, *_ALIASES.get(name, ())) if each in config), name)


def _rope_theta(config: Config) -> float:
    parameters = config.get("rope_parameters")
    found = config.get("rope_theta")
    if isinstance(parameters, Mapping):
        found = parameters.get("rope_theta", found)
    return float(found) if isinstance(found, int | float) else 10000.0
