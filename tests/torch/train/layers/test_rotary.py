"""Turning heads: lengths stay, angles add, and the gradient turns back."""

import torch

from tests.pure.train.orders import LLAMA
from trnbench.train.layers.rotary import rotary_tables, rotate

HEADS = torch.randn(2, 3, 7, LLAMA.head_dim, generator=torch.Generator().manual_seed(1)).double()


def tables(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    cosines, sines = rotary_tables(LLAMA, positions)
    return cosines.double(), sines.double()


def test_the_first_position_is_not_turned_and_no_length_changes() -> None:
    turned = rotate(HEADS, *tables(torch.arange(7)))
    torch.testing.assert_close(turned[:, :, 0], HEADS[:, :, 0])
    torch.testing.assert_close(turned.norm(dim=-1), HEADS.norm(dim=-1), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(turned[:, :, 1], HEADS[:, :, 1])


def test_a_score_depends_on_how_far_apart_two_tokens_are_and_not_on_where() -> None:
    q, k = HEADS[..., :1, :], HEADS[..., 1:2, :]

    def score(at_q: int, at_k: int) -> torch.Tensor:
        a = rotate(q, *tables(torch.tensor([at_q])))
        b = rotate(k, *tables(torch.tensor([at_k])))
        return (a * b).sum(-1)

    torch.testing.assert_close(score(5, 2), score(25, 22), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(score(5, 2), score(5, 3), rtol=1e-3)


def test_the_gradient_is_the_derivative() -> None:
    heads = HEADS.clone().requires_grad_()
    angles = tables(torch.arange(7))
    assert torch.autograd.gradcheck(lambda x: rotate(x, *angles), (heads,))
