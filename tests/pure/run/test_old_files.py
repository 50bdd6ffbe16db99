"""Files of every version load for ever, and come to the same figures."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from trnbench.analysis.analyze import analyze
from trnbench.errors import DataError
from trnbench.run.results import load_result
from trnbench.run.store import (
    MEASUREMENT_FILE,
    measurement_bytes,
    read_plan,
    read_records,
    read_result,
)

STORED = Path(__file__).resolve().parents[2] / "golden" / "schema"
MENDED = {"no product is made in fp8": "no matmul is done in fp8"}
"""Reasons whose English was mended since."""

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
        assert again.reason == MENDED.get(metric.reason or "", metric.reason)
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stored_result_says_what_its_plan_does(case: Path) -> None:
    result, plan = read_result(case), read_plan(case)
    assert result is not None
    assert result.workload == plan.workload
    known = ("name", "family", "parameter_count", "layers", "hidden_size", "vocabulary_size")
    for key in known:
        assert getattr(result.model, key) == getattr(plan.model, key), key
    for key in ("backend", "accelerator", "devices_used", "chips_billed", "instances_billed"):
        assert getattr(result.device, key) == getattr(plan.device, key), key
    assert result.environment is not None
    assert result.threads == result.environment.threads is not None


def test_a_stored_result_of_an_external_model_keeps_whose_code_it_was(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if "llama" in case.name)
    document = json.loads((case / "result.json").read_text())
    document["model"] |= {"layers": None, "hidden_size": None, "guest": "python mine:build"}
    document["device"]["name"] = None
    (tmp_path / "result.json").write_text(json.dumps(document))
    result = read_result(tmp_path)
    assert result is not None
    assert result.model.external_name == "python mine:build"
    assert (result.environment, result.device_count, result.versions) == (None, 1, {})


def test_a_result_alone_of_format_1_is_read_and_a_changed_one_refused(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if "llama" in case.name)
    text = (case / "result.json").read_text()
    (tmp_path / "result.json").write_text(text)
    assert load_result(tmp_path).standing == "sound"
    (tmp_path / "result.json").write_text(text.replace('"sound"', '"doubtful"', 1))
    with pytest.raises(DataError, match="was changed since it was written"):
        load_result(tmp_path)
