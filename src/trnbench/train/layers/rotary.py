"""Rotary positions: tables of angles, and the rotation of heads by them.

Shapes: B batch, T tokens, H head width.
"""

import math
from typing import Any

import torch

from trnbench.protocol.model import ModelShape, RopeScaling


def rotate(x: torch.Tensor, cosines_TH: torch.Tensor, sines_TH: torch.Tensor) -> torch.Tensor:
    """Rotate the pairs (i, i + H/2) of each head, (B, heads, T, H), by angles, (T, H/2).

    Source: Su et al., arXiv 2104.09864, in the half-split layout of the published weights.
    """
    rotated: torch.Tensor = _Rotation.apply(x, cosines_TH, sines_TH)
    return rotated


class _Rotation(torch.autograd.Function):
    """The gradient of a rotation is the rotation back: it needs nothing of the heads."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, cosines_TH: torch.Tensor, sines_TH: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(cosines_TH, sines_TH)
        return _rotated(x, cosines_TH, sines_TH)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cosines_TH, sines_TH = ctx.saved_tensors
        return _rotated(gradient, cosines_TH, -sines_TH), None, None


def _rotated(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    parts = (first * cosines - second * sines, second * cosines + first * sines)
    return torch.cat(parts, dim=-1)


def rotary_tables(
    shape: ModelShape, positions_T: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cosines and sines of every position's angles, each (T, H/2) in fp32."""
    pairs = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    frequencies, size = 1.0 / shape.rope_theta**pairs, 1.0
    scaling = shape.rope_scaling
    if scaling is not None and scaling.kind == "llama3":
        frequencies = _slowed_by_turns(frequencies, scaling)
    elif scaling is not None:
        frequencies = _slowed_by_number(frequencies, scaling, shape.rope_theta)
        size = 0.1 * math.log(scaling.factor) + 1
    angles = torch.outer(positions_T.float(), frequencies)
    return angles.cos() * size, angles.sin() * size


def _slowed_by_turns(frequencies: torch.Tensor, scaling: RopeScaling) -> torch.Tensor:
    """Slow the low frequencies by `factor`, keep the high ones, and blend in between.

    Source: Llama 3.1's reference code, as in Hugging Face transformers, `rope_type: llama3`.
    """
    wavelengths = 2 * math.pi / frequencies
    turns = scaling.original_max_positions / wavelengths
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - kept) * frequencies / scaling.factor + kept * frequencies


def _slowed_by_number(
    frequencies: torch.Tensor, scaling: RopeScaling, theta: float
) -> torch.Tensor:
    """Blend evenly over the frequencies' numbers instead, between the same two turns.

    Source: YaRN, arXiv 2309.00071, as in Hugging Face transformers, `rope_type: yarn`.
    """
    pairs = len(frequencies)

    def number_of(turns: float) -> float:
        """Return which frequency makes this many turns in the original context."""
        return pairs * math.log(scaling.original_max_positions / (turns * 2 * math.pi), theta)

    first = max(number_of(scaling.high_frequency_factor), 0.0)
    last = min(number_of(scaling.low_frequency_factor), 2.0 * pairs - 1)
    slowed = ((torch.arange(pairs) - first) / (last - first)).clamp(0.0, 1.0)
    return slowed * frequencies / scaling.factor + (1 - slowed) * frequencies
