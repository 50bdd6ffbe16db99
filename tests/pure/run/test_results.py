"""Results on disk: read while they are up to date, else derived again."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.builders import make_measurement, make_plan
from tests.comparisons import edit
from trnbench.errors import DataError
from trnbench.protocol.codec import encode
from trnbench.run.results import load_result
from trnbench.run.store import CaseFolder, RunFolder


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A case's folder as a finished run leaves it, but for result.json."""
    plan = make_plan()
    folder = tmp_path / "a-run" / plan.case_id
    folder.mkdir(parents=True)
    text = plan.model_dump_json()
    (folder / "plan.json").write_text(text)
    measurement = make_measurement(plan)
    header = json.loads(encode(measurement.header))
    header["plan_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    records = [
        measurement.environment, *measurement.ceilings, measurement.built, *measurement.blocks,
        *measurement.watches, measurement.memory, measurement.outcome,
    ]  # fmt: skip
    lines = [json.dumps(header), *map(encode, records)]
    (folder / "measurement.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_result_is_derived_where_there_is_none(case: Path) -> None:
    result = load_result(case)
    assert result.standing == "sound", result.checks
    assert result.run_id == "a-run"
    assert result.measurement_bytes == (case / "measurement.jsonl").stat().st_size


def test_an_up_to_date_result_is_read_and_not_derived(case: Path) -> None:
    stored = load_result(case).model_copy(update={"suite": "as it was stored"})
    CaseFolder(case).write_result(stored)
    assert load_result(case).suite == "as it was stored"


def test_a_copy_whose_files_have_other_dates_is_read_and_not_derived(case: Path) -> None:
    stored = load_result(case).model_copy(update={"suite": "as it was stored"})
    CaseFolder(case).write_result(stored)
    written = (case / "result.json").stat().st_mtime_ns
    os.utime(case / "measurement.jsonl", ns=(written + 10**9, written + 10**9))
    assert load_result(case).suite == "as it was stored"


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "changed by hand"},
        {"standing": "doubtful"},
        {"metrics__tokens_per_second__high": 1e9},
        {"metrics__usd_per_million_tokens__value": 1e-9},
        {"seal": None, "suite": "changed by hand"},
    ],
)
def test_a_result_that_was_changed_since_is_derived_again_and_that_is_said(
    case: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    derived = load_result(case)
    CaseFolder(case).write_result(derived)
    edit(case / "result.json", **change)
    assert load_result(case) == derived
    assert "is not as it was written: its figures were derived again" in caplog.text


def test_records_that_were_changed_since_are_what_counts_and_that_is_said(
    case: Path, caplog: pytest.LogCaptureFixture
) -> None:
    CaseFolder(case).write_result(load_result(case))
    path = case / "measurement.jsonl"
    text = path.read_text().replace('"seconds":0.05', '"seconds":0.04')
    path.write_text(text)
    later = (case / "result.json").stat().st_mtime_ns + 1
    os.utime(path, ns=(later, later))
    assert load_result(case).metrics["step_time_mean_seconds"].value == pytest.approx(
        0.044, rel=0.01
    )
    assert "its records are not those of its result.json" in caplog.text


@pytest.mark.parametrize("seal", ["whole", None, "", "0" * 64])
def test_a_result_that_was_changed_and_has_no_records_is_refused(
    case: Path, seal: str | None
) -> None:
    CaseFolder(case).write_result(load_result(case))
    (case / "measurement.jsonl").unlink()
    assert load_result(case).seal is None
    sealed = {} if seal == "whole" else {"seal": seal}
    edit(case / "result.json", metrics__tokens_per_second__value=1e9, **sealed)
    with pytest.raises(DataError, match="was changed since it was written, and its records"):
        load_result(case)


@pytest.mark.parametrize("fault", ["grown", "damaged", "newer"])
def test_a_result_that_cannot_be_used_is_derived_again(case: Path, fault: str) -> None:
    stored = load_result(case).model_copy(update={"suite": "as it was stored"})
    text = stored.model_dump_json()
    if fault == "grown":
        with (case / "measurement.jsonl").open("a") as file:
            file.write('{"kind": "fini')
    elif fault == "damaged":
        text = text[:100]
    else:
        text = text.replace('"schema_version":2', '"schema_version":3')
    (case / "result.json").write_text(text)
    assert load_result(case).suite == "a suite"


def test_a_plan_that_was_changed_is_noticed(case: Path) -> None:
    plan = case / "plan.json"
    plan.write_text(plan.read_text().replace('"global_batch_size":8', '"global_batch_size":80'))
    assert load_result(case).standing == "invalid"


def test_a_result_without_its_records_is_read_and_a_damaged_one_is_told(case: Path) -> None:
    CaseFolder(case).write_result(load_result(case))
    (case / "measurement.jsonl").unlink()
    assert load_result(case).standing == "sound"
    (case / "result.json").write_text("{}")
    with pytest.raises(DataError, match=r"result\.json"):
        load_result(case)


def test_nothing_to_read_is_told_by_its_path(case: Path) -> None:
    (case / "plan.json").unlink()
    with pytest.raises(DataError, match=r"plan\.json"):
        load_result(case)


def test_a_case_that_is_being_measured_is_not_told_as_cut_off(case: Path) -> None:
    records = case / "measurement.jsonl"
    records.write_text("\n".join(records.read_text().splitlines()[:-1]) + "\n")
    run = RunFolder.open(case.parent)
    going_on = load_result(case)
    run.close()
    told = json.dumps(going_on.model_dump(mode="json"))
    assert "still going on" in told
    assert "did not finish" not in told
    assert "did not finish" in load_result(case).outcome.reason
