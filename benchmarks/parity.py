"""Promise: the parity gate passes correct training, and finds each fault made on purpose.

The distances from fp32 on the CPU that right training has, over seeds and families, and those that
each fault has; between the two lie the tolerances of `analysis/checks/parity.py`.

    python -m benchmarks.parity [--seeds 20] [--fault-seeds 2]
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the faults of the tests

import torch

from benchmarks.common.figures import machine_line
from tests.faulty_steps import FAULTS, ComputesInBf16, ComputesInFp32, NoPositions
from tests.pure.run.plans import plan_case
from trnbench.analysis.checks.parity import EARLY_STEPS, TOLERANCES, find_faults
from trnbench.protocol.orders import Precision, WorkOrder
from trnbench.protocol.records import Parity
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.loop import TrainingStep
from trnbench.train.parity import run_parity_gate

MODELS = ("tiny-llama", "tiny-gpt2", "gpt2-124m", "qwen3-0.6b")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "pure_bf16", "fp8")


@dataclass(frozen=True, slots=True)
class Distances:
    """The figures that `Tolerance` limits, in its order; infinity where not finite."""

    gradient: float
    one_less_cosine: float
    first_loss: float
    gradient_norm: float
    early_loss: float
    late_loss: float


def main() -> None:
    """Print the largest distances of right training, and what caught each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--fault-seeds", type=int, default=2)
    asked = parser.parse_args()
    print(f"{machine_line()}, torch {torch.__version__}")
    alarms = _right_training(asked.seeds)
    missed = _faults(asked.fault_seeds)
    runs = asked.seeds * len(MODELS) * len(PRECISIONS)
    print(f"right training refused in {alarms} of {runs} runs; faults missed: {missed or 'none'}")


def _right_training(seeds: int) -> int:
    print(f"\nright training, the largest of {seeds} seeds, and the tolerance")
    alarms = 0
    for precision in PRECISIONS:
        largest = []
        for model in MODELS:
            found = [_gate(model, precision, seed) for seed in range(seeds)]
            alarms += sum(bool(list(find_faults(p, TOLERANCES[precision]))) for p in found)
            largest.append(_largest([_distances(parity) for parity in found]))
            _print(f"{precision} {model}", largest[-1])
        tolerance = TOLERANCES[precision]
        _print(
            f"{precision} tolerance",
            Distances(
                tolerance.distance,
                1 - tolerance.cosine,
                tolerance.first_loss,
                tolerance.gradient_norm,
                tolerance.early_loss,
                tolerance.late_loss,
            ),
        )
    return alarms


def _faults(seeds: int) -> list[str]:
    print(f"\nfaults, the smallest of {seeds} seeds and of the families")
    missed = []
    for precision in PRECISIONS:
        for fault in FAULTS:
            if fault is ComputesInBf16 and precision != "fp32":
                continue  # it is what was asked for
            if fault is ComputesInFp32 and precision == "fp32":
                continue
            models = [m for m in MODELS if fault is not NoPositions or "gpt2" not in m]
            found = [
                _gate(model, precision, seed, fault) for model in models for seed in range(seeds)
            ]
            if not all(list(find_faults(parity, TOLERANCES[precision])) for parity in found):
                missed.append(f"{fault.__name__} in {precision}")
            _print(f"{precision} {fault.__name__}", _smallest([_distances(p) for p in found]))
    return missed


def _gate(
    model: str,
    precision: Precision,
    seed: int,
    make_step: Callable[..., TrainingStep] | None = None,
) -> Parity:
    order = _order(model, precision, seed)
    backend = CpuBackend.open(Claim(precision=precision, threads=1))
    return Parity(
        at_seconds=0.0, **run_parity_gate(order, backend, None, make_step or TrainingStep)
    )


def _order(model: str, precision: Precision, seed: int) -> WorkOrder:
    # A processor is not given fp8 by planning; its matmuls are right all the same.
    planned = "bf16" if precision == "fp8" else precision
    order = plan_case({"model": model, "workload.precision": planned}).order
    return replace(order, precision=precision, seed=seed, stream=replace(order.stream, seed=seed))


def _distances(parity: Parity) -> Distances:
    losses = [_apart(a, b) for a, b in zip(parity.losses, parity.reference_losses, strict=True)]
    points = parity.points
    return Distances(
        max(_known(p.worst_distance) for p in points),
        max(1 - p.least_cosine if p.least_cosine is not None else float("inf") for p in points),
        max(_apart(p.loss, p.reference_loss) for p in points),
        max(_apart(p.gradient_norm, p.reference_gradient_norm) for p in points),
        max(losses[1:EARLY_STEPS]),
        max(losses[EARLY_STEPS:]),
    )


def _apart(value: float | None, expected: float) -> float:
    return float("inf") if value is None else abs(value / expected - 1)


def _known(value: float | None) -> float:
    return float("inf") if value is None else value


def _largest(all_distances: list[Distances]) -> Distances:
    return Distances(*(max(getattr(d, n) for d in all_distances) for n in Distances.__slots__))


def _smallest(all_distances: list[Distances]) -> Distances:
    return Distances(*(min(getattr(d, n) for d in all_distances) for n in Distances.__slots__))


def _print(name: str, distances: Distances) -> None:
    cells = "  ".join(f"{n} {getattr(distances, n):.1e}" for n in Distances.__slots__)
    print(f"{name:30s} {cells}", flush=True)


if __name__ == "__main__":
    main()
