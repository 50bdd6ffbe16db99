"""How a processor makes products: each way makes the same numbers, in the step and beside it."""

import pytest
import torch

from trnbench.train.layers import processor
from trnbench.train.layers.attend import Mask, attend
from trnbench.train.layers.explicit import attend_explicitly
from trnbench.train.layers.processor import TORCH, fastest_way, products_by, ways_of
from trnbench.train.layers.products import PLAIN, fused

DTYPES = (torch.float32, torch.bfloat16)
WAYS = [(dtype, way) for dtype in DTYPES for way in ways_of(dtype)]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 8e-3}
"""bf16 has eight bits: a rounding that falls to the other side moves a number by 1 / 256."""


def assert_exact_but_for_rounding(made: torch.Tensor, exact: torch.Tensor) -> None:
    tolerance = TOLERANCE[made.dtype]
    torch.testing.assert_close(made.double(), exact, rtol=tolerance, atol=0)


def values(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    # Of one sign: a sum in which all cancels tells of the order of its terms alone.
    generator = torch.Generator().manual_seed(len(shape) + shape[0])
    return torch.rand(shape, generator=generator).add(0.5).to(dtype)


@pytest.mark.parametrize(("dtype", "way"), WAYS)
def test_every_way_makes_the_products_of_a_layer(dtype: torch.dtype, way: str) -> None:
    x, weight = values(33, 20, dtype=dtype), values(9, 20, dtype=dtype)
    products = products_by(way, dtype)
    x.requires_grad_()
    weight.requires_grad_()
    made = products.linear(x, weight, None)
    exact = x.double() @ weight.double().T
    assert_exact_but_for_rounding(made, exact)
    gradient = values(33, 9, dtype=dtype)
    of_x, of_weight = torch.autograd.grad(made, (x, weight), gradient)
    assert made.dtype == of_x.dtype == of_weight.dtype == dtype
    wide = gradient.double()
    assert_exact_but_for_rounding(of_x, wide @ weight.double())
    assert_exact_but_for_rounding(of_weight, wide.T @ x.double())
    assert_exact_but_for_rounding(products.multiply(x, weight.T), exact)


@pytest.mark.parametrize("way", ways_of(torch.bfloat16))
def test_weights_of_fp32_are_rounded_to_bf16_and_their_gradient_is_not_kept_so(way: str) -> None:
    x, weight, bias = (
        values(33, 20, dtype=torch.bfloat16),
        *(values(*shape, dtype=torch.float32).requires_grad_() for shape in ((9, 20), (9,))),
    )
    products = products_by(way, torch.bfloat16)
    made = products.linear(x, weight, bias)
    rounded = weight.detach().to(torch.bfloat16)
    expected = products.linear(x, rounded, bias.detach().to(torch.bfloat16))
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made, expected, rtol=0, atol=0)
    of_weight, of_bias = torch.autograd.grad(made.sum(), (weight, bias))
    assert of_weight.dtype == of_bias.dtype == torch.float32
    exact = x.double().sum(0).expand_as(of_weight)
    torch.testing.assert_close(of_weight.double(), exact, rtol=8e-3, atol=0)


@pytest.mark.parametrize("rows", [5, processor.ADDED_ROWS, processor.ADDED_ROWS + 3])
@pytest.mark.parametrize(("dtype", "way"), WAYS)
def test_a_product_is_added_part_by_part(dtype: torch.dtype, way: str, rows: int) -> None:
    left, right = values(rows, 6, dtype=dtype), values(6, 4, dtype=dtype)
    total = torch.ones(rows, 4)
    products_by(way, dtype).add_product(total, left, right)
    exact = 1 + left.double() @ right.double()
    torch.testing.assert_close(total.double(), exact, rtol=TOLERANCE[dtype], atol=0)


@pytest.mark.parametrize("way", ways_of(torch.bfloat16))
@pytest.mark.parametrize("mask", [Mask(), Mask(window=3), Mask(is_causal=False)], ids=repr)
def test_attention_in_bf16_is_that_of_fp32_but_for_its_rounding(way: str, mask: Mask) -> None:
    heads = [values(2, n, 12, 8, dtype=torch.bfloat16).requires_grad_() for n in (4, 2, 2)]
    core = products_by(way, torch.bfloat16).attention
    made = attend(heads[0], heads[1], heads[2], mask, core=core)
    wide = [x.detach().float().requires_grad_() for x in heads]
    expected = attend(wide[0], wide[1], wide[2], mask)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), expected, rtol=2e-2, atol=0)
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((made.float() * weights).sum(), heads)
    theirs = torch.autograd.grad((expected * weights).sum(), wide)
    for a, b in zip(ours, theirs, strict=True):
        # torch's own bf16 attention comes to 0.061 here: the attended values are kept rounded.
        assert (a.float() - b).norm() < 0.07 * b.norm()


@pytest.mark.parametrize("way", ways_of(torch.bfloat16))
def test_experts_in_bf16_are_those_of_fp32_but_for_their_rounding(way: str) -> None:
    rows, weights = values(7, 16, dtype=torch.bfloat16), values(3, 16, 8, dtype=torch.bfloat16)
    ends = torch.tensor([3, 3, 7], dtype=torch.int32)
    made = products_by(way, torch.bfloat16).multiply_runs(rows, weights, ends)
    assert made.dtype == torch.bfloat16
    exact = torch.cat(
        (rows[:3].float() @ weights[0].float(), rows[3:].float() @ weights[2].float())
    )
    torch.testing.assert_close(made.float(), exact, rtol=8e-3, atol=0)


def test_torch_s_own_way_is_torch_s_own_functions() -> None:
    in_fp32, in_bf16 = (products_by(TORCH, dtype) for dtype in DTYPES)
    assert in_fp32.linear is in_bf16.linear is PLAIN.linear
    assert in_fp32.multiply is in_bf16.multiply is torch.mm
    assert (in_fp32.attention, in_bf16.attention) == (fused, attend_explicitly)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_winner_is_one_of_the_ways(dtype: torch.dtype) -> None:
    assert fastest_way(dtype) in ways_of(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_way_runs_all_three_products_of_a_layer(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last(ways: dict[str, object]) -> str:
        for way in ways.values():
            assert callable(way)
            shapes = [tuple(made.shape) for made in way()]
            assert shapes == [
                (processor.ROWS, processor.OUTPUTS),
                (processor.ROWS, processor.INPUTS),
                (processor.OUTPUTS, processor.INPUTS),
            ]
        return list(ways)[-1]

    monkeypatch.setattr(processor, "fastest", last)
    assert fastest_way(dtype) == list(ways_of(dtype))[-1]
