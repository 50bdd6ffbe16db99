"""The loss by chunks: the plain one's value and gradients, and never all logits at once."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from trnbench.train.objective import ADDED_ROWS, _add_matmul, chunked_loss, plain_loss

WIDTH, VOCABULARY = 6, 11


Made = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]


def made(rows: int, has_bias: bool, dtype: torch.dtype) -> Made:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator).requires_grad_()
    bias = torch.randn(VOCABULARY, generator=generator).requires_grad_() if has_bias else None
    return x, weight, bias, torch.randint(0, VOCABULARY, (rows,), generator=generator)


@settings(deadline=None, max_examples=80)
@given(
    rows=st.integers(1, 20),
    chunk=st.integers(1, 25),
    has_bias=st.booleans(),
    scale=st.sampled_from([1.0, 0.25]),
)
def test_chunks_make_the_value_and_the_gradients_of_the_whole(
    rows: int, chunk: int, has_bias: bool, scale: float
) -> None:
    x, weight, bias, targets = made(rows, has_bias, torch.float32)
    asked = [part for part in (x, weight, bias) if part is not None]
    whole, parts = (
        plain_loss(x, weight, bias, targets),
        chunked_loss(x, weight, bias, targets, chunk),
    )
    torch.testing.assert_close(whole, parts)
    expected = torch.autograd.grad(whole * scale, asked)
    for a, b in zip(torch.autograd.grad(parts * scale, asked), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


# torch's own tracing of autograd functions warns of itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_compiled_it_is_the_same(scale: float) -> None:
    x, weight, bias, targets = made(13, True, torch.float32)
    x = (x.detach() * scale).requires_grad_()  # logits of hundreds: shares of all else are zero
    compiled = torch.compile(chunked_loss, backend="aot_eager", fullgraph=True)
    loss = compiled(x, weight, bias, targets, 5)
    whole = plain_loss(x, weight, bias, targets)
    torch.testing.assert_close(loss, whole)
    assert bias is not None
    ours, theirs = (torch.autograd.grad(each, (x, weight, bias)) for each in (loss, whole))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_in_bf16_gradients_have_their_weights_types_and_the_loss_is_fp32() -> None:
    x, weight, bias, targets = made(16, True, torch.bfloat16)
    loss = chunked_loss(x, weight, bias, targets, 5)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, plain_loss(x, weight, bias, targets), rtol=1e-2, atol=1e-2)
    loss.backward()
    assert bias is not None
    types = [part.grad.dtype for part in (x, weight, bias) if part.grad is not None]
    assert types == [torch.bfloat16, torch.float32, torch.float32]


class Largest(TorchDispatchMode):
    """Notes the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outcome = func(*args, **(kwargs or {}))
        if isinstance(outcome, torch.Tensor):
            self.elements = max(self.elements, outcome.numel())
        return outcome


@pytest.mark.parametrize("chunk", [1, 7, 32])
def test_the_logits_of_a_whole_pass_never_exist(chunk: int) -> None:
    rows, vocabulary = 64, 1000
    x = torch.randn(rows, 4, requires_grad=True)
    weight = torch.randn(vocabulary, 4, requires_grad=True)
    with Largest() as largest:
        chunked_loss(x, weight, None, torch.zeros(rows, dtype=torch.int64), chunk).backward()
    assert largest.elements == max(chunk * vocabulary, vocabulary * 4)


class Matmuls(TorchDispatchMode):
    """Notes the shape of what each matmul makes."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outcome = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.mm.default:
            self.shapes.append(tuple(outcome.shape))
        elif func.namespace == "trnbench":
            self.shapes.append(tuple(args[0].shape))
        return outcome


def test_a_frozen_head_has_no_gradient_made_for_it() -> None:
    x, weight, _, targets = made(12, False, torch.float32)
    frozen = weight.detach()
    with Matmuls() as made_of:
        chunked_loss(x, frozen, None, targets, 4).backward()
    assert (VOCABULARY, WIDTH) not in made_of.shapes
    assert len(made_of.shapes) == 2 * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [5, ADDED_ROWS, ADDED_ROWS + 3])
def test_a_matmul_is_added_to_a_sum_of_fp32_part_by_part(rows: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows)
    left, right = (
        torch.rand(shape, generator=generator).add(0.5).to(dtype) for shape in ((rows, 6), (6, 4))
    )
    total = torch.ones(rows, 4)
    _add_matmul(total, left, right)
    exact = 1 + left.double() @ right.double()
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 8e-3}[dtype]
    torch.testing.assert_close(total.double(), exact, rtol=tolerance, atol=0)
