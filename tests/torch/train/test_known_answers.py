"""The known answers of small models, made again by the classes of transformers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it

from tests.torch.train.models import test_parity as plain
from tests.torch.train.models import test_parity_families as families
from trnbench.analysis.checks.parity import KNOWN_TOLERANCE
from trnbench.protocol.model import Experts, ModelShape
from trnbench.train.known_answers import (
    KNOWN_ANSWERS,
    MASKED_POSITIONS,
    TOKENS,
    KnownAnswer,
    answer_of,
    compare_known_answers,
    set_weights,
    tokens_of,
)
from trnbench.train.models import family_class

transformers = pytest.importorskip("transformers", minversion="5.0")
pytestmark = pytest.mark.xdist_group("transformers")

Weights = Mapping[str, torch.Tensor]


def llama(shape: ModelShape) -> torch.nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**plain.llama_settings(shape)))


def qwen3(shape: ModelShape) -> torch.nn.Module:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**plain.llama_settings(shape)))


def gpt2(shape: ModelShape) -> torch.nn.Module:
    config = transformers.GPT2Config(
        n_layer=shape.layers, n_embd=shape.hidden_size, n_head=shape.heads,
        n_inner=shape.intermediate_size, vocab_size=shape.vocabulary_size,
        n_positions=shape.max_positions, layer_norm_epsilon=shape.norm_epsilon, embd_pdrop=0.0,
        resid_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def gpt2_weights(ours: Weights) -> Weights:
    return {
        plain.translate(name, plain.GPT2_NAMES): (
            weight.T if "blocks." in name and weight.ndim == 2 else weight
        )
        for name, weight in ours.items()
    }


Makers = tuple[Callable[[ModelShape], torch.nn.Module], Callable[[Weights], Weights]]
MAKERS: dict[str, Makers] = {
    "llama": (llama, families.plain_weights),
    "llama, rotary of another base, stretched": (llama, families.plain_weights),
    "llama, queries and keys normalized, tied": (qwen3, families.plain_weights),
    "llama, biases": (families.qwen2, families.plain_weights),
    "llama, a window": (families.mistral, families.plain_weights),
    "llama, packed documents": (llama, families.plain_weights),
    "moe, as Mixtral": (families.mixtral, families.moe_weights),
    "moe, as Qwen2": (families.qwen2_moe, families.moe_weights),
    "moe, as gpt-oss": (families.gpt_oss, families.gpt_oss_weights),
    "gpt2": (gpt2, gpt2_weights),
    "bert": (families.bert, families.bert_weights),
    "vit": (families.vit, families.vit_weights),
}


def made_by_transformers(known: KnownAnswer, makers: Makers) -> tuple[float, float]:
    """Return the loss and the norm of the gradients, one document after another."""
    build, rename = makers
    shape = known.shape
    theirs, ours = build(shape).eval(), family_class(shape.family)(shape, TOKENS, None)
    set_weights(ours)
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for other, weight in rename(dict(ours.named_parameters())).items():
            place = weights.pop(other)
            place.copy_(weight.reshape(place.shape))
    assert not weights, f"not copied: {sorted(weights)}"
    inputs, targets, _ = tokens_of(shape)
    if shape.image is not None:
        logits = theirs(pixel_values=(inputs.float() - 127.5) / 127.5).logits
    else:
        length = known.document_length or TOKENS
        logits = torch.cat([theirs(input_ids=part).logits for part in inputs.split(length, 1)], 1)
        if targets.shape[1] == len(MASKED_POSITIONS):
            logits = logits[:, list(MASKED_POSITIONS)]
    loss = F.cross_entropy(logits.flatten(0, -2), targets.flatten())
    loss.backward()
    gradients = [p.grad for p in theirs.parameters() if p.grad is not None]
    return loss.item(), math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
def test_a_known_answer_is_that_of_transformers(name: str) -> None:
    known = KNOWN_ANSWERS[name]
    made = made_by_transformers(known, MAKERS[name])
    assert (known.loss, known.gradient_norm) == pytest.approx(made, rel=1e-5), made


@pytest.mark.parametrize("family", ["llama", "moe", "gpt2", "bert", "vit"])
def test_our_models_give_the_known_answers(family: str) -> None:
    found = compare_known_answers(family)
    assert found
    for name, (loss, norm, known_loss, known_norm) in found.items():
        assert (loss, norm) == pytest.approx((known_loss, known_norm), rel=1e-5), name


def _bent(name: str, **changes: Any) -> KnownAnswer:
    known = KNOWN_ANSWERS[name]
    return replace(known, shape=replace(known.shape, **changes))


EXPERTS = Experts(count=4, per_token=2, size=24)
FAULTS: dict[str, KnownAnswer] = {
    "another rotary base": _bent("llama, rotary of another base, stretched", rope_theta=400000.0),
    "frequencies not stretched": _bent(
        "llama, rotary of another base, stretched", rope_scaling=None
    ),
    "the window ignored": _bent("llama, a window", sliding_window=None),
    "a window of one token more": _bent("llama, a window", sliding_window=8),
    "the documents' mask not applied": replace(
        KNOWN_ANSWERS["llama, packed documents"], document_length=None
    ),
    "one expert for each token": _bent(
        "moe, as Mixtral",
        experts=replace(EXPERTS, per_token=1),
    ),
    "experts' weights not normalized": _bent(
        "moe, as Mixtral", experts=replace(EXPERTS, normalized=False)
    ),
    "another epsilon": _bent("gpt2", norm_epsilon=1e-3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_our_models_is_far_beyond_the_tolerance(fault: str) -> None:
    bent = FAULTS[fault]
    loss, norm = answer_of(bent)
    off = max(abs(loss / bent.loss - 1), abs(norm / bent.gradient_norm - 1))
    assert off > 5 * KNOWN_TOLERANCE, off
