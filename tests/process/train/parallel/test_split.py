"""Ranks that each have a part of the model train as one process does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.each import check_each
from tests.process.train.parallel.split_variants import GATED, SETS, SOUND
from tests.process.train.parallel.variants import alone, train
from tests.ranks import run_ranks
from trnbench.analysis.checks.parity import find_faults, tolerance_of
from trnbench.protocol.orders import WorkOrder
from trnbench.protocol.records import Parity, ParityPoint

MODULE = "tests.process.train.parallel.split_variants"


def test_two_ranks_train_as_one(tmp_path: Path) -> None:
    answers = check_ranks(tmp_path, "two", 2)

    def check(name: str) -> None:
        for answer in answers:
            told = answer[name]
            points = [ParityPoint(**point) for point in told.pop("points")]
            parity = Parity(at_seconds=1.0, points=points, **told)
            faults = list(
                find_faults(parity, tolerance_of("fp32", GATED[name][0].own_shape.family))
            )
            assert bool(faults) != name.startswith(SOUND), faults

    check_each(GATED, check)


def check_ranks(folder: Path, kind: str, ranks: int) -> list[dict[str, Any]]:
    """Return what each rank told, once every variant of a set is compared with one process."""
    ends = run_ranks(folder, ranks, MODULE, kind, str(folder))
    assert not any(end.exit_code for end in ends), "\n".join(end.printed for end in ends)
    answers = [end.answer for end in ends]

    def check(name: str, number: int, order: WorkOrder) -> None:
        told = [answer[name] for answer in answers]
        of_data: dict[int, list[float]] = {}
        for rank, each in enumerate(told):
            of_data.setdefault(order.layout.data_index(rank), each["losses"])
            assert each["losses"] == of_data[order.layout.data_index(rank)], "same tokens"
        assert all(each["program"] == told[0]["program"] for each in told)
        means = [sum(step) / len(step) for step in zip(*of_data.values(), strict=True)]
        one = train(replace(alone(order), execution="eager"))
        of_loss, of_norm, of_weight = (
            (2e-6, 5e-6, 2e-5) if order.precision == "fp32" else (1e-4, 5e-3, 1e-2)
        )
        # Rounding to bf16 lets trainings drift apart, and sends tokens to other experts.
        steps = len(means) if order.precision == "fp32" else 4
        assert means[:steps] == pytest.approx(one.losses[:steps], rel=of_loss)
        for each in told:
            norms = each["gradient_norms"][:steps]
            assert norms == pytest.approx(one.gradient_norms[:steps], rel=of_norm)
        weights: dict[str, torch.Tensor] = {}
        for rank in range(ranks):  # a pipeline's have some of them each
            weights.update(torch.load(folder / f"{number}-{rank}.pt"))
        apart = _norm({key: weights[key] - whole for key, whole in one.weights.items()})
        assert apart < of_weight * _norm(one.weights)

    check_each(
        [(name, number, order) for number, (name, order) in enumerate(SETS[kind].items())], check
    )
    return answers


def _norm(weights: dict[str, torch.Tensor]) -> float:
    return float(sum((w.double() ** 2).sum() for w in weights.values()) ** 0.5)
