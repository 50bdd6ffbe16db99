"""Files of every version load for ever, and come to the same figures."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from trnbench.analysis.analyze import analyze
from trnbench.run.store import (
    MEASUREMENT_FILE,
    measurement_bytes,
    read_plan,
    read_records,
    read_result,
)

STORED = Path(__file__).resolve().parents[2] / "golden" / "schema"
CASES = sorted(path.parent for path in STORED.glob("v*/*/plan.json"))


def test_every_version_has_left_a_case() -> None:
    assert {case.parent.name for case in CASES} == {"v1"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_a_stored_case_is_read_and_derived_again_to_the_same_figures(case: Path) -> None:
    stored = read_result(case)
    assert stored is not None, "the stored result belongs to the stored measurement"
    derived = analyze(
        read_plan(case),
        read_records(case / MEASUREMENT_FILE),
        plan_sha256=hashlib.sha256((case / "plan.json").read_bytes()).hexdigest(),
        run_id=stored.run_id,
        measurement_bytes=measurement_bytes(case),
    )
    assert derived.standing == stored.standing
    for name, metric in stored.metrics.items():
        again = derived.metrics[name]
        assert again.reason == metric.reason
        assert again.value == same_as(metric.value), name
        # Another rule set is another interval, and the result says by which it was made.
        if derived.timing.rules == stored.timing.rules:
            assert again.low == same_as(metric.low), name
        elif metric.low is not None:
            assert again.low is not None
            assert again.low <= metric.low * (1 + 1e-12), "stats-v2 sees more noise, never less"


def same_as(then: float | None) -> Any:
    return None if then is None else pytest.approx(then, rel=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_a_stored_case_names_no_machine(case: Path) -> None:
    for path in case.iterdir():
        text = path.read_text()
        assert "/home/" not in text
        assert "/tmp/" not in text
