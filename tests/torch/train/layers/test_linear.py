"""A layer's matmul: weights of fp32 are rounded where they are read, their gradient is not."""

import torch

from trnbench.train.layers.linear import linear


def values(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    # Of one sign: a sum in which all cancels tells of the order of its terms alone.
    generator = torch.Generator().manual_seed(len(shape) + shape[0])
    return torch.rand(shape, generator=generator).add(0.5).to(dtype)


def test_weights_of_fp32_are_rounded_to_bf16_and_their_gradient_is_not_kept_so() -> None:
    x, weight, bias = (
        values(33, 20, dtype=torch.bfloat16),
        *(values(*shape, dtype=torch.float32).requires_grad_() for shape in ((9, 20), (9,))),
    )
    made = linear(x, weight, bias)
    rounded = weight.detach().to(torch.bfloat16)
    expected = linear(x, rounded, bias.detach().to(torch.bfloat16))
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made, expected, rtol=0, atol=0)
    of_weight, of_bias = torch.autograd.grad(made.sum(), (weight, bias))
    assert of_weight.dtype == of_bias.dtype == torch.float32
    exact = x.double().sum(0).expand_as(of_weight)
    torch.testing.assert_close(of_weight.double(), exact, rtol=8e-3, atol=0)
