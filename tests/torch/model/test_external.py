"""Configs of known families against the classes: each reads as sizes of the same weights."""

from dataclasses import replace
from typing import Any

import pytest

from trnbench.catalog.models import models
from trnbench.model.external import TYPES, shape_of_config, small_values
from trnbench.model.flops import parameter_count

transformers = pytest.importorskip("transformers", minversion="5.0")
torch = pytest.importorskip("torch")

# Importing classes of transformers takes seconds: one worker does it for all.
pytestmark = pytest.mark.xdist_group("transformers")

SIZES: dict[str, Any] = {
    "num_hidden_layers": 4, "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 160, "vocab_size": 512,
}  # fmt: skip
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 48}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", SIZES),
    "mistral": ("MistralForCausalLM", SIZES),
    "qwen2": ("Qwen2ForCausalLM", {k: v for k, v in SIZES.items() if k != "head_dim"}),
    "qwen3": ("Qwen3ForCausalLM", {**SIZES, "tie_word_embeddings": True}),
    "mixtral": ("MixtralForCausalLM", {**SIZES, "num_local_experts": 4}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {**SIZES, **EXPERTS, "num_experts": 4}),
    "qwen2_moe": (
        "Qwen2MoeForCausalLM",
        {
            **{k: v for k, v in SIZES.items() if k != "head_dim"},
            **EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 80,
        },
    ),
    "gpt_oss": ("GptOssForCausalLM", {**SIZES, "num_local_experts": 4}),
    "gpt2": ("GPT2LMHeadModel", {"n_layer": 3, "n_embd": 96, "n_head": 6, "vocab_size": 512}),
    "bert": (
        "BertForMaskedLM",
        {k: v for k, v in SIZES.items() if k not in ("head_dim", "num_key_value_heads")},
    ),
}  # fmt: skip


def built(target: str, values: dict[str, Any]) -> tuple[Any, int]:
    kind = getattr(transformers, target)
    config = kind.config_class(**values)
    with torch.device("meta"):
        model = kind(config)
    return config.to_dict(), sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", TYPES)
def test_a_config_of_a_known_family_comes_to_the_weights_of_its_class(name: str) -> None:
    config, count = built(*CASES[name])
    shape = shape_of_config(config)
    assert shape is not None
    assert parameter_count(shape) == count


@pytest.mark.parametrize("name", TYPES)
def test_small_sizes_written_back_make_a_small_model_of_the_class(name: str) -> None:
    target, values = CASES[name]
    config, count = built(target, values)
    shape = shape_of_config(config)
    assert shape is not None
    small = replace(shape, layers=2, vocabulary_size=128)
    again, fewer = built(target, {**values, **small_values(config, small)})
    assert fewer == parameter_count(small) < count
    assert shape_of_config(again) == small


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("llama", {"mlp_bias": True}),
        ("llama", {"hidden_act": "gelu"}),
        ("qwen3_moe", {"decoder_sparse_step": 2}),
        ("gpt2", {"add_cross_attention": True}),
    ],
)
def test_a_setting_that_our_formula_does_not_know_is_not_read(
    name: str, setting: dict[str, Any]
) -> None:
    target, values = CASES[name]
    config, _ = built(target, values)
    assert shape_of_config({**config, **setting}) is None


def test_a_family_that_nobody_knows_is_not_read() -> None:
    assert shape_of_config({"model_type": "mamba", "hidden_size": 64}) is None
    assert shape_of_config({}) is None


def test_the_defaults_of_llama_are_those_of_the_catalog() -> None:
    config = transformers.LlamaConfig().to_dict()
    shape, known = shape_of_config(config), models()["llama2-7b"].shape
    assert shape is not None
    assert parameter_count(shape) == parameter_count(known)
