"""AdamW over fp32 masters: what bf16 would lose is kept."""

from dataclasses import replace

import pytest
import torch

from tests.pure.train.orders import SETTINGS
from trnbench.protocol.orders import AdamW
from trnbench.train.optimizer import MasterAdamW, make_adamw, make_optimizer

KINDS: list[AdamW] = ["fused", "foreach", "for-loop"]


def weights(dtype: torch.dtype) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.nn.Parameter(torch.randn(size, generator=generator).bfloat16().to(dtype))
        for size in ((4, 3), (5,))
    ]


def give_gradients(parameters: list[torch.nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator).bfloat16().to(p.dtype)


@pytest.mark.parametrize("adamw", KINDS)
def test_masters_are_stepped_as_fp32_weights_are_and_the_weights_are_their_rounding(
    adamw: AdamW,
) -> None:
    narrow, whole = weights(torch.bfloat16), weights(torch.float32)
    mastered, plain = MasterAdamW(narrow, SETTINGS, adamw), make_adamw(whole, SETTINGS, adamw)
    for seed in range(3):
        give_gradients(narrow, seed)
        give_gradients(whole, seed)
        mastered.step()
        plain.step()
        mastered.zero_grad()
    for weight, master, expected in zip(narrow, mastered.masters, whole, strict=True):
        torch.testing.assert_close(master, expected)
        assert torch.equal(weight, master.bfloat16())
        assert weight.grad is None
        assert master.grad is None


def test_small_steps_add_up_where_bf16_alone_would_lose_them() -> None:
    slow = replace(SETTINGS, learning_rate=1e-5, weight_decay=0.0)
    narrow, kept = ([torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))] for _ in range(2))
    plain, mastered = make_adamw(narrow, slow, "for-loop"), MasterAdamW(kept, slow, "for-loop")
    for _ in range(300):
        for parameter in (*narrow, *kept):
            parameter.grad = torch.ones(4, dtype=torch.bfloat16)
        plain.step()
        mastered.step()
    assert (narrow[0] == 1).all()
    assert (kept[0] < 1).all()


@pytest.mark.parametrize("adamw", KINDS)
def test_the_implementation_that_is_asked_for_is_taken(adamw: AdamW) -> None:
    made = make_optimizer(weights(torch.float32), SETTINGS, adamw)
    assert isinstance(made, torch.optim.AdamW)
    for group in made.param_groups:
        assert (group["fused"], group["foreach"]) == (adamw == "fused", adamw == "foreach")
    assert isinstance(
        make_optimizer(weights(torch.bfloat16), SETTINGS, adamw, "bf16_master"), MasterAdamW
    )
