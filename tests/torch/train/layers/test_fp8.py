"""Products in fp8: what rounding costs them, and that their gradients are those of a product."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from trnbench.train.layers import fp8


def drawn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).bfloat16()


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.detach().float(), expected.detach().float()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("dtype", "step"), [(fp8.VALUES, 2**-4), (fp8.GRADIENTS, 2**-3)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_tensor_comes_back_to_within_half_a_step_of_its_format(
    dtype: torch.dtype, step: float, size: float
) -> None:
    values = drawn(64, 32) * size
    scaled = fp8.to_fp8(values, dtype)
    back = scaled.values.float() * scaled.scale
    large = values.abs() > 0.01 * values.abs().max()
    assert ((back - values).abs() <= step * values.abs().float())[large].all()
    assert scaled.values.float().abs().max() == torch.finfo(dtype).max


def test_zeros_stay_zeros_and_nothing_becomes_no_number() -> None:
    scaled = fp8.to_fp8(torch.zeros(16, 16))
    assert (scaled.values.float() * scaled.scale == 0).all()


@pytest.mark.parametrize("has_bias", [True, False])
def test_a_layer_and_its_gradients_are_those_of_bf16_but_for_rounding(has_bias: bool) -> None:
    x, weight = drawn(2, 16, 32).requires_grad_(), drawn(48, 32).requires_grad_()
    bias = drawn(48).requires_grad_() if has_bias else None
    inputs = [x, weight] if bias is None else [x, weight, bias]
    gradient = drawn(2, 16, 48)
    found, expected = fp8.linear(x, weight, bias), functional.linear(x, weight, bias)
    assert found.shape == expected.shape
    assert found.dtype == torch.bfloat16
    assert 1e-3 < apart(found, expected) < 0.06
    pairs = zip(
        torch.autograd.grad(found, inputs, gradient),
        torch.autograd.grad(expected, inputs, gradient),
        strict=True,
    )
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        assert apart(ours, theirs) < 0.1


def test_a_weight_that_is_frozen_costs_no_product() -> None:
    x, weight = drawn(16, 32).requires_grad_(), drawn(16, 32)
    fp8.linear(x, weight, None).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
    held = nn.Parameter(drawn(16, 32))
    fp8.linear(drawn(16, 32), held, None).sum().backward()
    assert held.grad is not None
