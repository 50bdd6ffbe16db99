"""A layer by any product: the value and the gradients of torch's, also through its compiler."""

import pytest
import torch

from trnbench.train.layers.products import add_product, linear_by

Shapes = list[tuple[int, ...]]


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("batch", [(), (3,), (2, 5)])
def test_a_layer_has_the_value_and_the_gradients_of_torch_s(
    batch: tuple[int, ...], has_bias: bool
) -> None:
    x = torch.randn(*batch, 4, 12, requires_grad=True)
    weight = torch.randn(7, 12, requires_grad=True)
    bias = torch.randn(7, requires_grad=True) if has_bias else None
    asked = [part for part in (x, weight, bias) if part is not None]
    ours = linear_by(torch.mm)(x, weight, bias)
    theirs = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours.sin().sum(), asked),
        torch.autograd.grad(theirs.sin().sum(), asked),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", ["nothing", "x", "weight"])
def test_all_products_are_made_by_the_function_and_none_in_vain(frozen: str) -> None:
    made: Shapes = []

    def noted(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        made.append((left.shape[0], right.shape[1]))
        return left @ right

    x = torch.randn(4, 12, requires_grad=frozen != "x")
    weight = torch.randn(7, 12, requires_grad=frozen != "weight")
    linear_by(noted)(x, weight, None).sum().backward()
    of_x, of_weight = (4, 12), (7, 12)
    left_out = {"nothing": [], "x": [of_x], "weight": [of_weight]}[frozen]
    assert made == [(4, 7), *(shape for shape in (of_x, of_weight) if shape not in left_out)]


# torch's own tracing of autograd functions warns of itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torch_s_compiler_takes_a_layer_as_it_is() -> None:
    weight = torch.randn(7, 12, requires_grad=True)
    x = torch.randn(5, 12)
    compiled = torch.compile(linear_by(torch.mm), backend="aot_eager", fullgraph=True)
    made = compiled(x, weight, None)
    torch.testing.assert_close(made, x @ weight.T)
    made.sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(0).expand(7, 12))


def test_a_product_is_added_to_a_sum_of_a_wider_type() -> None:
    total = torch.full((2, 3), 2.0)
    add_product(total, torch.ones(2, 4).bfloat16(), torch.ones(4, 3).bfloat16())
    assert total.dtype == torch.float32
    assert torch.equal(total, torch.full((2, 3), 6.0))
