"""What `trnbench peak` times: squares, a model's own products, memory, attention, collectives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trnbench.model.matmuls import LayerProduct, block_products, training_products
from trnbench.schema.peak import Group
from trnbench.wire import (
    AttentionTask,
    CollectiveTask,
    ModelShape,
    MoveTask,
    PeakTask,
    ProductTask,
)

MIB = 2**20
Arithmetic = Literal["fp32", "bf16", "fp8"]
Layout = Literal["nt", "nn", "tn"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large things must be to fill a kind of device, and no larger."""

    squares: tuple[int, ...]
    array_bytes: int
    """Several times the last cache."""
    collective_bytes: tuple[int, ...]
    model: str
    batch: int
    tokens: int


PROCESSOR = Sizes(
    squares=(512, 1024, 2048),
    array_bytes=256 * MIB,
    collective_bytes=(64 * 1024, MIB, 16 * MIB, 64 * MIB),
    model="gpt2-124m",
    batch=1,
    tokens=1024,
)
ACCELERATOR = Sizes(
    squares=(1024, 2048, 4096, 8192),
    array_bytes=1024 * MIB,
    collective_bytes=(64 * 1024, MIB, 16 * MIB, 256 * MIB, 1024 * MIB),
    model="llama3-8b",
    batch=2,
    tokens=4096,
)


def sizes_for(backend: str) -> Sizes:
    """Return what fills this kind of device."""
    return PROCESSOR if backend == "cpu" else ACCELERATOR


@dataclass(frozen=True, slots=True)
class Planned:
    """One task, and what it is part of."""

    group: Group
    label: str
    """What it is, without its arithmetic and its size."""
    task: PeakTask
    count: int = 1


PASSES: Mapping[str, Layout] = {"forward": "nt", "dX": "nn", "dW": "tn"}
"""Of a layer Y = X W: its output, and the gradients of its input and of its weight."""


def single_tasks(
    sizes: Sizes, shape: ModelShape, batch: int, tokens: int, precisions: Sequence[Arithmetic]
) -> list[Planned]:
    """Return what one device does alone, in the order in which it is to be timed.

    Args:
        sizes: of what stands for itself.
        shape: of the model whose products are made.
        batch: its sequences in a pass.
        tokens: of each sequence.
        precisions: of products and, but for fp8, attention; in fp8 the blocks' products alone.
    """
    planned = [
        Planned("square", "square", _square(size, precision))
        for precision in precisions
        for size in sizes.squares
    ]
    for precision in precisions:
        products = block_products if precision == "fp8" else training_products
        for product in products(shape, batch, tokens):
            planned += _of_layer(product, precision)
    planned += _memory(sizes.array_bytes)
    planned += [
        Planned(
            "attention",
            "attention",
            _attention(shape, batch, tokens, precision, passes),
            shape.layers,
        )
        for precision in precisions
        if precision != "fp8"
        for passes in ("forward", "training")
    ]
    return planned


def collective_tasks(sizes: Sizes) -> list[Planned]:
    """Return what several devices do together."""
    return [
        Planned(
            "collective",
            operation.replace("_", "-"),
            CollectiveTask(
                name=f"{operation} {whole_bytes}", operation=operation, whole_bytes=whole_bytes
            ),
        )
        for operation in COLLECTIVES
        for whole_bytes in sizes.collective_bytes
    ]


COLLECTIVES: tuple[Literal["all_reduce", "all_gather", "reduce_scatter"], ...] = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
)


def _square(size: int, precision: Arithmetic) -> ProductTask:
    return ProductTask(
        name=f"{precision} square {size}",
        precision=precision,
        m=size,
        n=size,
        k=size,
        layout="nt",
    )


def _of_layer(product: LayerProduct, precision: Arithmetic) -> Iterable[Planned]:
    """Return a weight's three products, in the layouts in which a step makes them."""
    edges = {
        "forward": (product.rows, product.outputs, product.inputs),
        "dX": (product.rows, product.inputs, product.outputs),
        "dW": (product.outputs, product.inputs, product.rows),
    }
    for name, layout in PASSES.items():
        if product.passes == 2 and name == "dX":
            continue
        m, n, k = edges[name]
        task = ProductTask(
            name=f"{precision} {product.name} {name}",
            precision=precision,
            m=m,
            n=n,
            k=k,
            layout=layout,
        )
        yield Planned("model", product.name, task, product.count)


def _memory(array_bytes: int) -> Iterable[Planned]:
    for motion in ("copy", "triad"):
        yield Planned(
            "memory", motion, MoveTask(name=motion, motion=motion, array_bytes=array_bytes)
        )


def _attention(
    shape: ModelShape,
    batch: int,
    tokens: int,
    precision: Literal["fp32", "bf16"],
    passes: Literal["forward", "training"],
) -> AttentionTask:
    return AttentionTask(
        name=f"{precision} attention {passes}",
        precision=precision,
        batch=batch,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        tokens=tokens,
        head_dim=shape.head_dim,
        passes=passes,
    )
