"""Four ranks on two axes train as one process does that sees the tokens of all."""

import math
from pathlib import Path

import pytest
import torch

from tests.each import check_each
from tests.process.train.parallel.variants import OF_FOUR, alone, train
from tests.ranks import run_ranks
from trnbench.protocol.orders import WorkOrder


def test_four_ranks_train_as_one(tmp_path: Path) -> None:
    ends = run_ranks(tmp_path, 4, "tests.process.train.parallel.variants", str(tmp_path))
    for end in ends:
        assert end.exit_code == 0, end.printed

    def check(number: int, name: str, order: WorkOrder) -> None:
        one = train(alone(order))
        told = [end.answer[name] for end in ends]
        losses = [sum(each) / len(ends) for each in zip(*(t["losses"] for t in told), strict=True)]
        assert losses == pytest.approx(one.losses, rel=2e-6)
        for each in told:
            assert each["gradient_norms"] == pytest.approx(one.gradient_norms, rel=5e-6)
            assert each["program"] == told[0]["program"]
        weights = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        apart = norm_of({key: weights[key] - whole for key, whole in one.weights.items()})
        assert apart < 2e-5 * norm_of(one.weights)

    check_each([(number, *each) for number, each in enumerate(OF_FOUR.items())], check)


def norm_of(weights: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float((each.double() ** 2).sum()) for each in weights.values()))
