"""Logits of windows, biases, experts, sinks and encoders against Hugging Face's, weights copied."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.pure.train.orders import BERT, LLAMA, MOE, VIT
from tests.torch.train.models.test_parity import LLAMA_NAMES, TOKENS, llama_settings, translate
from trnbench.protocol.model import ModelShape, RopeScaling
from trnbench.train.models import family_class

Weights = Mapping[str, torch.Tensor]
transformers = pytest.importorskip("transformers", minversion="5.0")

# Importing classes of transformers takes seconds: one worker does it for all.
pytestmark = pytest.mark.xdist_group("transformers")

BERT_NAMES = {
    "embedding.": "bert.embeddings.word_embeddings.",
    "positions.": "bert.embeddings.position_embeddings.",
    "segments.": "bert.embeddings.token_type_embeddings.",
    "embedding_norm.": "bert.embeddings.LayerNorm.",
    "blocks.": "bert.encoder.layer.",
    "attention.output.": "attention.output.dense.",
    "attention_norm.": "attention.output.LayerNorm.",
    "mlp.up.": "intermediate.dense.",
    "mlp.output.": "output.dense.",
    "mlp_norm.": "output.LayerNorm.",
    "transform.": "cls.predictions.transform.dense.",
    "transform_norm.": "cls.predictions.transform.LayerNorm.",
    "head_bias": "cls.predictions.bias",
}
VIT_NAMES = {
    "class_token": "vit.embeddings.cls_token",
    "positions": "vit.embeddings.position_embeddings",
    "patch.": "vit.embeddings.patch_embeddings.projection.",
    "blocks.": "vit.layers.",
    "attention.output.": "attention.o_proj.",
    "attention_norm.": "layernorm_before.",
    "mlp_norm.": "layernorm_after.",
    "mlp.up.": "mlp.fc1.",
    "mlp.output.": "mlp.fc2.",
    "norm.": "vit.layernorm.",
    "head.": "classifier.",
}


def joined_apart(ours: Weights, names: Mapping[str, str], parts: tuple[str, str, str]) -> Weights:
    """Say our weights as the other library does, queries, keys and values each by themselves."""
    theirs = {}
    for name, weight in ours.items():
        if "query_key_value" in name:
            for part, piece in zip(parts, weight.chunk(3), strict=True):
                renamed = name.replace("attention.query_key_value", part)
                theirs[translate(renamed, dict(names))] = piece
        else:
            theirs[translate(name, dict(names))] = weight
    return theirs


def bert_weights(ours: Weights) -> Weights:
    return joined_apart(
        ours,
        BERT_NAMES,
        ("attention.self.query", "attention.self.key", "attention.self.value"),
    )


def vit_weights(ours: Weights) -> Weights:
    parts = ("attention.q_proj", "attention.k_proj", "attention.v_proj")
    return joined_apart(ours, VIT_NAMES, parts)


def moe_weights(ours: Weights) -> Weights:
    """Join gate and up of all experts, output before input, as transformers 5 keeps them."""
    names = {
        **LLAMA_NAMES,
        "mlp.router.": "mlp.gate.",
        "mlp.shared_gate.": "mlp.shared_expert_gate.",
        "mlp.shared.gate.": "mlp.shared_expert.gate_proj.",
        "mlp.shared.up.": "mlp.shared_expert.up_proj.",
        "mlp.shared.down.": "mlp.shared_expert.down_proj.",
    }
    theirs = {}
    for name, weight in ours.items():
        prefix = name.rpartition(".")[0].replace("blocks.", "model.layers.")
        if name.endswith("mlp.gate"):
            up = ours[name.replace("mlp.gate", "mlp.up")]
            joined = torch.cat((weight, up), dim=2).transpose(1, 2)
            theirs[f"{prefix}.experts.gate_up_proj"] = joined
        elif name.endswith("mlp.down"):
            theirs[f"{prefix}.experts.down_proj"] = weight.transpose(1, 2)
        elif not name.endswith("mlp.up"):
            theirs[translate(name, names)] = weight
    return theirs


def gpt_oss_weights(ours: Weights) -> Weights:
    """Interleave gate and up, as gpt-oss keeps them, input before output."""
    names = {**LLAMA_NAMES, "attention.sink_bias": "self_attn.sinks"}
    theirs = {}
    for name, weight in ours.items():
        prefix = name.rpartition(".")[0].replace("blocks.", "model.layers.")
        if name.endswith("mlp.gate"):
            up = ours[name.replace("mlp.gate", "mlp.up")]
            theirs[f"{prefix}.experts.gate_up_proj"] = torch.stack((weight, up), -1).flatten(2)
        elif name.endswith("mlp.gate_bias"):
            count = ours[name.replace("gate_bias", "gate")].shape[0]
            both = torch.stack((weight, ours[name.replace("gate_bias", "up_bias")]), -1)
            theirs[f"{prefix}.experts.gate_up_proj_bias"] = both.flatten().view(count, -1)
        elif name.endswith("mlp.down"):
            theirs[f"{prefix}.experts.down_proj"] = weight
        elif name.endswith("mlp.down_bias"):
            count = ours[name.replace("down_bias", "down")].shape[0]
            theirs[f"{prefix}.experts.down_proj_bias"] = weight.view(count, -1)
        elif not name.endswith(("mlp.up", "mlp.up_bias")):
            theirs[translate(name, names)] = weight
    return theirs


def plain_weights(ours: Weights) -> Weights:
    return {translate(name, LLAMA_NAMES): weight for name, weight in ours.items()}


def experts_settings(shape: ModelShape) -> dict[str, Any]:
    experts = shape.experts
    assert experts is not None
    return {
        **llama_settings(shape),
        "num_experts_per_tok": experts.per_token,
        "num_experts": experts.count,
        "num_local_experts": experts.count,
        "moe_intermediate_size": experts.size,
        "intermediate_size": experts.size,
        "shared_expert_intermediate_size": experts.shared_size,
        "norm_topk_prob": experts.normalized,
        "sliding_window": shape.sliding_window,
        "attn_implementation": "eager",
    }


def encoder_settings(shape: ModelShape) -> dict[str, Any]:
    return {
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate_size,
        "layer_norm_eps": shape.norm_epsilon,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def mistral(shape: ModelShape) -> torch.nn.Module:
    config = transformers.MistralConfig(
        **llama_settings(shape), sliding_window=shape.sliding_window
    )
    return transformers.MistralForCausalLM(config)


def qwen2(shape: ModelShape) -> torch.nn.Module:
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**llama_settings(shape)))


def mixtral(shape: ModelShape) -> torch.nn.Module:
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**experts_settings(shape)))


def qwen3_moe(shape: ModelShape) -> torch.nn.Module:
    return transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**experts_settings(shape)))


def qwen2_moe(shape: ModelShape) -> torch.nn.Module:
    return transformers.Qwen2MoeForCausalLM(transformers.Qwen2MoeConfig(**experts_settings(shape)))


def gpt_oss(shape: ModelShape) -> torch.nn.Module:
    settings = experts_settings(shape)
    if shape.rope_scaling is not None:
        settings["rope_parameters"] = {
            "rope_type": "yarn",
            "rope_theta": shape.rope_theta,
            "factor": shape.rope_scaling.factor,
            "beta_slow": shape.rope_scaling.low_frequency_factor,
            "beta_fast": shape.rope_scaling.high_frequency_factor,
            "original_max_position_embeddings": shape.rope_scaling.original_max_positions,
            "truncate": False,
        }
    settings["rope_scaling"] = None
    every = shape.full_attention_every
    settings["layer_types"] = [
        "full_attention" if every and (layer + 1) % every == 0 else "sliding_attention"
        for layer in range(shape.layers)
    ]
    return transformers.GptOssForCausalLM(transformers.GptOssConfig(**settings))


def bert(shape: ModelShape) -> torch.nn.Module:
    config = transformers.BertConfig(
        **encoder_settings(shape),
        vocab_size=shape.vocabulary_size,
        max_position_embeddings=shape.max_positions,
        tie_word_embeddings=shape.tied_embeddings,
    )
    return transformers.BertForMaskedLM(config)


def vit(shape: ModelShape) -> torch.nn.Module:
    assert shape.image is not None
    config = transformers.ViTConfig(
        **encoder_settings(shape),
        image_size=shape.image.size,
        patch_size=shape.image.patch_size,
        num_labels=shape.vocabulary_size,
    )
    return transformers.ViTForImageClassification(config)


GPT_OSS = replace(
    MOE,
    attention_biases="all",
    attention_sinks=True,
    sliding_window=12,
    full_attention_every=2,
    experts=replace(MOE.experts, biases=True, clamped=True),  # type: ignore[type-var]
)
YARN = RopeScaling(
    kind="yarn",
    factor=32.0,
    low_frequency_factor=1.0,
    high_frequency_factor=32.0,
    original_max_positions=16,
)
QWEN2_MOE = replace(
    MOE,
    attention_biases="qkv",
    experts=replace(
        MOE.experts,  # type: ignore[type-var]
        normalized=False,
        shared_size=40,
        shared_gate=True,
    ),
)
Case = tuple[ModelShape, Callable[[ModelShape], torch.nn.Module], Callable[[Weights], Weights]]
CASES: dict[str, Case] = {
    "mistral, a window that divides": (replace(LLAMA, sliding_window=16), mistral, plain_weights),
    "mistral, one that does not": (replace(LLAMA, sliding_window=7), mistral, plain_weights),
    "mistral, no window": (LLAMA, mistral, plain_weights),
    "qwen2": (replace(LLAMA, attention_biases="qkv"), qwen2, plain_weights),
    "mixtral": (MOE, mixtral, moe_weights),
    "qwen3-moe": (replace(MOE, qk_norm=True, head_dim=16), qwen3_moe, moe_weights),
    "qwen2-moe": (QWEN2_MOE, qwen2_moe, moe_weights),
    "gpt-oss": (GPT_OSS, gpt_oss, gpt_oss_weights),
    "gpt-oss, stretched": (replace(GPT_OSS, rope_scaling=YARN), gpt_oss, gpt_oss_weights),
    "bert": (BERT, bert, bert_weights),
    "vit": (VIT, vit, vit_weights),
}


def randomize(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Draw all weights far from the usual narrow start: attention must be uneven to be tested."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = "norm.weight" in name
            parameter.normal_(1.0 if is_norm else 0.0, 0.3, generator=generator)


def inputs_for(shape: ModelShape, generator: torch.Generator) -> torch.Tensor:
    if shape.image is None:
        return torch.randint(0, shape.vocabulary_size, (2, TOKENS), generator=generator)
    size = (2, shape.image.channels, shape.image.size, shape.image.size)
    return torch.randint(0, 256, size, generator=generator).to(torch.uint8)


@pytest.mark.parametrize("name", CASES)
def test_a_family_has_the_logits_of_transformers(name: str) -> None:
    shape, build, rename = CASES[name]
    generator = torch.Generator().manual_seed(11)
    ours, theirs = family_class(shape.family)(shape, TOKENS, None), build(shape).eval()
    randomize(ours, generator)
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for other, weight in rename(dict(ours.named_parameters())).items():
            # torch.Tensor.view: a patch's weights are a picture there and a row here.
            place = weights.pop(other)
            place.copy_(weight.reshape(place.shape))
    assert not weights, f"not copied: {sorted(weights)}"
    inputs = inputs_for(shape, generator)
    with torch.no_grad():
        given = inputs if shape.image is None else (inputs.float() - 127.5) / 127.5
        torch.testing.assert_close(ours(inputs), theirs(given).logits, rtol=1e-4, atol=2e-4)
