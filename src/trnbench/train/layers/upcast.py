"""bf16's products made in fp32, for processors that multiply nothing narrower.

What comes out is what a bf16 product is: factors of eight bits, sums in fp32, one rounding at the
end. Where a processor has no instructions for it, torch makes such a product number by number.

Products and attention are operators of their own, which torch's compiler does not look into: it
would make all fp32 copies where it makes what they are copies of, and keep those of attention until
the backward pass.

Shapes: B batch, T queries, S keys, N query heads, K key and value heads, H head width.
"""

import math
from typing import Any

import torch

from trnbench.train.layers import grouped, onednn

PART, LEAST_SIDE = 2**18, 512
"""Numbers of the largest fp32 tensor of a product that is made at once, 1 MiB of them; but no part
is narrower than libraries need to be fast."""

# Not by torch.library.custom_op, whose first call imports the whole of torch's compiler. Strides of
# any kind are taken, and said to be: the compiler would else make a copy for each use of a weight.
torch.library.define(
    "trnbench::product_in_fp32",
    "(Tensor left, Tensor right, bool by_onednn) -> Tensor",
    tags=torch.Tag.flexible_layout,
)


@torch.no_grad()
def _product(left: torch.Tensor, right: torch.Tensor, by_onednn: bool) -> torch.Tensor:
    multiply = onednn.multiply if by_onednn else torch.mm
    (rows, inner), columns = left.shape, right.shape[1]
    # The longest side goes in parts, so that no copy is larger than a part or the smallest factor.
    _, middle, longest = sorted((rows, inner, columns))
    size = max(LEAST_SIDE, PART // max(1, middle))
    if inner == longest and inner > size:
        total = torch.zeros(rows, columns)
        for part, other in zip(left.split(size, 1), right.split(size), strict=True):
            total.add_(multiply(part.float(), other.to(left.dtype).float()))
        return total.to(left.dtype)
    made = _like_product(left, right, by_onednn)
    if rows == longest:
        wide = right.to(left.dtype).float()
        for into, part in zip(made.split(size), left.split(size), strict=True):
            into.copy_(multiply(part.float(), wide))
    else:
        wide = left.float()
        for into, part in zip(made.split(size, 1), right.split(size, 1), strict=True):
            into.copy_(multiply(wide, part.to(left.dtype).float()))
    return made


def _like_product(left: torch.Tensor, right: torch.Tensor, by_onednn: bool) -> torch.Tensor:
    return left.new_empty(left.shape[0], right.shape[1])


torch.library.impl("trnbench::product_in_fp32", "CPU", _product)
torch.library.register_fake("trnbench::product_in_fp32", _like_product)


def multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return left @ right in the type of left, which right is rounded to first; both are 2-D."""
    made: torch.Tensor = torch.ops.trnbench.product_in_fp32(left, right, False)
    return made


def multiply_by_onednn(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the same, by the other of torch's two libraries."""
    made: torch.Tensor = torch.ops.trnbench.product_in_fp32(left, right, True)
    return made


def multiply_runs(
    rows_RI: torch.Tensor, weights_EIO: torch.Tensor, ends_E: torch.Tensor
) -> torch.Tensor:
    """Return each run's product in their type; arguments as of `grouped.multiply_runs`."""
    made = grouped.multiply_runs(rows_RI.float(), weights_EIO.float(), ends_E)
    return made.to(rows_RI.dtype)


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    *,
    is_causal: bool = False,
    allowed: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend in fp32, and round what comes out; arguments as of `Core`."""
    made: torch.Tensor = _Attend.apply(q, k, v, allowed, scale, is_causal)
    return made


torch.library.define(
    "trnbench::attention_in_fp32",
    "(Tensor q, Tensor k, Tensor v, Tensor? allowed, float scale, bool is_causal)"
    " -> (Tensor, Tensor)",
    tags=torch.Tag.flexible_layout,
)
torch.library.define(
    "trnbench::attention_in_fp32_backward",
    "(Tensor gradient, Tensor mixed, Tensor sums, Tensor q, Tensor k, Tensor v, Tensor? allowed,"
    " float scale, bool is_causal) -> (Tensor, Tensor, Tensor)",
    tags=torch.Tag.flexible_layout,
)

_CORE = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
"""What torch's own attention function calls on a processor, with the sums that it keeps."""
_CORE_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

Tensors = tuple[torch.Tensor, ...]


def _attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allowed: torch.Tensor | None,
    scale: float,
    is_causal: bool,
) -> Tensors:
    wide = _wide(q, k, v)
    mixed, sums = _CORE(*wide, 0.0, is_causal, attn_mask=_added(allowed), scale=scale)
    return mixed.to(q.dtype).contiguous(), sums.contiguous()


def _like_attention(q: torch.Tensor, *_others: object) -> Tensors:
    return q.new_empty(q.shape), q.new_empty(q.shape[:3], dtype=torch.float32)


def _attention_backward(
    gradient: torch.Tensor,
    mixed: torch.Tensor,
    sums: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allowed: torch.Tensor | None,
    scale: float,
    is_causal: bool,
) -> Tensors:
    wide = _wide(q, k, v)
    of_q, of_k, of_v = _CORE_BACKWARD(
        gradient.float(),
        *wide,
        mixed.float(),
        sums,
        0.0,
        is_causal,
        attn_mask=_added(allowed),
        scale=scale,
    )
    repeats = q.shape[1] // k.shape[1]
    if repeats > 1:
        of_k, of_v = (x.unflatten(1, (-1, repeats)).sum(2) for x in (of_k, of_v))
    return tuple(x.to(q.dtype).contiguous() for x in (of_q, of_k, of_v))


def _like_attention_backward(
    _gradient: torch.Tensor,
    _mixed: torch.Tensor,
    _sums: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *_others: object,
) -> Tensors:
    return tuple(x.new_empty(x.shape) for x in (q, k, v))


torch.library.impl("trnbench::attention_in_fp32", "CPU", _attention)
torch.library.register_fake("trnbench::attention_in_fp32", _like_attention)
torch.library.impl("trnbench::attention_in_fp32_backward", "CPU", _attention_backward)
torch.library.register_fake("trnbench::attention_in_fp32_backward", _like_attention_backward)


def _wide(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Tensors:
    """Return all three in fp32, with as many heads of keys and values as of queries."""
    repeats = q.shape[1] // k.shape[1]
    return (
        q.float(),
        *(x.float().repeat_interleave(repeats, 1) if repeats > 1 else x.float() for x in (k, v)),
    )


def _added(allowed: torch.Tensor | None) -> torch.Tensor | None:
    """Return what is added to the scores: nothing where a query may look, else minus infinity."""
    if allowed is None:
        return None
    return torch.zeros(allowed.shape).masked_fill_(~allowed, -math.inf)


class _Attend(torch.autograd.Function):
    """Keeps what attention was given, not the fp32 copies of it."""

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        allowed: torch.Tensor | None,
        scale: float,
        is_causal: bool,
    ) -> torch.Tensor:
        mixed, sums = torch.ops.trnbench.attention_in_fp32(q, k, v, allowed, scale, is_causal)
        ctx.save_for_backward(mixed, sums, q, k, v, allowed)
        ctx.how = scale, is_causal
        made: torch.Tensor = mixed
        return made

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        of_heads = torch.ops.trnbench.attention_in_fp32_backward(
            gradient, *ctx.saved_tensors, *ctx.how
        )
        return *of_heads, None, None, None
