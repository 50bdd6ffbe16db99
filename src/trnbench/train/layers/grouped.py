"""Runs of rows, each by its own matrix, in one kernel: how experts' products are made.

Shapes: R rows, E runs, I inputs, O outputs.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it

# Public since torch 2.10; before, the same function under its private name.
_KERNEL = getattr(F, "grouped_mm", None) or torch._grouped_mm


def multiply_runs(
    rows_RI: torch.Tensor, weights_EIO: torch.Tensor, ends_E: torch.Tensor
) -> torch.Tensor:
    """Multiply each run of rows by its matrix, (R, O), with gradients.

    Args:
        rows_RI: in the order of their runs.
        weights_EIO: one matrix for each run, in the rows' type.
        ends_E: int32, where each run ends; a run may be empty. Rows after the last are nobody's.
    """
    # torch runs the kernel in any type, but its compiler knows the shape of bf16's result alone.
    if rows_RI.dtype == torch.bfloat16:
        made: torch.Tensor = _KERNEL(rows_RI, weights_EIO, offs=ends_E)
        return made
    return _Runs.apply(rows_RI, weights_EIO, ends_E)


# Not by torch.library.custom_op, whose first call imports the whole of torch's compiler.
torch.library.define(
    "trnbench::multiply_runs", "(Tensor left, Tensor right, Tensor ends_E) -> Tensor"
)


def _any_runs(left: torch.Tensor, right: torch.Tensor, ends_E: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = _KERNEL(left, right, offs=ends_E)
    return made


def _like_runs(left: torch.Tensor, right: torch.Tensor, ends_E: torch.Tensor) -> torch.Tensor:
    if right.dim() == 3:
        return left.new_empty(left.shape[0], right.shape[2])
    return left.new_empty(ends_E.shape[0], left.shape[0], right.shape[1])


torch.library.impl("trnbench::multiply_runs", "CompositeExplicitAutograd", _any_runs)
torch.library.register_fake("trnbench::multiply_runs", _like_runs)


def _multiply(left: torch.Tensor, right: torch.Tensor, ends_E: torch.Tensor) -> torch.Tensor:
    """(R, I) by (E, I, O) makes (R, O); (M, R) by (R, N), cut along R, makes (E, M, N)."""
    made: torch.Tensor = torch.ops.trnbench.multiply_runs(left, right, ends_E)
    return made


class _Runs(torch.autograd.Function):
    """The three products of each run."""

    @staticmethod
    def forward(
        ctx: Any, rows_RI: torch.Tensor, weights_EIO: torch.Tensor, ends_E: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(rows_RI, weights_EIO, ends_E)
        made: torch.Tensor = _multiply(rows_RI, weights_EIO, ends_E)
        return made

    @staticmethod
    def backward(ctx: Any, gradient_RO: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows_RI, weights_EIO, ends_E = ctx.saved_tensors
        of_rows = of_weights = None
        gradient_RO = gradient_RO.contiguous()  # the gradient of a sum has no strides
        if ctx.needs_input_grad[0]:
            of_rows = _multiply(gradient_RO, weights_EIO.transpose(1, 2), ends_E)
        if ctx.needs_input_grad[1]:
            of_weights = _multiply(rows_RI.t(), gradient_RO, ends_E)
        return of_rows, of_weights, None
