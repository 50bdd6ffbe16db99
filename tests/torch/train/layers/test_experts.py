"""Experts by sorted runs and by fixed places, held against one token at a time."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it

from tests.pure.train.orders import MOE
from trnbench.protocol.model import Experts
from trnbench.train.layers.moe import ExpertsMlp

assert MOE.experts is not None
PLAIN: Experts = MOE.experts
KINDS = {
    "mixtral": PLAIN,
    "not normalised, shared, gated": replace(
        PLAIN, normalized=False, shared_size=40, shared_gate=True
    ),
    "gpt-oss": replace(PLAIN, biases=True, clamped=True),
    "one expert a token": replace(PLAIN, per_token=1),
    "all experts": replace(PLAIN, per_token=8),
}
TOKENS = (2, 24)


def make(experts: Experts, capacity: float | None = None) -> ExpertsMlp:
    mlp = ExpertsMlp(replace(MOE, experts=experts), experts)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.normal_(0.0, 0.4, generator=generator)
    mlp.capacity = capacity
    return mlp


def inputs() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(*TOKENS, MOE.hidden_size, generator=generator)


def gated(gate: torch.Tensor, up: torch.Tensor, experts: Experts) -> torch.Tensor:
    if not experts.clamped:
        return F.silu(gate) * up
    gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
    return gate * torch.sigmoid(1.702 * gate) * (up + 1)


def by_hand(mlp: ExpertsMlp, x: torch.Tensor) -> torch.Tensor:
    """Send each token to its experts by itself."""
    experts, rows = mlp.experts, []
    width, size = MOE.hidden_size, mlp.experts.size

    def bias(which: torch.nn.Parameter | None, expert: int, edge: int) -> torch.Tensor | float:
        return 0.0 if which is None else which.view(-1, edge)[expert]

    for row in x.flatten(0, 1):
        shares = torch.softmax(mlp.router(row), -1)
        weights, chosen = shares.topk(experts.per_token)
        if experts.normalized:
            weights = weights / weights.sum()
        total = torch.zeros(width)
        for weight, expert in zip(weights, chosen.tolist(), strict=True):
            gate = row @ mlp.gate[expert] + bias(mlp.gate_bias, expert, size)
            up = row @ mlp.up[expert] + bias(mlp.up_bias, expert, size)
            down = gated(gate, up, experts) @ mlp.down[expert] + bias(mlp.down_bias, expert, width)
            total = total + weight * down
        if mlp.shared is not None:
            shared = mlp.shared(row)
            if mlp.shared_gate is not None:
                shared = torch.sigmoid(mlp.shared_gate(row)) * shared
            total = total + shared
        rows.append(total)
    return torch.stack(rows).view_as(x)


def gradients(mlp: ExpertsMlp, made: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
    asked = [x, *mlp.parameters()]
    return list(torch.autograd.grad(made.sin().sum(), asked, materialize_grads=True))


@pytest.mark.parametrize("capacity", [None, 8.0], ids=["sorted", "places enough"])
@pytest.mark.parametrize("experts", KINDS.values(), ids=KINDS)
def test_each_token_gets_what_its_experts_make_of_it(
    experts: Experts, capacity: float | None
) -> None:
    mlp, x = make(experts, capacity), inputs().requires_grad_()
    made, _ = mlp(x)
    expected = by_hand(mlp, x)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)
    for a, b in zip(gradients(mlp, made, x), gradients(mlp, expected, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_an_expert_without_a_place_left_gives_a_token_nothing() -> None:
    experts = replace(PLAIN, per_token=1, normalized=False)
    mlp, x = make(experts, capacity=1.0), inputs()
    with torch.no_grad():
        mlp.router.weight.zero_()
        mlp.router.weight[3] = x.flatten(0, 1).sum(0)  # most tokens prefer expert 3
        made, routing = mlp(x)
        everyone, _ = make_like(mlp, None)(x)
    places = x[..., 0].numel() // experts.count
    to_third = torch.softmax(mlp.router(x), -1).argmax(-1).flatten() == 3
    assert int(to_third.sum()) > places
    assert routing.imbalance.item() == pytest.approx(
        int(to_third.sum()) * experts.count / x[..., 0].numel()
    )
    served = (made.flatten(0, 1) == everyone.flatten(0, 1)).all(-1)
    empty = (made.flatten(0, 1) == 0).all(-1)
    numbers = to_third.nonzero().flatten()
    assert served[numbers[:places]].all(), "first come"
    assert empty[numbers[places:]].all(), "first served"


def make_like(mlp: ExpertsMlp, capacity: float | None) -> ExpertsMlp:
    other = make(mlp.experts, capacity)
    other.load_state_dict(mlp.state_dict())
    return other


def test_shapes_do_not_depend_on_the_data_where_places_are_fixed() -> None:
    mlp = make(PLAIN, capacity=2.0)
    compiled = torch.compile(mlp, backend="aot_eager", fullgraph=True, dynamic=False)
    with torch.no_grad(), torch.compiler.set_stance("default"):
        made, _ = compiled(inputs())
        torch.testing.assert_close(made, mlp(inputs())[0])
        torch.compiler.set_stance("fail_on_recompile")
        try:
            compiled(inputs().flip(0) * 3)
        finally:
            torch.compiler.set_stance("default")


@pytest.mark.xdist_group("transformers")
def test_the_balance_loss_is_that_of_transformers_for_one_block() -> None:
    module = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    mlp, x = make(PLAIN), inputs()
    _, routing = mlp(x)
    expected = module.load_balancing_loss_func(
        (mlp.router(x.flatten(0, 1)),), PLAIN.count, PLAIN.per_token
    )
    assert routing.balance.item() == pytest.approx(expected.item(), rel=1e-5)


def test_even_use_of_all_experts_is_told_as_one() -> None:
    mlp = make(replace(PLAIN, per_token=8))
    _, routing = mlp(inputs())
    assert routing.imbalance.item() == 1.0
    assert routing.balance.item() == pytest.approx(8.0, rel=1e-5)
