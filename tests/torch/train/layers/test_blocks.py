"""What is made again in the backward pass: same numbers, and the operations that are told."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.pure.train.orders import BERT, GPT2, LLAMA, MOE, VIT, order_of
from tests.torch.train.models.test_counts import (
    SEQUENCES,
    adapt_on_meta,
    build_on_meta,
    countable,
    pass_of,
    tokens_of,
)
from trnbench.model.flops import FULL_CONVENTION, flops_per_token, recomputed_flops_per_token
from trnbench.protocol.model import Experts, ModelShape
from trnbench.protocol.orders import Lora, Recompute, StepSettings
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.layers.moe import ExpertsMlp
from trnbench.train.loop import prepare_tokens

SHAPES = [LLAMA, GPT2, MOE, BERT, VIT]
MADE_AGAIN: list[Recompute] = ["selective", "full"]


def gradients(shape: ModelShape, precision: Any, recompute: Recompute) -> dict[str, torch.Tensor]:
    order = order_of(shape, precision=precision, step=StepSettings(recompute=recompute))
    backend = CpuBackend(Claim(precision=precision))
    objective = build_objective(order, backend)
    (tokens,) = prepare_tokens(make_stream(order), order, 0, 1, backend)
    objective(*tokens.passes[0]).total.backward()
    return {name: p.grad for name, p in objective.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recompute", MADE_AGAIN)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.family)
def test_what_is_made_again_comes_out_the_same(
    shape: ModelShape, recompute: Recompute, precision: str
) -> None:
    kept, again = (gradients(shape, precision, how) for how in ("none", recompute))
    assert kept.keys() == again.keys()
    for name, gradient in kept.items():
        assert torch.equal(gradient, again[name]), name


def count(
    shape: ModelShape, recompute: Recompute, capacity: float = 1.0, lora: Lora | None = None
) -> int:
    model = build_on_meta(shape, tokens_of(shape))
    if lora is not None:
        adapt_on_meta(model, lora)
    model.blocks.recompute = recompute
    for module in model.modules():
        if isinstance(module, ExpertsMlp):
            module.capacity = capacity
    with FlopCounterMode(display=False) as counter:
        pass_of(shape)(model).backward()
    return counter.get_total_flops()


def told(
    shape: ModelShape, recompute: Recompute, capacity: float = 1.0, lora: Lora | None = None
) -> float:
    """Return what a step is told to make again, attention over all keys, as torch counts it."""
    tokens = tokens_of(shape)
    step = StepSettings(recompute=recompute, expert_capacity=capacity, lora=lora)
    extra = recomputed_flops_per_token(shape, tokens, step)
    core = flops_per_token(shape, tokens, FULL_CONVENTION) - flops_per_token(shape, tokens)
    # The masked half of a forward pass is a third of that of all three.
    return SEQUENCES * tokens * (extra + (core / 3 if recompute == "full" else 0.0))


@pytest.mark.parametrize("recompute", MADE_AGAIN)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.family)
def test_the_operations_made_again_are_those_that_torch_counts(
    shape: ModelShape, recompute: Recompute
) -> None:
    deep = countable(replace(shape, layers=3))
    assert count(deep, recompute) - count(deep, "none") == pytest.approx(
        told(deep, recompute), rel=1e-12, abs=1e-6
    )


def test_blocks_of_both_kinds_are_counted() -> None:
    assert MOE.experts is not None
    mixed = replace(MOE, layers=3, experts=replace(MOE.experts, dense_layers=1))
    assert count(mixed, "full") - count(mixed, "none") == pytest.approx(told(mixed, "full"))


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize("capacity", [1.0, 1.5, 2.0, 4.0, 100.0])
def test_empty_places_of_experts_are_operations_too_up_to_all_tokens_for_each_expert(
    capacity: float, recompute: Recompute
) -> None:
    tokens = tokens_of(MOE)
    needed = flops_per_token(MOE, tokens, FULL_CONVENTION)
    counted = count(MOE, recompute, capacity)
    assert counted == pytest.approx(SEQUENCES * tokens * needed + told(MOE, recompute, capacity))


def test_an_expert_has_no_more_places_than_there_are_tokens() -> None:
    """Four experts of which a token takes two: each token in each of them is twice the work."""
    shape = replace(MOE, layers=1, hidden_size=64, experts=Experts(count=4, per_token=2, size=128))
    for capacity in (2.0, 4.0, 100.0):
        step = StepSettings(expert_capacity=capacity)
        assert recomputed_flops_per_token(shape, 32, step) == 6 * 2 * 3 * 64 * 128


@pytest.mark.parametrize(("recompute", "passes"), [("none", 4), ("full", 6)])
def test_frozen_experts_have_no_gradient_of_their_empty_places(
    recompute: Recompute, passes: int
) -> None:
    lora = Lora(rank=4, alpha=8.0, targets="attention")

    def extra(capacity: float) -> float:
        step = StepSettings(recompute=recompute, lora=lora, expert_capacity=capacity)
        return recomputed_flops_per_token(MOE, 32, step)

    experts = MOE.experts
    assert experts is not None
    row = 3 * MOE.hidden_size * experts.size * MOE.layers
    assert extra(1.5) - extra(1.0) == pytest.approx(passes * 0.5 * experts.per_token * row)
    counted = [count(MOE, recompute, capacity, lora) for capacity in (1.0, 1.5)]
    tokens = SEQUENCES * tokens_of(MOE)
    assert counted[1] - counted[0] == pytest.approx(tokens * (extra(1.5) - extra(1.0)))


ADAPTED = [(LLAMA, "all"), (GPT2, "all"), (MOE, "attention"), (LLAMA, "attention")]


@pytest.mark.parametrize(("shape", "targets"), ADAPTED)
def test_what_adapters_make_again_is_what_torch_counts(
    shape: ModelShape, targets: Literal["attention", "all"]
) -> None:
    lora = Lora(rank=4, alpha=8.0, targets=targets)
    again = count(shape, "full", 1.0, lora) - count(shape, "none", 1.0, lora)
    assert again == pytest.approx(told(shape, "full", 1.0, lora), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.family)
def test_the_less_is_kept_the_less_memory_is_held(shape: ModelShape) -> None:
    held = []
    for recompute in ("none", *MADE_AGAIN):
        model = build_on_meta(shape, tokens_of(shape))
        model.blocks.recompute = recompute
        for module in model.modules():
            if isinstance(module, ExpertsMlp):
                module.capacity = 1.0
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            pass_of(shape)(model)
        held.append(sum(sizes))
    assert held[0] > held[2]
