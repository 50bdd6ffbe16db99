"""Where weights come from and where they stay: seeds, initial values, tied heads."""

import math
from dataclasses import replace

import pytest
import torch

from tests.pure.train.orders import BERT, GPT2, LLAMA, MOE, VIT
from trnbench.model.families import FAMILIES
from trnbench.protocol.model import ModelShape
from trnbench.train import models
from trnbench.train.models import build_model

SMALL = {shape.family: shape for shape in (LLAMA, GPT2, MOE, BERT, VIT)}
EVERY = list(SMALL.values())
TIED = [name for name in SMALL if name != "vit"]
"""Families whose head can be the embedding; pictures have no embedding."""
SHAPES = [LLAMA, replace(LLAMA, tied_embeddings=True), GPT2, replace(GPT2, tied_embeddings=False)]
NAMES = ["llama", "llama-tied", "gpt2-tied", "gpt2"]


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_every_family_that_is_built_is_counted_and_the_other_way_round() -> None:
    assert set(models.NAMES) == set(FAMILIES) == set(SMALL)


@pytest.mark.parametrize("shape", EVERY, ids=lambda shape: shape.family)
def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before(shape: ModelShape) -> None:
    one = build_model(shape, 16, seed=5)
    torch.rand(100)
    other = build_model(shape, 16, seed=5)
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("shape", EVERY, ids=lambda shape: shape.family)
def test_another_seed_gives_other_matrices(shape: ModelShape) -> None:
    one, other = build_model(shape, 16, seed=5), build_model(shape, 16, seed=6)
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b) == (a.ndim < 2), name


def test_the_sequence_length_does_not_change_the_weights() -> None:
    one, other = build_model(LLAMA, 16, seed=5), build_model(LLAMA, 32, seed=5)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("shape", EVERY, ids=lambda shape: shape.family)
def test_norms_begin_at_one_biases_at_zero_and_matrices_at_the_given_spread(
    shape: ModelShape,
) -> None:
    for name, parameter in build_model(replace(shape, init_std=0.05), 16, 1).named_parameters():
        if parameter.ndim < 2:
            assert set(parameter.tolist()) == {0.0 if name.endswith("bias") else 1.0}, name
        else:
            narrowed = shape.family == "gpt2" and name.endswith("output.weight")
            expected = 0.05 / math.sqrt(2 * shape.layers) if narrowed else 0.05
            within = 0.1 if parameter.numel() > 1000 else 0.6
            assert parameter.std().item() == pytest.approx(expected, rel=within), name


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_a_tied_head_is_the_embedding_and_counted_once(shape: ModelShape) -> None:
    tied, apart = replace(shape, tied_embeddings=True), replace(shape, tied_embeddings=False)
    embedding = shape.vocabulary_size * shape.hidden_size
    assert count(build_model(apart, 16, 1)) - count(build_model(tied, 16, 1)) == embedding


@pytest.mark.parametrize("family", TIED)
@pytest.mark.parametrize("replaces_parameters", [False, True])
def test_a_tied_head_cannot_come_untied_when_moved_or_cast(
    family: str, replaces_parameters: bool
) -> None:
    shape = replace(SMALL[family], tied_embeddings=True)
    model = build_model(shape, 16, seed=1)
    weights = count(model)
    # Some devices' `.to` makes new Parameter objects, which parts weights that are shared by name.
    torch.__future__.set_overwrite_module_params_on_conversion(replaces_parameters)
    try:
        moved = model.to(dtype=torch.bfloat16)
        assert count(moved) == weights
        assert count(moved.to_empty(device="meta")) == weights
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


@pytest.mark.parametrize("family", TIED)
def test_a_tied_head_learns_with_the_embedding(family: str) -> None:
    shape = replace(SMALL[family], tied_embeddings=True)
    model = build_model(shape, 16, seed=1)
    tokens = torch.zeros(1, 16, dtype=torch.int64)
    before = model(tokens)
    with torch.no_grad():
        # Only token 0 goes in: row 5 of the embedding can reach the logits through the head alone.
        model.get_parameter("embedding.weight")[5] += 1.0
    changed = (model(tokens) != before).any(dim=1).flatten().nonzero().flatten().tolist()
    assert changed == [5]


@pytest.mark.parametrize("shape", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_no_logit_depends_on_a_later_token(shape: ModelShape) -> None:
    model = build_model(replace(shape, init_std=0.3), 16, seed=1)
    tokens = torch.arange(16)[None, :]
    changed = tokens.clone()
    changed[0, 9] = 100
    same = (model(tokens) == model(changed)).all(dim=2).flatten().tolist()
    assert same == [True] * 9 + [False] * 7
