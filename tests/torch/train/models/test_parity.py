"""The logits of our families against those of Hugging Face transformers, weights copied."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.pure.train.orders import GPT2, LLAMA
from trnbench.protocol.model import ModelShape, RopeScaling
from trnbench.train.models import family_class

# Importing classes of transformers takes seconds: one worker does it for all.
pytestmark = pytest.mark.xdist_group("transformers")

TOKENS = 48
"""Longer than the original positions of the stretched rotary case, so the stretching shows."""

LLAMA_NAMES = {
    "embedding.": "model.embed_tokens.",
    "blocks.": "model.layers.",
    "attention.query.": "self_attn.q_proj.",
    "attention.key.": "self_attn.k_proj.",
    "attention.value.": "self_attn.v_proj.",
    "attention.output.": "self_attn.o_proj.",
    "attention.query_norm.": "self_attn.q_norm.",
    "attention.key_norm.": "self_attn.k_norm.",
    "attention_norm.": "input_layernorm.",
    "mlp_norm.": "post_attention_layernorm.",
    "mlp.gate.": "mlp.gate_proj.",
    "mlp.up.": "mlp.up_proj.",
    "mlp.down.": "mlp.down_proj.",
    "norm.weight": "model.norm.weight",
    "head.": "lm_head.",
}
GPT2_NAMES = {
    "embedding.": "transformer.wte.",
    "positions.": "transformer.wpe.",
    "blocks.": "transformer.h.",
    "attention.query_key_value.": "attn.c_attn.",
    "attention.output.": "attn.c_proj.",
    "attention_norm.": "ln_1.",
    "mlp_norm.": "ln_2.",
    "mlp.up.": "mlp.c_fc.",
    "mlp.output.": "mlp.c_proj.",
    "norm.": "transformer.ln_f.",
    "head.": "lm_head.",
}

STRETCHED = RopeScaling(
    factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_max_positions=16
)
LLAMA_CASES = {
    "one key head per query head": replace(LLAMA, kv_heads=4),
    "grouped heads": LLAMA,
    "one key head for all": replace(LLAMA, kv_heads=1),
    "tied head": replace(LLAMA, tied_embeddings=True),
    "stretched rotary": replace(LLAMA, rope_theta=500_000.0, rope_scaling=STRETCHED),
    "other epsilon": replace(LLAMA, norm_epsilon=0.3),
}
QWEN_CASES = {
    "tied, wide heads": replace(LLAMA, qk_norm=True, head_dim=16, tied_embeddings=True),
    "untied": replace(LLAMA, qk_norm=True, rope_theta=1_000_000.0, norm_epsilon=1e-6),
}
GPT2_CASES = {"tied": GPT2, "untied": replace(GPT2, tied_embeddings=False)}


def translate(name: str, names: dict[str, str]) -> str:
    """Say a weight's name as the other library does; only whole parts of the name are replaced."""
    parts, done = name, ""
    while parts:
        ours = next((ours for ours in names if parts.startswith(ours)), None)
        if ours is None:
            head, dot, parts = parts.partition(".")
            done += head + dot
        else:
            done, parts = done + names[ours], parts.removeprefix(ours)
    return done


def logits_of_both(
    shape: ModelShape, theirs: torch.nn.Module, names: dict[str, str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give both models the same weights, norms and biases too, and the same tokens."""
    generator = torch.Generator().manual_seed(11)
    ours = family_class(shape.family)(shape, TOKENS)
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            # Far from the usual narrow start: attention must be uneven for a fault in it to show.
            parameter.normal_(1.0 if "norm.weight" in name else 0.0, 0.3, generator=generator)
            their_weight = weights.pop(translate(name, names))
            is_transposed = shape.family == "gpt2" and "blocks." in name and parameter.ndim == 2
            their_weight.copy_(parameter.T if is_transposed else parameter)
    assert not weights, f"not copied: {sorted(weights)}"
    tokens = torch.randint(0, shape.vocabulary_size, (2, TOKENS), generator=generator)
    with torch.no_grad():
        return ours(tokens), theirs(tokens).logits


def llama_settings(shape: ModelShape) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": shape.rope_theta}
    if shape.rope_scaling is not None:
        rope = {
            "rope_type": "llama3",
            "rope_theta": shape.rope_theta,
            "factor": shape.rope_scaling.factor,
            "low_freq_factor": shape.rope_scaling.low_frequency_factor,
            "high_freq_factor": shape.rope_scaling.high_frequency_factor,
            "original_max_position_embeddings": shape.rope_scaling.original_max_positions,
        }
    return {
        "vocab_size": shape.vocabulary_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": shape.norm_epsilon,
        "tie_word_embeddings": shape.tied_embeddings,
        "rope_parameters": rope,
        # Versions before 5 take the same two things apart.
        "rope_theta": shape.rope_theta,
        "rope_scaling": rope if shape.rope_scaling else None,
        "bos_token_id": None,
        "eos_token_id": None,
    }


@pytest.mark.parametrize("shape", LLAMA_CASES.values(), ids=LLAMA_CASES)
def test_llama_has_the_logits_of_transformers(shape: ModelShape) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(**llama_settings(shape))
    ours, theirs = logits_of_both(shape, transformers.LlamaForCausalLM(config), LLAMA_NAMES)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", QWEN_CASES.values(), ids=QWEN_CASES)
def test_qwen3_has_the_logits_of_transformers(shape: ModelShape) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen3Config(**llama_settings(shape))
    ours, theirs = logits_of_both(shape, transformers.Qwen3ForCausalLM(config), LLAMA_NAMES)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", GPT2_CASES.values(), ids=GPT2_CASES)
def test_gpt2_has_the_logits_of_transformers(shape: ModelShape) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=shape.vocabulary_size,
        n_embd=shape.hidden_size,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_inner=shape.intermediate_size,
        n_positions=shape.max_positions,
        layer_norm_epsilon=shape.norm_epsilon,
        tie_word_embeddings=shape.tied_embeddings,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    ours, theirs = logits_of_both(shape, transformers.GPT2LMHeadModel(config), GPT2_NAMES)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_each_detail_of_the_shape_moves_the_logits_beyond_the_tolerance() -> None:
    """Parity would prove nothing of a detail that these sizes cannot show."""
    torch.manual_seed(3)
    tokens = torch.randint(0, LLAMA.vocabulary_size, (2, TOKENS))
    plain = family_class("llama")(LLAMA, TOKENS)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.normal_(0.0, 0.3)
    weights = plain.state_dict()
    for change in (
        {"rope_scaling": STRETCHED},
        {"rope_theta": 500_000.0},
        {"norm_epsilon": 0.3},
        {"qk_norm": True},
    ):
        other = family_class("llama")(replace(LLAMA, **change), TOKENS)
        other.load_state_dict(weights, strict=False)
        assert (other(tokens) - plain(tokens)).abs().max().item() > 1e-2, change
