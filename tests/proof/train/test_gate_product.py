"""The gate in every precision: each family, each way of a step, and each fault that shows there.

`tests/torch/train/test_gate.py` has a choice of these, in which each stands at least twice.
"""

from pathlib import Path

import pytest

from tests.faulty_steps import FAULTS
from tests.torch.train.test_gate import (
    FAMILIES,
    PRECISIONS,
    RIGHT,
    SEEN,
    STEPS,
    WAYS,
    faults_of,
    gated_order,
    low_precisions_that_show,
)
from trnbench.protocol.orders import Precision
from trnbench.train.loop import TrainingStep

ALL_FAULTS = [(fault, low) for fault in FAULTS for low in low_precisions_that_show(fault)]
ALL_WAYS = [
    (name, precision)
    for name in STEPS
    for precision in PRECISIONS
    if (name, precision) != ("adapters", "fp8")  # planning refuses them
]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_right_training_has_no_fault(family: str, precision: Precision, references: Path) -> None:
    assert faults_of(gated_order(FAMILIES[family], precision), references) == []


@pytest.mark.parametrize(("name", "precision"), ALL_WAYS)
def test_each_way_of_carrying_out_the_step_has_no_fault(
    name: str, precision: Precision, references: Path
) -> None:
    assert faults_of(gated_order(precision=precision, step=STEPS[name]), references) == []


@pytest.mark.parametrize(("fault", "precision"), ALL_FAULTS)
def test_a_fault_is_caught(
    fault: type[TrainingStep], precision: Precision, references: Path
) -> None:
    assert faults_of(gated_order(precision=precision), references, fault)


def test_the_choice_that_is_made_at_every_change_is_of_these() -> None:
    assert set(WAYS) <= set(ALL_WAYS)
    assert {name for name, _ in RIGHT} == FAMILIES.keys()
    assert {name for name, _ in WAYS} == STEPS.keys()
    assert {fault for fault, _ in SEEN} == set(FAULTS)
