"""The products of a step: their operations are those that the model's FLOPs count."""

import pytest

from tests.each import check_each
from trnbench.catalog.models import models
from trnbench.model.families import family_of
from trnbench.model.flops import FULL_CONVENTION, flops_per_token
from trnbench.model.matmuls import training_matmuls

BATCH, TOKENS = 3, 128


def test_the_products_add_up_to_the_model_s_flops_less_its_attention_core() -> None:
    def check(name: str) -> None:
        shape = models()[name].shape
        tokens = shape.max_positions if shape.image is not None else TOKENS
        counted = flops_per_token(shape, tokens, FULL_CONVENTION) * BATCH * tokens
        core = 12 * shape.layers * shape.heads * shape.head_dim * tokens * BATCH * tokens
        made = sum(product.flops for product in training_matmuls(shape, BATCH, tokens))
        assert made == pytest.approx(counted - core, rel=1e-6 if shape.experts is None else 0.02)

    check_each(models(), check)


def test_queries_keys_and_values_are_one_product_where_the_family_joins_them() -> None:
    joined = training_matmuls(models()["gpt2-124m"].shape, 1, 64)[0]
    assert family_of(models()["gpt2-124m"].shape).joins_attention
    assert (joined.inputs, joined.outputs, joined.count) == (768, 3 * 768, 12)
    apart = {p.name: p for p in training_matmuls(models()["llama3-8b"].shape, 1, 64)}
    assert apart["queries"].outputs == 4096
    assert (apart["keys, values"].outputs, apart["keys, values"].count) == (1024, 64)


def test_each_expert_is_given_its_even_share_of_the_rows() -> None:
    shape = models()["mixtral-8x7b"].shape
    rows = {p.name: p.rows for p in training_matmuls(shape, 2, 1024)}
    assert rows["experts' MLP's gate, up"] == 2048 * 2 // 8
    assert rows["router"] == 2048
