"""Two ranks train as one process does that sees the tokens of both."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.process.train.parallel.faults import FAULTS, RIGHT
from tests.process.train.parallel.variants import VARIANTS, alone, train
from tests.ranks import RankEnd, run_ranks
from trnbench.analysis.checks.parity import find_faults, tolerance_of
from trnbench.protocol.codec import decode
from trnbench.protocol.parallel import Layout
from trnbench.protocol.records import CHILD_RECORDS
from trnbench.run.contradictions import Rules

LOSS, NORM = 2e-6, 5e-6
"""Relative, in fp32; weights after ten steps may be four times as far: AdamW divides by roots."""
LOW_LOSS, LOW_NORM = 1e-4, 5e-3
"""In lower precision."""
ADD_TWO_NUMBERS = ("ddp llama", "ddp tied", "ddp gpt2", "ddp chunked", "ddp bf16")
"""Of these each rank has one pass, so that the sums have one order: they are equal to the bit."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ends(folder: Path) -> list[RankEnd]:
    """Return both ranks after all variants: they are started once."""
    return run_ranks(folder, 2, "tests.process.train.parallel.variants", str(folder))


@pytest.fixture(scope="module")
def answers(ends: list[RankEnd]) -> list[dict[str, Any]]:
    for end in ends:
        assert end.exit_code == 0, end.printed
    return [end.answer for end in ends]


def mean(first: list[float], second: list[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(first, second, strict=True)]


def norm_of(weights: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float((each.double() ** 2).sum()) for each in weights.values()))


@pytest.mark.parametrize("name", VARIANTS)
def test_two_ranks_train_as_one(name: str, answers: list[dict[str, Any]], folder: Path) -> None:
    first, second = (answer[name] for answer in answers)
    order = VARIANTS[name]
    one = train(alone(order))
    loss, norm = (LOSS, NORM) if order.precision == "fp32" else (LOW_LOSS, LOW_NORM)
    losses = mean(first["losses"], second["losses"])
    assert losses == pytest.approx(one.losses, rel=loss)
    assert first["gradient_norms"] == pytest.approx(one.gradient_norms, rel=norm)
    number = list(VARIANTS).index(name)
    weights = torch.load(folder / f"{number}.pt", weights_only=True)
    assert weights.keys() == one.weights.keys()
    apart = norm_of({key: weights[key] - whole for key, whole in one.weights.items()})
    assert apart < 4 * norm * norm_of(one.weights)
    if name in ADD_TWO_NUMBERS:
        assert all(torch.equal(weights[key], whole) for key, whole in one.weights.items())


@pytest.mark.parametrize("name", VARIANTS)
def test_ranks_agree_and_their_data_differ(name: str, answers: list[dict[str, Any]]) -> None:
    first, second = (answer[name] for answer in answers)
    assert first["gradient_norms"] == second["gradient_norms"]
    is_replica = VARIANTS[name].layout.data_parallel_shard_size == 1
    assert (first["digest"] == second["digest"]) == is_replica
    assert first["program"] == second["program"]
    assert first["losses"][0] != second["losses"][0]


def faults_seen(name: str, layout: Layout, answers: list[dict[str, Any]]) -> list[str]:
    """Return what the gate of any rank, and the comparison of ranks, finds wrong."""
    sent = [answer["faults"][name] for answer in answers]
    records = {kind: [decode(each[kind], CHILD_RECORDS) for each in sent] for kind in sent[0]}
    tolerance = tolerance_of("fp32", "llama")
    seen = [fault for parity in records["parity"] for fault in find_faults(parity, tolerance)]
    rules = Rules(layout, "gloo", "fp32")
    for kind in ("block", "replica"):
        seen += [fault.what for fault in rules.faults(records[kind])]
    return seen


@pytest.mark.parametrize("name", RIGHT)
def test_right_training_is_beyond_doubt(name: str, answers: list[dict[str, Any]]) -> None:
    assert faults_seen(name, RIGHT[name][0], answers) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("never shares gradients", ("from production weights the gradient", "gradient_norms")),
        ("shares gradients twice", ("norm of all gradients",)),
        ("same tokens", ("from production weights the gradient", "losses")),
        ("same tokens, sharded", ("from production weights the gradient", "losses")),
        ("one skips steps", ("the loss of step", "weights")),
        ("clipped per rank", ("gradient_norms",)),
    ],
)
def test_wrong_training_is_seen(
    name: str, told: tuple[str, ...], answers: list[dict[str, Any]]
) -> None:
    seen = faults_seen(name, FAULTS[name][0], answers)
    for text in told:
        assert any(text in each for each in seen), seen


def test_every_fault_is_looked_for() -> None:
    (mark,) = test_wrong_training_is_seen.pytestmark
    assert [name for name, _ in mark.args[1]] == list(FAULTS)
