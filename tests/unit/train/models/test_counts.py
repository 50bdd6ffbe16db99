"""Weights and operations of each catalog model, counted by torch on its meta device."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.train.orders import GPT2, LLAMA
from trnbench.analysis.flops import flops_per_token
from trnbench.catalog.models import models
from trnbench.train.models import FAMILIES
from trnbench.wire import ModelShape

SEQUENCES, TOKENS = 2, 64


def build_on_meta(shape: ModelShape, tokens: int = TOKENS) -> torch.nn.Module:
    with torch.device("meta"):
        return FAMILIES[shape.family](shape, tokens)


def count_step_flops(shape: ModelShape) -> int:
    model = build_on_meta(shape)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(SEQUENCES, TOKENS, dtype=torch.int64, device="meta")).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", sorted(models()))
def test_a_built_model_has_the_published_number_of_weights(name: str) -> None:
    known = models()[name]
    parameters = list(build_on_meta(known.shape).parameters())
    assert sum(parameter.numel() for parameter in parameters) == known.parameter_count
    assert all(parameter.is_meta for parameter in parameters)


def test_the_largest_model_is_counted_at_its_published_size() -> None:
    # Spelled here too, so that the catalog and the code cannot be wrong together.
    parameters = build_on_meta(models()["llama3.1-405b"].shape).parameters()
    assert sum(parameter.numel() for parameter in parameters) == 405_853_388_800


@pytest.mark.parametrize("name", sorted(models()))
def test_the_full_convention_is_what_torch_counts(name: str) -> None:
    # The CPU's attention kernel has no formula in torch's counter; on the meta device attention
    # is two batched products, and those are counted. Blocks are alike, so a few are enough.
    shape = replace(models()[name].shape, layers=3)
    expected = SEQUENCES * TOKENS * flops_per_token(shape, TOKENS, "matmul-full-v1")
    assert count_step_flops(shape) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_the_count_follows_the_width_of_heads_that_do_not_fill_the_model(
    shape: ModelShape,
) -> None:
    wide = replace(shape, head_dim=24)
    expected = SEQUENCES * TOKENS * flops_per_token(wide, TOKENS, "matmul-full-v1")
    assert count_step_flops(wide) == pytest.approx(expected, rel=1e-12)
    assert count_step_flops(wide) > count_step_flops(shape)
