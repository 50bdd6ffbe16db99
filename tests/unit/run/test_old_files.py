"""Files of every version load for ever, and come to the same figures."""

import hashlib
from pathlib import Path

import pytest

from trnbench.analysis.analyze import analyze
from trnbench.run.store import measurement_bytes, read_measurement, read_plan, read_result

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
        read_measurement(case),
        plan_sha256=hashlib.sha256((case / "plan.json").read_bytes()).hexdigest(),
        run_id=stored.run_id,
        measurement_bytes=measurement_bytes(case),
    )
    assert derived.standing == stored.standing
    for name, metric in stored.metrics.items():
        again = derived.metrics[name]
        assert again.reason == metric.reason
        for now, then in ((again.value, metric.value), (again.low, metric.low)):
            assert now == (None if then is None else pytest.approx(then, rel=1e-12)), name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_a_stored_case_names_no_machine(case: Path) -> None:
    for path in case.iterdir():
        text = path.read_text()
        assert "/home/" not in text
        assert "/tmp/" not in text
