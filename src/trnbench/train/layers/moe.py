"""A mixture of experts: a router, many gated MLPs of which each token takes a few, a shared one.

Tokens are sorted by expert, so that each expert has one run of rows, and one grouped kernel
multiplies all runs. How many rows an expert gets depends on the data. Compilers that need every
shape beforehand (Neuron, XLA) get a `capacity` instead: a fixed number of places for each expert,
and a batched matmul; tokens beyond an expert's places skip it.

Ranks may share out the experts: each routes all tokens and computes what its own experts add.
Without a capacity any number of rows may go to them, so it has room for all.

Shapes: M tokens of the batch, D model width, E experts (of this rank,
where weights or rows are meant), X experts a token takes, F expert width,
R = M x X rows, P places of one expert; of a grouped matmul E runs, I inputs, O outputs.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from trnbench.protocol.model import Experts, ModelShape
from trnbench.train.layers.linear import Linear, Reader, SwiGlu, whole

CLAMP, SLOPE = 7.0, 1.702
"""gpt-oss's gate. Source: `swiglu_limit` and `swiglu_alpha` of its published config.json."""


class Routing(NamedTuple):
    """What the router did in one block."""

    balance: torch.Tensor
    """The load-balancing loss: X when all experts are as likely and taken as often.

    Source: Switch Transformers, arXiv 2101.03961, section 2.2, for X experts a token."""
    imbalance: torch.Tensor
    """Rows of the fullest expert over the mean."""


class ExpertsMlp(nn.Module):
    """The experts of one block, in the place of a dense model's MLP."""

    read: Reader = staticmethod(whole)
    over_ranks: Callable[[torch.Tensor], torch.Tensor] = staticmethod(whole)
    """The mean over ranks that share out the tokens, without a gradient."""

    def __init__(self, shape: ModelShape, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.capacity: float | None = None
        """Places of each expert over the rows that it gets on average; None: no limit."""
        self.first_expert: torch.Tensor | None
        """Number of this rank's first expert, on the device; None: it has them all."""
        self.register_buffer("first_expert", None, persistent=False)
        width, size, count = shape.hidden_size, experts.size, experts.count
        self.router = Linear(width, count, bias=experts.biases)
        self.gate = nn.Parameter(torch.empty(count, width, size))
        self.up = nn.Parameter(torch.empty(count, width, size))
        self.down = nn.Parameter(torch.empty(count, size, width))
        # Flat, so that weight decay leaves them out, as it does every other bias.
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
        """Return the weights and the numbers of each token's experts, both (M, X)."""
        count, taken = self.experts.count, self.experts.per_token
        shares_ME = torch.softmax(self.router(x_MD), dim=-1, dtype=torch.float32)
        weights_MX, chosen_MX = torch.topk(shares_ME, taken, dim=-1)
        if self.experts.normalized:
            weights_MX = weights_MX / weights_MX.sum(dim=-1, keepdim=True)
        rows_E = self.over_ranks(_rows_of_each(chosen_MX, count))
        per_token_E = rows_E.float() / len(x_MD)
        balance = count * (per_token_E * shares_ME.mean(dim=0)).sum()
        imbalance = rows_E.max() * count / chosen_MX.numel()
        return weights_MX, chosen_MX, Routing(balance, imbalance)

    def _mixed(
        self, x_MD: torch.Tensor, weights_MX: torch.Tensor, chosen_MX: torch.Tensor
    ) -> torch.Tensor:
        """Return the weighted sum of each token's experts, (M, D)."""
        if self.capacity is None:
            made_RD = self._sorted(x_MD, chosen_MX)
        else:
            fair = self.capacity * chosen_MX.numel() / self.experts.count
            made_RD = self._padded(x_MD, chosen_MX, min(math.ceil(fair), len(x_MD)))
        made_MXD = made_RD.unflatten(0, chosen_MX.shape)
        return (made_MXD * weights_MX[..., None]).sum(dim=1)

    def _sorted(self, x_MD: torch.Tensor, chosen_MX: torch.Tensor) -> torch.Tensor:
        """Sort rows by expert, run the experts, and put the rows back in their order, (R, D)."""
        count, own = self.experts.count, self.own_experts
        expert_R, order_R = self._numbered(chosen_MX).sort(stable=True)
        ends_E = _rows_of_each(expert_R, count)[:own].cumsum(0).to(torch.int32)
        is_own_R1 = None if own == count else (expert_R < own)[:, None]

        def kept(x: torch.Tensor) -> torch.Tensor:
            # A kernel leaves the rows, and the gradients, of other ranks' experts undefined.
            return x if is_own_R1 is None else torch.where(is_own_R1, x, 0.0)

        made_RD = self._run_experts(
            x_MD.index_select(0, order_R // self.experts.per_token),
            lambda rows, weights: kept(grouped_matmul(kept(rows), weights, ends_E)),
            lambda bias_EO: bias_EO.index_select(0, expert_R.clamp(max=own - 1)),
        )
        numbers_R = torch.arange(len(order_R), device=order_R.device)
        back_R = torch.empty_like(order_R).scatter_(0, order_R, numbers_R)
        return kept(made_RD).index_select(0, back_R)

    @property
    def own_experts(self) -> int:
        """How many experts this rank has."""
        return self.read(self.gate).shape[0]

    def _numbered(self, chosen_MX: torch.Tensor) -> torch.Tensor:
        """Return the experts' numbers, (R,), counted from this rank's first."""
        expert_R = chosen_MX.flatten()
        if self.first_expert is None:
            return expert_R
        return (expert_R - self.first_expert) % self.experts.count

    def _padded(self, x_MD: torch.Tensor, chosen_MX: torch.Tensor, places: int) -> torch.Tensor:
        """Give each expert a fixed number of places, first come first served, (R, D).

        Places are counted and not sorted into: Neuron's compiler cannot sort (NCC_EVRF029).
        """
        count, width = self.own_experts, x_MD.shape[1]
        expert_R = self._numbered(chosen_MX)
        is_mine_RE = expert_R[:, None] == torch.arange(count, device=expert_R.device)
        place_R = (is_mine_RE.int().cumsum(0) * is_mine_RE).sum(1) - 1
        nowhere = count * places
        is_placed_R = (place_R < places) & (expert_R < count)
        slot_R = torch.where(is_placed_R, expert_R * places + place_R, nowhere)
        rows_RD = x_MD[:, None].expand(-1, self.experts.per_token, -1).flatten(0, 1)
        slots_SD = rows_RD.new_zeros(nowhere + 1, width).index_copy(0, slot_R, rows_RD)
        x_EPD = slots_SD[:nowhere].unflatten(0, (count, places))
        made_EPD = self._run_experts(x_EPD, torch.bmm, lambda bias_EO: bias_EO[:, None])
        return F.pad(made_EPD.flatten(0, 1), (0, 0, 0, 1)).index_select(0, slot_R)

    def _run_experts(
        self,
        x: torch.Tensor,
        multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        bias_of_rows: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Run each expert's gated MLP on its rows: x is (R, D) in runs, or (E, P, D)."""

        def layer(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            weight_EIO = self.read(weight)
            made = multiply(x, weight_EIO.to(x.dtype))
            if bias is None:
                return made
            return made + bias_of_rows(self.read(bias).view(len(weight_EIO), -1).to(x.dtype))

        gate, up = layer(x, self.gate, self.gate_bias), layer(x, self.up, self.up_bias)
        if self.experts.clamped:
            gate, up = gate.clamp(max=CLAMP), up.clamp(-CLAMP, CLAMP)
            inner = gate * torch.sigmoid(SLOPE * gate) * (up + 1)
        else:
            inner = F.silu(gate) * up
        return layer(inner, self.down, self.down_bias)


def _rows_of_each(chosen_MX: torch.Tensor, count: int) -> torch.Tensor:
    """Return how many rows each expert gets, (E,), without waiting for the device."""
    ones = torch.ones_like(chosen_MX.flatten())
    return torch.zeros(count, dtype=ones.dtype, device=ones.device).scatter_add_(
        0, chosen_MX.flatten(), ones
    )


# Public since torch 2.10; before, the same function under its private name.
_KERNEL = getattr(F, "grouped_mm", None) or torch._grouped_mm


def grouped_matmul(
    rows_RI: torch.Tensor, weights_EIO: torch.Tensor, ends_E: torch.Tensor
) -> torch.Tensor:
    """Multiply each run of rows by its own matrix, (R, O), with gradients.

    `ends_E`: int32, where each run ends; a run may be empty, and rows after the last have none.
    """
    # torch runs the kernel in any format, but its compiler knows the shape of bf16's result alone.
    if rows_RI.dtype == torch.bfloat16:
        made: torch.Tensor = _KERNEL(rows_RI, weights_EIO, offs=ends_E)
        return made
    return _GroupedMatmul.apply(rows_RI, weights_EIO, ends_E)


# Not by torch.library.custom_op, whose first call imports the whole of torch's compiler.
torch.library.define(
    "trnbench::multiply_runs", "(Tensor left, Tensor right, Tensor ends_E) -> Tensor"
)


def _like_groups(left: torch.Tensor, right: torch.Tensor, ends_E: torch.Tensor) -> torch.Tensor:
    if right.dim() == 3:
        return left.new_empty(left.shape[0], right.shape[2])
    return left.new_empty(ends_E.shape[0], left.shape[0], right.shape[1])


torch.library.impl(
    "trnbench::multiply_runs",
    "CompositeExplicitAutograd",
    lambda left, right, ends_E: _KERNEL(left, right, offs=ends_E),
)
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
