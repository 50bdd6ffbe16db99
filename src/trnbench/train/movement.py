"""How far the first steps move the weights of the case's own model: each must move, none must leap.

Of each weight its first rows are kept on the host, so that nothing of it is computed on the device.
"""

import math
from collections.abc import Collection
from typing import Any

import torch

KEPT_ELEMENTS = 2**18
"""Of each weight: a megabyte in fp32, a few hundred for the largest models."""


class WeightSample:
    """The weights as they stand before the first step."""

    def __init__(self, model: torch.nn.Module, trained: Collection[str] | None = None) -> None:
        """Keep the first rows.

        Args:
            model: as it stands on the device.
            trained: names of the weights that must move, where not all of them must.
        """
        self._weights = {
            name: p for name, p in model.named_parameters() if trained is None or name in trained
        }
        self._before = {name: _first_rows(p) for name, p in self._weights.items()}

    def moved(self, steps: int) -> dict[str, Any]:
        """Return the fields of a `Movement`, after so many steps."""
        relative, still = {}, []
        for name, parameter in self._weights.items():
            before = self._before[name]
            change, scale = _norm(_first_rows(parameter) - before), _norm(before)
            if change == 0:
                still.append(name)
            elif scale > 0:
                relative[name] = change / scale
        # What is no number is the farthest there is.
        least = min(relative, key=relative.__getitem__, default=None)
        most = max(relative, key=lambda name: _or_infinite(relative[name]), default=None)
        return {
            "steps": steps,
            "tensors": len(self._before),
            "still": still,
            "least_tensor": least,
            "least": None if least is None else _finite(relative[least]),
            "most_tensor": most,
            "most": None if most is None else _finite(relative[most]),
        }


def _first_rows(parameter: torch.nn.Parameter) -> torch.Tensor:
    """Return the first rows on the CPU in fp32; a copy, also where it lies there already.

    Of experts' weights, (expert, in, out), the first of each expert: some get no token in a step.
    """
    whole = parameter.detach()
    if whole.ndim == 3:
        rows = max(1, KEPT_ELEMENTS // (whole.shape[0] * whole.shape[2]))
        return whole[:, :rows].to("cpu", torch.float32, copy=True)
    row_elements = whole[0].numel() if whole.ndim > 1 else 1
    return whole[: max(1, KEPT_ELEMENTS // row_elements)].to("cpu", torch.float32, copy=True)


def _norm(tensor: torch.Tensor) -> float:
    return math.sqrt(float((tensor.double() ** 2).sum()))


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
