"""Ranks that each have a part of every matmul train as one process does."""

from pathlib import Path

import torch

from tests.each import check_each
from tests.process.train.parallel.jobs import run_ranks
from tests.process.train.parallel.tensor_job import VARIANTS, Found, Variant, train_alone

JOB = "tests.process.train.parallel.tensor_job"


def test_two_tensor_ranks_train_as_one_process(tmp_path: Path) -> None:
    """One launch holds all variants: importing torch twice costs more than any of them."""
    run_ranks(JOB, tmp_path, 2)
    check_job(tmp_path, VARIANTS)


def check_job(folder: Path, variants: dict[str, Variant]) -> None:
    """Compare what the first two ranks found, and with one process."""
    each = [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]
    check_each(
        [(name, v, *(Found(*found[name]) for found in each)) for name, v in variants.items()],
        _check,
    )


def _check(name: str, variant: Variant, first: Found, second: Found) -> None:
    assert (first.losses, first.norms) == (second.losses, second.norms), "the ranks differ"
    alone = train_alone(variant)
    of_loss, of_norm, of_weight = (
        (2e-6, 5e-6, 2e-5) if variant.precision == "fp32" else (1e-4, 5e-3, 1e-2)
    )
    assert _apart(first.losses, alone.losses) < of_loss
    assert _apart(first.norms, alone.norms) < of_norm
    apart = _norm({key: first.weights[key] - weight for key, weight in alone.weights.items()})
    assert apart < of_weight * _norm(alone.weights)


def _apart(found: list[float], expected: list[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


def _norm(weights: dict[str, torch.Tensor]) -> float:
    return float(sum((w.double() ** 2).sum() for w in weights.values()) ** 0.5)
