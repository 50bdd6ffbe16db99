"""bf16 products in fp32: made in parts, and told to torch's compiler as they are."""

from typing import Any

import pytest
import torch

from trnbench.train.layers import onednn, upcast

BF16 = torch.bfloat16
CHECKED = ("test_schema", "test_faketensor", "test_aot_dispatch_static")


def values(*shape: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(shape, generator=generator).add(0.5).to(dtype)


@pytest.mark.parametrize("by_onednn", [False, True])
@pytest.mark.parametrize("sides", [(90, 7, 5), (5, 90, 7), (7, 5, 90), (8, 8, 8), (0, 4, 3)])
@pytest.mark.parametrize("part", [1, 64, 10_000])
def test_a_product_of_parts_is_rounded_once(
    part: int, sides: tuple[int, int, int], by_onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_onednn and not onednn.has_onednn():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(upcast, "PART", part)
    monkeypatch.setattr(upcast, "LEAST_SIDE", 1)
    rows, inner, columns = sides
    left, right = values(rows, inner), values(columns, inner).t()
    made = (upcast.multiply_by_onednn if by_onednn else upcast.multiply)(left, right)
    exact = left.double() @ right.double()
    # Half a step of bf16, and what fp32 rounds before.
    torch.testing.assert_close(made.double(), exact, rtol=2**-8 + 1e-6, atol=0)
    assert made.is_contiguous()


@pytest.mark.parametrize("sides", [(90, 7, 5), (5, 90, 7), (7, 5, 90)])
def test_a_right_factor_of_fp32_is_rounded_first(
    sides: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upcast, "PART", 64)
    monkeypatch.setattr(upcast, "LEAST_SIDE", 1)
    rows, inner, columns = sides
    left, wide = values(rows, inner), values(inner, columns, dtype=torch.float32)
    assert not torch.equal(wide, wide.to(BF16).float())
    assert torch.equal(upcast.multiply(left, wide), upcast.multiply(left, wide.to(BF16)))


HEADS = {"q": values(2, 4, 6, 8), "k": values(2, 2, 6, 8), "v": values(2, 2, 6, 8)}
SUMS = values(2, 4, 6, dtype=torch.float32)
ALLOWED = torch.ones(2, 1, 6, 6, dtype=torch.bool).tril()
OPERATORS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "product": (torch.ops.trnbench.product_in_fp32, (values(5, 3), values(4, 3).t(), False)),
    "causal": (torch.ops.trnbench.attention_in_fp32, (*HEADS.values(), None, 0.3, True)),
    "masked": (torch.ops.trnbench.attention_in_fp32, (*HEADS.values(), ALLOWED, 0.3, False)),
    "backward": (
        torch.ops.trnbench.attention_in_fp32_backward,
        (HEADS["q"], HEADS["q"], SUMS, *HEADS.values(), None, 0.3, True),
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_what_its_compiler_is_told(name: str) -> None:
    operator, arguments = OPERATORS[name]
    told = torch.library.opcheck(operator, arguments, test_utils=CHECKED)
    assert told == dict.fromkeys(CHECKED, "SUCCESS")


def test_attention_keeps_no_fp32_copy_of_what_it_was_given() -> None:
    q, k, v = (x.clone().requires_grad_() for x in HEADS.values())
    kept: list[torch.Tensor] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        upcast.attend(q, k, v, 0.3, is_causal=True)
    wide = [tuple(x.shape) for x in kept if x.dtype != BF16]
    assert wide == [(2, 4, 6)]  # the sums of each query
