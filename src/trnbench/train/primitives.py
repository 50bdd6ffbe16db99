"""The single things that a training step is made of, each as work that can be done over and over.

Values are of mean zero and size one: zeros multiply faster than real data does, on some devices.
"""

from collections.abc import Callable
from typing import Literal

import torch

from trnbench.train.backends.base import Backend
from trnbench.train.layers import fp8
from trnbench.train.layers.attention import Mask, attend
from trnbench.wire import AttentionTask, MoveTask, ProductTask

FLOAT_BYTES = 4
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": fp8.VALUES}
TRIAD_FACTOR = 0.5


def product(
    backend: Backend,
    dtype: torch.dtype,
    m: int,
    n: int,
    k: int,
    layout: Literal["nt", "nn", "tn"] = "nn",
) -> Callable[[], object]:
    """Return a matmul (M, K) by (K, N), its operands laid out as the step's are."""
    drawn = torch.bfloat16 if dtype == fp8.VALUES else dtype
    left = _values(backend, drawn, k, m).t() if layout == "tn" else _values(backend, drawn, m, k)
    right = _values(backend, drawn, n, k).t() if layout == "nt" else _values(backend, drawn, k, n)
    if dtype == fp8.VALUES:
        values, other = fp8.to_fp8(left.contiguous()), fp8.to_fp8(right.t().contiguous())
        return lambda: fp8.multiply(values, other, torch.bfloat16, is_fast=True)
    made = torch.empty(m, n, device=backend.device, dtype=dtype)
    return lambda: torch.mm(left, right, out=made)


def move(backend: Backend, task: MoveTask) -> Callable[[], object]:
    """Return a copy or STREAM's triad over arrays of fp32."""
    count = max(task.array_bytes // FLOAT_BYTES, 1)
    target = torch.empty(count, device=backend.device)
    first = _values(backend, torch.float32, count)
    if task.motion == "copy":
        return lambda: target.copy_(first)
    second = _values(backend, torch.float32, count)
    return lambda: torch.add(first, second, alpha=TRIAD_FACTOR, out=target)


def attention(backend: Backend, task: AttentionTask) -> Callable[[], object]:
    """Return the attention core as our models call it, forward or with its gradients."""
    dtype, mask = DTYPES[task.precision], Mask()
    core = backend.attention_core(dtype)
    q, k, v = (
        _values(backend, dtype, task.batch, heads, task.tokens, task.head_dim)
        for heads in (task.heads, task.kv_heads, task.kv_heads)
    )
    if task.passes == "forward":

        def forward() -> object:
            with torch.no_grad():
                return attend(q, k, v, mask, core=core)

        return forward
    inputs = [x.requires_grad_() for x in (q, k, v)]
    gradient = _values(backend, dtype, *q.shape)
    return lambda: torch.autograd.grad(attend(q, k, v, mask, core=core), inputs, gradient)


def make_work(
    backend: Backend, task: ProductTask | MoveTask | AttentionTask
) -> Callable[[], object]:
    """Return what a task asks for, with its operands on the device."""
    if isinstance(task, ProductTask):
        return product(backend, DTYPES[task.precision], task.m, task.n, task.k, task.layout)
    return move(backend, task) if isinstance(task, MoveTask) else attention(backend, task)


def _values(backend: Backend, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return torch.randn(shape, device=backend.device).to(dtype)
