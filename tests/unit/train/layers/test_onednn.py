"""fp32 products by oneDNN: fp32's own digits, and the gradients of torch's."""

import pytest
import torch

from trnbench.train.layers import onednn

pytestmark = pytest.mark.skipif(not onednn.has_onednn(), reason="this torch has no oneDNN")


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
def test_a_product_has_the_digits_of_fp32_however_its_operands_lie(
    transposed: tuple[bool, bool],
) -> None:
    left = torch.randn(33, 70).T.contiguous().T if transposed[0] else torch.randn(33, 70)
    right = torch.randn(70, 21).T.contiguous().T if transposed[1] else torch.randn(70, 21)
    exact = left.double() @ right.double()
    error = (onednn.multiply(left, right).double() - exact).abs().max()
    assert error < 3 * (left @ right - exact).abs().max() + 1e-5, "nothing was rounded to less"


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("batch", [(), (3,), (2, 5)])
def test_a_layer_has_the_value_and_the_gradients_of_torch_s(
    batch: tuple[int, ...], has_bias: bool
) -> None:
    x = torch.randn(*batch, 4, 12, requires_grad=True)
    weight = torch.randn(7, 12, requires_grad=True)
    bias = torch.randn(7, requires_grad=True) if has_bias else None
    asked = [part for part in (x, weight, bias) if part is not None]
    ours = onednn.linear(x, weight, bias)
    theirs = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours.sin().sum(), asked),
        torch.autograd.grad(theirs.sin().sum(), asked),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_other_types_go_torch_s_way() -> None:
    x, weight = torch.randn(4, 8).bfloat16(), torch.randn(3, 8).bfloat16()
    assert torch.equal(onednn.linear(x, weight, None), torch.nn.functional.linear(x, weight))


# torch's own tracing of autograd functions warns of itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torch_s_compiler_takes_it_as_it_is() -> None:
    weight = torch.randn(7, 12, requires_grad=True)
    x = torch.randn(5, 12)
    compiled = torch.compile(onednn.linear, backend="aot_eager", fullgraph=True)
    made = compiled(x, weight, None)
    torch.testing.assert_close(made, x @ weight.T)
    made.sum().backward()
    assert weight.grad is not None
