"""Weights and operations of each catalog model, counted by torch on its meta device."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.each import check_each
from tests.pure.train.orders import BERT, GPT2, LLAMA, MOE, VIT
from trnbench.catalog.models import models
from trnbench.model.flops import (
    active_parameter_count,
    block_matmul_parameters,
    flops_per_token,
    parameter_count,
)
from trnbench.protocol.model import ModelShape, masked_positions
from trnbench.protocol.orders import Lora
from trnbench.train.layers.linear import Linear
from trnbench.train.layers.lora import ATTENTION, LoraLinear
from trnbench.train.layers.moe import ExpertsMlp
from trnbench.train.models import family_class
from trnbench.train.models.base import Model

SEQUENCES, TOKENS = 2, 64
EVEN = 480
"""Tokens with which the experts of every catalog model get the same number of rows each."""


def build_on_meta(shape: ModelShape, tokens: int = TOKENS) -> Model:
    with torch.device("meta"):
        return family_class(shape.family)(shape, tokens)


def adapt_on_meta(model: Model, lora: Lora) -> None:
    """Put adapters beside frozen weights as `add_adapters` does, without drawing them."""
    model.requires_grad_(False)
    for name, frozen in list(model.named_modules()):
        if (
            isinstance(frozen, Linear)
            and name.startswith("blocks.")
            and (lora.targets == "all" or ATTENTION in name)
        ):
            with torch.device("meta"):
                adapted = LoraLinear(frozen, lora)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, adapted)


def tokens_of(shape: ModelShape) -> int:
    if shape.experts is not None:
        return EVEN
    return TOKENS if shape.image is None else shape.max_positions


def pass_of(shape: ModelShape, device: str = "meta") -> Callable[[Model], torch.Tensor]:
    """Return a forward pass as training makes it: an encoder's head sees masked positions alone."""

    def run(model: Model) -> torch.Tensor:
        if shape.image is not None:
            size = (SEQUENCES, shape.image.channels, shape.image.size, shape.image.size)
            return model(torch.zeros(size, dtype=torch.uint8, device=device)).sum()
        tokens = torch.zeros(SEQUENCES, tokens_of(shape), dtype=torch.int64, device=device)
        positions = None
        if shape.family == "bert":
            count = masked_positions(TOKENS)
            positions = torch.zeros(SEQUENCES, count, dtype=torch.int64, device=device)
        return model(tokens, positions).sum()

    return run


def count_step_flops(shape: ModelShape) -> int:
    model = build_on_meta(shape, tokens_of(shape))
    for module in model.modules():
        if isinstance(module, ExpertsMlp):
            module.capacity = 1.0  # torch's counter has no formula for grouped products
    with FlopCounterMode(display=False) as counter:
        pass_of(shape)(model).backward()
    return counter.get_total_flops()


def countable(shape: ModelShape) -> ModelShape:
    """Take off what is carried out in more products than it needs: bands of a window, sinks."""
    return replace(shape, sliding_window=None, attention_sinks=False)


def test_a_built_model_has_the_published_number_of_weights() -> None:
    def check(name: str) -> None:
        known = models()[name]
        parameters = list(build_on_meta(known.shape).parameters())
        assert sum(parameter.numel() for parameter in parameters) == known.parameter_count
        assert parameter_count(known.shape) == known.parameter_count
        assert all(parameter.is_meta for parameter in parameters)

    check_each(sorted(models()), check)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("llama3.1-405b", 405_853_388_800),
        ("mixtral-8x7b", 46_702_792_704),
        ("gpt-oss-20b", 20_914_757_184),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("bert-large", 335_174_458),
        ("vit-b16", 86_567_656),
    ],
)
def test_models_are_counted_at_their_published_sizes(name: str, weights: int) -> None:
    # Spelled here too, so that the catalog and the code cannot be wrong together.
    parameters = build_on_meta(models()[name].shape).parameters()
    assert sum(parameter.numel() for parameter in parameters) == weights


def test_the_full_convention_is_what_torch_counts() -> None:
    def check(name: str) -> None:
        # The CPU's attention kernel has no formula in torch's counter; on the meta device attention
        # is two batched products, and those are counted. Blocks are alike, so a few are enough.
        shape = countable(replace(models()[name].shape, layers=3))
        tokens = tokens_of(shape)
        expected = SEQUENCES * tokens * flops_per_token(shape, tokens, "matmul-full-v1")
        assert count_step_flops(shape) == pytest.approx(expected, rel=1e-12)

    check_each(sorted(models()), check)


@pytest.mark.parametrize("shape", [LLAMA, GPT2, MOE, BERT], ids=lambda shape: shape.family)
def test_the_count_follows_the_width_of_heads_that_do_not_fill_the_model(
    shape: ModelShape,
) -> None:
    wide = replace(shape, head_dim=24)
    tokens = tokens_of(wide)
    expected = SEQUENCES * tokens * flops_per_token(wide, tokens, "matmul-full-v1")
    assert count_step_flops(wide) == pytest.approx(expected, rel=1e-12)
    assert count_step_flops(wide) > count_step_flops(shape)


def test_a_picture_s_patches_are_counted_whatever_their_size() -> None:
    assert VIT.image is not None
    coarse = replace(VIT, image=replace(VIT.image, patch_size=8), max_positions=5)
    for shape in (VIT, coarse):
        tokens = shape.max_positions
        expected = SEQUENCES * tokens * flops_per_token(shape, tokens, "matmul-full-v1")
        assert count_step_flops(shape) == pytest.approx(expected, rel=1e-12)


def test_experts_that_a_token_does_not_meet_are_weights_and_no_work() -> None:
    assert MOE.experts is not None
    more = replace(MOE, experts=replace(MOE.experts, count=16))
    expert = 3 * MOE.hidden_size * MOE.experts.size
    router = MOE.hidden_size
    assert parameter_count(more) - parameter_count(MOE) == MOE.layers * 8 * (expert + router)
    assert active_parameter_count(more) - active_parameter_count(MOE) == MOE.layers * 8 * router
    extra = flops_per_token(more, TOKENS) - flops_per_token(MOE, TOKENS)
    assert extra == 6 * MOE.layers * 8 * router


def test_the_first_blocks_of_a_mixture_may_keep_their_mlp() -> None:
    assert MOE.experts is not None
    mixed = replace(MOE, experts=replace(MOE.experts, dense_layers=1))
    dense = replace(LLAMA, intermediate_size=MOE.intermediate_size)
    assert block_matmul_parameters(mixed, 0) == block_matmul_parameters(dense, 0)
    assert block_matmul_parameters(mixed, 1) == block_matmul_parameters(MOE, 1)
    expected = SEQUENCES * EVEN * flops_per_token(mixed, EVEN, "matmul-full-v1")
    assert count_step_flops(mixed) == pytest.approx(expected, rel=1e-12)
