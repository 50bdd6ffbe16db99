"""bf16's products made in fp32, for processors that multiply nothing narrower.

What comes out is what a bf16 product is: factors of eight bits, sums in fp32, one rounding at the
end. Where a processor has no instructions for it, torch makes such a product number by number.
"""

import torch

from trnbench.train.layers import grouped, onednn
from trnbench.train.layers.products import fused


def multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return left @ right in their type, both 2-D."""
    return torch.mm(left.float(), right.float()).to(left.dtype)


def multiply_by_onednn(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the same, by the other of torch's two libraries."""
    made: torch.Tensor = onednn.multiply(left.float(), right.float())
    return made.to(left.dtype)


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
    made = fused(q.float(), k.float(), v.float(), scale, is_causal=is_causal, allowed=allowed)
    return made.to(q.dtype)
