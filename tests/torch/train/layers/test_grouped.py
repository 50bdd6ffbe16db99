"""Grouped matmuls: each run of rows by its own matrix, with gradients, also for the compiler."""

import pytest
import torch

from trnbench.train.layers.moe import grouped_matmul

ENDS = {
    "even": (3, 6, 9, 12),
    "an expert without rows": (5, 5, 11, 12),
    "all rows at one": (0, 12, 12, 12),
    "rows of no run": (2, 4, 6, 8),
}
ROWS, INPUTS, OUTPUTS = 12, 16, 24


def operands(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(ROWS, INPUTS, generator=generator).to(dtype).requires_grad_()
    weights = torch.randn(4, INPUTS, OUTPUTS, generator=generator).to(dtype).requires_grad_()
    return rows, weights


def one_by_one(
    rows: torch.Tensor, weights: torch.Tensor, ends: tuple[int, ...]
) -> list[torch.Tensor]:
    starts = (0, *ends[:-1])
    return [rows[a:b] @ weights[e] for e, (a, b) in enumerate(zip(starts, ends, strict=True))]


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_each_run_meets_its_matrix_and_so_do_the_gradients(ends: tuple[int, ...]) -> None:
    rows, weights = operands()
    made = grouped_matmul(rows, weights, torch.tensor(ends, dtype=torch.int32))[: ends[-1]]
    by_hand = torch.cat(one_by_one(rows, weights, ends))
    torch.testing.assert_close(made, by_hand)
    ours = torch.autograd.grad(made.sin().sum(), (rows, weights))
    theirs = torch.autograd.grad(by_hand.sin().sum(), (rows, weights))
    torch.testing.assert_close(ours[0][: ends[-1]], theirs[0][: ends[-1]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
# torch's own tracing of autograd functions warns of itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torch_s_compiler_takes_it_whole(dtype: torch.dtype) -> None:
    rows, weights = operands(dtype)
    ends = torch.tensor(ENDS["even"], dtype=torch.int32)
    compiled = torch.compile(grouped_matmul, backend="aot_eager", fullgraph=True, dynamic=False)
    found, expected = (made(rows, weights, ends) for made in (compiled, grouped_matmul))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad((m**2).sum(), (rows, weights)) for m in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert all(g.dtype == dtype for g in gradients[0])
