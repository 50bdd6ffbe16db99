"""Modules as a user would write them, for tests of models that are not ours."""

import sys
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn


class Bigram(nn.Module):
    """Predicts each token from the one before, through one product."""

    def __init__(self, width: int = 32, vocabulary_size: int = 128) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.table = nn.Embedding(vocabulary_size, width)
        self.head = nn.Linear(width, vocabulary_size)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(inputs))

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.logits(inputs).flatten(0, 1).float(), targets.flatten())


class Lossless(Bigram):
    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.logits(inputs)


class WithStep(Lossless):
    def training_step(self, inputs: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
        return {"loss": Bigram.forward(self, inputs, targets)}


class Broken(Bigram):
    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the parts do not fit")


class Frozen(Bigram):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class Nan(Bigram):
    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs, targets) * float("nan")


class Constant(Bigram):
    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs, targets) * 0.0


class Unused(Bigram):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(4, 4)


class SmallTable(Bigram):
    """Says that it knows more tokens than it has rows for."""

    def __init__(self) -> None:
        super().__init__(vocabulary_size=100)
        self.vocabulary_size = 2048


class OneByOne(Bigram):
    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if len(inputs) > 1:
            raise ValueError("batches of one only")
        return super().forward(inputs, targets)


class Leaves(Bigram):
    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sys.exit(3)


class Empty(nn.Module):
    vocabulary_size = 128


def refuses(width: int = 8) -> nn.Module:
    raise RuntimeError("cannot build")


def exits() -> nn.Module:
    sys.exit(5)


nan, constant, unused, small_table = Nan, Constant, Unused, SmallTable
one_by_one, leaves, empty = OneByOne, Leaves, Empty


def bigram(width: int = 32, vocabulary_size: int = 128) -> nn.Module:
    return Bigram(width, vocabulary_size)


lossless, with_step, broken, frozen = Lossless, WithStep, Broken, Frozen


def not_a_module() -> str:
    return "a module"
