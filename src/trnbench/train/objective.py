"""From a pass's inputs and targets to what is minimised: the model, its head and its loss as one.

This is what a device compiles: one graph from tokens to loss.
"""

from typing import NamedTuple

import torch
from torch import nn

from trnbench.train.layers.loss import chunked_loss, plain_loss
from trnbench.train.layers.products import PLAIN, Products
from trnbench.train.models.base import Model


class Losses(NamedTuple):
    """What one pass comes to, all on the device."""

    minimised: torch.Tensor
    """Mean cross-entropy, and the load-balancing loss where there are experts; fp32."""
    told: torch.Tensor
    """Mean cross-entropy alone; fp32."""
    imbalance: torch.Tensor | None
    """Rows of the fullest expert over the mean."""


class Trainable(nn.Module):
    """A model and its loss as one, whoever's they are."""

    model: nn.Module

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor, positions: torch.Tensor | None = None
    ) -> Losses:
        """Return the losses of one pass.

        Args:
            inputs: what the model takes.
            targets: the right token or class of each row, (B, T), (B, P) or (B,).
            positions: where the targets are, (B, P); None for everywhere.
        """
        raise NotImplementedError


class Objective(Trainable):
    """One of our families with its loss."""

    model: Model

    def __init__(
        self,
        model: Model,
        *,
        loss_chunk_rows: int | None = None,
        products: Products = PLAIN,
    ) -> None:
        """Take a model as it is to be trained.

        Args:
            model: on its device, in its type.
            loss_chunk_rows: rows whose logits exist at once; None for all of a pass.
            products: how the device makes the head's products.
        """
        super().__init__()
        self.model = model
        self.loss_chunk_rows = loss_chunk_rows
        self.products = products
        experts = model.shape.experts
        self.balance_coefficient = 0.0 if experts is None else experts.balance_coefficient

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor, positions: torch.Tensor | None = None
    ) -> Losses:
        """Return the losses of one pass; arguments as of `Trainable`."""
        hidden = self.model.hidden(inputs, positions)
        weight, bias = self.model.head_parameters()
        rows, right = hidden.rows.flatten(0, -2), targets.flatten()
        if self.loss_chunk_rows is None:
            told = plain_loss(rows, weight, bias, right)
        else:
            told = chunked_loss(rows, weight, bias, right, self.loss_chunk_rows, self.products)
        minimised = told
        if hidden.balance is not None and self.balance_coefficient:
            minimised = told + self.balance_coefficient * hidden.balance
        return Losses(minimised, told.detach(), hidden.imbalance)
