"""How this processor makes products: which of torch's ways is fastest is found by a race.

torch has two libraries for fp32 and chooses Intel's MKL wherever its wheel carries it. On other
makers' processors that can be slower than oneDNN (AMD's of 2025) or, at gradients of weights, a
third faster (AMD's of 2017), so no table of names would hold. bf16 has instructions of its own on
some processors and is many times slower than fp32 on all others.
"""

from collections.abc import Callable, Mapping

import torch

from trnbench.train.layers import onednn, upcast
from trnbench.train.layers.explicit import attend_explicitly
from trnbench.train.layers.products import Multiply, Products, linear_by
from trnbench.train.race import fastest

ROWS, INPUTS, OUTPUTS = 512, 256, 512
"""Of the layer that the race is about: large enough for both libraries to use every thread."""

ADDED_ROWS = 2048
"""Rows of a product that are added to a sum at once: all of them would take the sum's memory."""

TORCH = "torch"


def ways_of(dtype: torch.dtype) -> Mapping[str, Multiply]:
    """Return the ways to make a product in this type, by name; torch's own first."""
    own: dict[str, Multiply] = {TORCH: torch.mm}
    if dtype == torch.float32:
        return {**own, "onednn": onednn.multiply} if onednn.has_onednn() else own
    ways = {**own, "fp32": upcast.multiply}
    return {**ways, "fp32 by onednn": upcast.multiply_by_onednn} if onednn.has_onednn() else ways


def fastest_way(dtype: torch.dtype) -> str:
    """Return the name of the way that a layer's three products are made fastest by."""
    generator = torch.Generator().manual_seed(0)
    shapes = (ROWS, INPUTS), (OUTPUTS, INPUTS), (ROWS, OUTPUTS)
    x, weight, gradient = (torch.randn(s, generator=generator).to(dtype) for s in shapes)

    def layer_by(multiply: Multiply) -> Callable[[], object]:
        return lambda: (
            multiply(x, weight.t()),
            multiply(gradient, weight),
            multiply(gradient.t(), x),
        )

    return fastest({name: layer_by(multiply) for name, multiply in ways_of(dtype).items()})


# An operator of its own, so that torch's compiler adds each product when it is made: left to itself
# it makes those of all chunks of a loss first, and holds them all.
torch.library.define(
    "trnbench::add_product", "(Tensor(a!) total, Tensor left, Tensor right, str way) -> ()"
)


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor, way: str) -> None:
    multiply = ways_of(left.dtype)[way]
    # A part of the rows at a time: what is added is made in the sum's own type first.
    for rows, part in zip(total.split(ADDED_ROWS), left.split(ADDED_ROWS), strict=True):
        rows.add_(multiply(part, right))


def _add_nothing(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor, way: str) -> None:
    pass


torch.library.impl("trnbench::add_product", "CPU", _add_product)
torch.library.register_fake("trnbench::add_product", _add_nothing)


def products_by(way: str, dtype: torch.dtype) -> Products:
    """Return all kinds of products, made in this way."""
    multiply = ways_of(dtype)[way]

    def add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
        torch.ops.trnbench.add_product(total, left, right, way)

    rounds = way != TORCH and dtype != torch.float32
    made = Products(multiply=multiply, rounds=rounds, add_product=add_product)
    if way != TORCH:
        made = made._replace(linear=linear_by(multiply, rounds))
    if dtype == torch.float32:
        return made
    if way == TORCH:
        return made._replace(attention=attend_explicitly)
    return made._replace(attention=upcast.attend, multiply_runs=upcast.multiply_runs)
