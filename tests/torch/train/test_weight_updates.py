"""What is told of the weights' movement: which did not move, and how far the others went."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.pure.train.orders import make_order
from trnbench.protocol.orders import Precision
from trnbench.train.parity import KEPT_ELEMENTS, WeightSample


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.full((4, 2), 2.0))
        self.scale = nn.Parameter(torch.ones(3))
        self.bias = nn.Parameter(torch.zeros(3))


def moved_by(**changes: float) -> dict[str, object]:
    model = Model()
    sample = WeightSample(model)
    with torch.no_grad():
        for name, change in changes.items():
            getattr(model, name).add_(change)
    return sample.moved(3)


def test_the_least_and_the_most_are_told_by_name_relative_to_the_weight() -> None:
    told = moved_by(table=0.5, scale=0.1, bias=1e-3)
    assert told["still"] == []
    assert (told["steps"], told["tensors"]) == (3, 3)
    assert (told["least_tensor"], told["least"]) == ("scale", pytest.approx(0.1, rel=1e-6))
    assert (told["most_tensor"], told["most"]) == ("table", pytest.approx(0.25, rel=1e-6))


def test_what_did_not_move_is_named_zeros_too() -> None:
    assert moved_by(table=0.5)["still"] == ["scale", "bias"]


def test_what_is_no_number_went_the_farthest() -> None:
    told = moved_by(table=0.5, scale=float("nan"), bias=1.0)
    assert (told["most_tensor"], told["most"]) == ("scale", None)


def test_a_copy_is_kept_and_of_large_weights_the_first_rows() -> None:
    model = nn.Linear(1024, 1024, bias=False)
    sample = WeightSample(model)
    with torch.no_grad():
        model.weight[KEPT_ELEMENTS // 1024 :] += 1.0
    assert sample.moved(1)["still"] == ["weight"], "only rows that nobody looks at have moved"
    with torch.no_grad():
        model.weight[0] += 1.0
    assert sample.moved(1)["still"] == []


@pytest.mark.parametrize(
    ("value", "rate", "precision", "dtype", "steps", "is_rounded"),
    [
        (1.0, 3e-4, "pure_bf16", torch.bfloat16, 1, True),
        (1.0, 3e-4, "pure_bf16", torch.bfloat16, 9, True),  # each step is rounded
        (1.0, 3e-4, "bf16_master", torch.bfloat16, 1, True),
        (1.0, 3e-4, "bf16_master", torch.bfloat16, 9, False),  # masters add up
        (1.0, 3e-3, "pure_bf16", torch.bfloat16, 1, False),
        (0.02, 3e-4, "pure_bf16", torch.bfloat16, 1, False),
        (1.0, 3e-4, "fp32", torch.float32, 1, False),
        (0.0, 3e-4, "pure_bf16", torch.bfloat16, 1, False),
    ],
)
def test_what_its_format_rounds_away_is_no_weight_that_stands_still(
    value: float,
    rate: float,
    precision: Precision,
    dtype: torch.dtype,
    steps: int,
    is_rounded: bool,
) -> None:
    model = nn.ParameterDict({"scale": nn.Parameter(torch.full((3,), value, dtype=dtype))})
    sample = WeightSample(model)
    order = make_order(precision=precision)
    optimizer = replace(order.optimizer, learning_rate=rate, lr_warmup_steps=0)
    told = sample.moved(steps, replace(order, optimizer=optimizer))
    assert (told["rounded"], told["still"]) == ((["scale"], []) if is_rounded else ([], ["scale"]))


def test_in_warm_up_the_rate_is_that_of_the_step() -> None:
    model = nn.ParameterDict({"scale": nn.Parameter(torch.ones(3, dtype=torch.bfloat16))})
    order = make_order(precision="pure_bf16")
    optimizer = replace(order.optimizer, learning_rate=3e-3, lr_warmup_steps=10)
    sample = WeightSample(model)
    assert sample.moved(1, replace(order, optimizer=optimizer))["rounded"] == ["scale"]
