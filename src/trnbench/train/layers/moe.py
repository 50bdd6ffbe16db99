"""A mixture of experts: a router, many gated MLPs of which each token takes a few, a shared one.

Tokens are sorted by expert, so that each expert's are one run of rows, and one grouped kernel makes
the matmuls of all experts. How many rows an expert gets then depends on the data. A compiler that
wants every shape beforehand (Neuron, XLA) is given a `capacity` instead: a fixed number of places
for each expert, one batched matmul, and tokens beyond an expert's places go without it, as in the
field's ahead-of-time trainers.

Shapes: M tokens of the batch, D model width, E experts, X experts a token takes, F expert width,
R = M x X rows, P places of one expert; of a grouped matmul E runs, I inputs, O outputs.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.protocol.model import Experts, ModelShape
from trnbench.train.layers.linear import Linear, SwiGlu

CLAMP, SLOPE = 7.0, 1.702
"""gpt-oss's gate. Source: `swiglu_limit` and `swiglu_alpha` of its published config.json."""


class Routing(NamedTuple):
    """What the router did in one block."""

    balance: torch.Tensor
    """The load-balancing loss: X when every expert is as likely, and taken as often, as another.

    Source: Switch Transformers, arXiv 2101.03961, section 2.2, for X experts a token."""
    imbalance: torch.Tensor
    """Rows of the fullest expert over the mean."""


class ExpertsMlp(nn.Module):
    """What stands in a block where dense models have their MLP."""

    def __init__(self, shape: ModelShape, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.capacity: float | None = None
        """Places of each expert over the rows that it gets on average; None for as many as come."""
        width, size, count = shape.hidden_size, experts.size, experts.count
        self.router = Linear(width, count, bias=experts.biases)
        self.gate = nn.Parameter(torch.empty(count, width, size))
        self.up = nn.Parameter(torch.empty(count, width, size))
        self.down = nn.Parameter(torch.empty(count, size, width))
        # Flat: no matrices, so weight decay leaves them out as every other bias.
        self.gate_bias = nn.Parameter(torch.empty(count * size)) if experts.biases else None
        self.up_bias = nn.Parameter(torch.empty(count * size)) if experts.biases else None
        self.down_bias = nn.Parameter(torch.empty(count * width)) if experts.biases else None
        self.shared = SwiGlu(width, experts.shared_size) if experts.shared_size else None
        self.shared_gate = Linear(width, 1, bias=False) if experts.shared_gate else None

    def forward(self, x_BTD: torch.Tensor) -> tuple[torch.Tensor, Routing]:
        """Return (B, T, D), and what the router did."""
        x_MD = x_BTD.flatten(0, 1)
        weights_MX, chosen_MX, routing = self._route(x_MD)
        y_MD = self._mixed(x_MD, weights_MX.to(x_MD.dtype), chosen_MX)
        if self.shared is not None:
            shared_MD = self.shared(x_MD)
            if self.shared_gate is not None:
                shared_MD = torch.sigmoid(self.shared_gate(x_MD)) * shared_MD
            y_MD = y_MD + shared_MD
        return y_MD.view_as(x_BTD), routing

    def _route(self, x_MD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Routing]:
        """Return each token's experts with their weights, (M, X) both, and what that comes to."""
        count, taken = self.experts.count, self.experts.per_token
        shares_ME = torch.softmax(self.router(x_MD), dim=-1, dtype=torch.float32)
        weights_MX, chosen_MX = torch.topk(shares_ME, taken, dim=-1)
        if self.experts.normalized:
            weights_MX = weights_MX / weights_MX.sum(dim=-1, keepdim=True)
        rows_E = _rows_of_each(chosen_MX, count)
        per_token_E = rows_E.float() / len(x_MD)
        balance = count * (per_token_E * shares_ME.mean(dim=0)).sum()
        imbalance = rows_E.max() * count / chosen_MX.numel()
        return weights_MX, chosen_MX, Routing(balance, imbalance)

    def _mixed(
        self, x_MD: torch.Tensor, weights_MX: torch.Tensor, chosen_MX: torch.Tensor
    ) -> torch.Tensor:
        """Return the weighted sum of what each token's experts make of it, (M, D)."""
        if self.capacity is None:
            made_RD = self._sorted(x_MD, chosen_MX)
        else:
            fair = self.capacity * chosen_MX.numel() / self.experts.count
            made_RD = self._padded(x_MD, chosen_MX, min(math.ceil(fair), len(x_MD)))
        made_MXD = made_RD.unflatten(0, chosen_MX.shape)
        return (made_MXD * weights_MX[..., None]).sum(dim=1)

    def _sorted(self, x_MD: torch.Tensor, chosen_MX: torch.Tensor) -> torch.Tensor:
        """Sort rows by expert, make their matmuls, and put them back in their places, (R, D)."""
        expert_R, order_R = chosen_MX.flatten().sort(stable=True)
        ends_E = _rows_of_each(chosen_MX, self.experts.count).cumsum(0).to(torch.int32)
        rows_RD = x_MD.index_select(0, order_R // self.experts.per_token)
        made_RD = self._grouped(rows_RD, expert_R, ends_E)
        numbers_R = torch.arange(len(order_R), device=order_R.device)
        back_R = torch.empty_like(order_R).scatter_(0, order_R, numbers_R)
        return made_RD.index_select(0, back_R)

    def _grouped(
        self, rows_RD: torch.Tensor, expert_R: torch.Tensor, ends_E: torch.Tensor
    ) -> torch.Tensor:
        """Put rows, sorted by expert, through their experts: three grouped matmuls."""
        kind = rows_RD.dtype
        gate_RF = grouped_matmul(rows_RD, self.gate.to(kind), ends_E)
        up_RF = grouped_matmul(rows_RD, self.up.to(kind), ends_E)
        if self.gate_bias is not None and self.up_bias is not None:
            gate_RF = gate_RF + _bias_of(self.gate_bias, expert_R, gate_RF)
            up_RF = up_RF + _bias_of(self.up_bias, expert_R, up_RF)
        made_RD = grouped_matmul(self._gated(gate_RF, up_RF), self.down.to(kind), ends_E)
        if self.down_bias is not None:
            made_RD = made_RD + _bias_of(self.down_bias, expert_R, made_RD)
        return made_RD

    def _padded(self, x_MD: torch.Tensor, chosen_MX: torch.Tensor, places: int) -> torch.Tensor:
        """Give each expert a fixed number of places, first come first served, (R, D).

        Places are counted and not sorted into: Neuron's compiler cannot sort (NCC_EVRF029).
        """
        count, width = self.experts.count, x_MD.shape[1]
        expert_R = chosen_MX.flatten()
        is_mine_RE = expert_R[:, None] == torch.arange(count, device=expert_R.device)
        place_R = (is_mine_RE.int().cumsum(0) * is_mine_RE).sum(1) - 1
        nowhere = count * places
        slot_R = torch.where(place_R < places, expert_R * places + place_R, nowhere)
        rows_RD = x_MD[:, None].expand(-1, self.experts.per_token, -1).flatten(0, 1)
        slots_SD = rows_RD.new_zeros(nowhere + 1, width).index_copy(0, slot_R, rows_RD)
        x_EPD = slots_SD[:nowhere].unflatten(0, (count, places))
        gate_EPF = torch.bmm(x_EPD, self.gate.to(x_EPD.dtype))
        up_EPF = torch.bmm(x_EPD, self.up.to(x_EPD.dtype))
        if self.gate_bias is not None and self.up_bias is not None:
            gate_EPF = gate_EPF + self.gate_bias.view(count, 1, -1).to(x_EPD.dtype)
            up_EPF = up_EPF + self.up_bias.view(count, 1, -1).to(x_EPD.dtype)
        made_EPD = torch.bmm(self._gated(gate_EPF, up_EPF), self.down.to(x_EPD.dtype))
        if self.down_bias is not None:
            made_EPD = made_EPD + self.down_bias.view(count, 1, -1).to(x_EPD.dtype)
        return F.pad(made_EPD.flatten(0, 1), (0, 0, 0, 1)).index_select(0, slot_R)

    def _gated(self, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        if not self.experts.clamped:
            return F.silu(gate) * up
        gate, up = gate.clamp(max=CLAMP), up.clamp(-CLAMP, CLAMP)
        return gate * torch.sigmoid(SLOPE * gate) * (up + 1)


def _rows_of_each(chosen_MX: torch.Tensor, count: int) -> torch.Tensor:
    """Return how many rows each expert gets, (E,), without asking the device for a size."""
    ones = torch.ones_like(chosen_MX.flatten())
    return torch.zeros(count, dtype=ones.dtype, device=ones.device).scatter_add_(
        0, chosen_MX.flatten(), ones
    )


def _bias_of(bias: torch.Tensor, expert_R: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return bias.view(-1, like.shape[1]).to(like.dtype).index_select(0, expert_R)


# Public since torch 2.10; before, the same function under its private name.
_KERNEL = getattr(F, "grouped_mm", None) or torch._grouped_mm


def grouped_matmul(
    rows_RI: torch.Tensor, weights_EIO: torch.Tensor, ends_E: torch.Tensor
) -> torch.Tensor:
    """Multiply each run of rows by its own matrix, (R, O), with gradients.

    Args:
        rows_RI: in the order of their runs.
        weights_EIO: one matrix for each run, in the rows' type.
        ends_E: int32, where each run ends; a run may be empty. Rows after the last belong
            to no run.
    """
    # torch runs the kernel in any type, but its compiler knows the shape of bf16's result alone.
    if rows_RI.dtype == torch.bfloat16:
        made: torch.Tensor = _KERNEL(rows_RI, weights_EIO, offs=ends_E)
        return made
    return _GroupedMatmul.apply(rows_RI, weights_EIO, ends_E)


# Not by torch.library.custom_op, whose first call imports the whole of torch's compiler.
torch.library.define(
    "trnbench::multiply_runs", "(Tensor left, Tensor right, Tensor ends_E) -> Tensor"
)


def _any_groups(left: torch.Tensor, right: torch.Tensor, ends_E: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = _KERNEL(left, right, offs=ends_E)
    return made


def _like_groups(left: torch.Tensor, right: torch.Tensor, ends_E: torch.Tensor) -> torch.Tensor:
    if right.dim() == 3:
        return left.new_empty(left.shape[0], right.shape[2])
    return left.new_empty(ends_E.shape[0], left.shape[0], right.shape[1])


torch.library.impl("trnbench::multiply_runs", "CompositeExplicitAutograd", _any_groups)
torch.library.register_fake("trnbench::multiply_runs", _like_groups)


class _GroupedMatmul(torch.autograd.Function):
    """The three matmuls of each run of rows."""

    @staticmethod
    def forward(
        ctx: Any, rows_RI: torch.Tensor, weights_EIO: torch.Tensor, ends_E: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(rows_RI, weights_EIO, ends_E)
        made: torch.Tensor = torch.ops.trnbench.multiply_runs(rows_RI, weights_EIO, ends_E)
        return made

    @staticmethod
    def backward(ctx: Any, gradient_RO: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows_RI, weights_EIO, ends_E = ctx.saved_tensors
        multiply = torch.ops.trnbench.multiply_runs
        of_rows = of_weights = None
        gradient_RO = gradient_RO.contiguous()  # the gradient of a sum has no strides
        if ctx.needs_input_grad[0]:
            of_rows = multiply(gradient_RO, weights_EIO.transpose(1, 2), ends_E)
        if ctx.needs_input_grad[1]:
            of_weights = multiply(rows_RI.t(), gradient_RO, ends_E)  # cut along R: (E, I, O)
        return of_rows, of_weights, None
