"""The user's own results and ceilings in place of published rows."""

from typing import Any

import pytest

from tests.builders import make_plan, make_result
from trnbench.catalog.models import models
from trnbench.errors import DataError
from trnbench.estimate.calibration import calibration
from trnbench.estimate.machine import machine_of
from trnbench.estimate.own import calibrated_by, own_step
from trnbench.estimate.step import estimate_step
from trnbench.estimate.terms import Setup, terms_of
from trnbench.protocol.orders import MatmulTask, StepSettings
from trnbench.schema.microbench import PeakDocument, PeakReading
from trnbench.schema.result import MetricValue, Result

LLAMA = models()["llama3-8b"].shape


def measured(chip: str, factor: float, name: str = "case-1", **device: Any) -> Result:
    """Return a result of llama3-8b on one chip that took `factor` times physics."""
    result = make_result(make_plan())
    workload = result.workload.model_copy(
        update={
            "sequence_length": 4096, "global_batch_size": 4, "micro_batch_size": 1,
            "tokens_per_step": 4 * 4096, "precision": "pure_bf16",
        }
    )  # fmt: skip
    setup = Setup(
        shape=LLAMA,
        sequence_length=4096,
        global_batch_size=4,
        precision="pure_bf16",
        step=workload.step or StepSettings(),
        machine=machine_of(chip),
        chips=1,
    )
    seconds = terms_of(setup, calibration()).seconds * factor
    return result.model_copy(
        update={
            "case_id": name,
            "standing": "sound",
            "model": result.model.model_copy(update={"name": "llama3-8b", "shape": LLAMA}),
            "workload": workload,
            "device": result.device.model_copy(
                update={"accelerator": chip, "instance": None, "chips_used": 1, **device}
            ),
            "metrics": {**result.metrics, "step_time_mean_seconds": MetricValue(value=seconds)},
        }
    )


def test_own_cases_replace_the_published_rows_of_their_kind() -> None:
    known = calibrated_by([measured("h200", 2.0), measured("h200", 2.2, "case-2")])
    row = known.of("h200", "dense_bf16")
    assert row is not None
    assert row.slowness == pytest.approx((2.0 * 2.2) ** 0.5)
    assert row.low <= 2.0 < 2.2 <= row.high
    assert known.of("h100-sxm", "dense_bf16") == calibration().of("h100-sxm", "dense_bf16")
    found = estimate_step(own_step(measured("h200", 1.0)).setup, known)
    assert found.basis == "2 cases that you measured (case-1, case-2)"
    assert found.seconds == pytest.approx(
        terms_of(own_step(measured("h200", 1.0)).setup, known).seconds * row.slowness
    )


def test_an_own_case_gives_a_chip_without_data_an_estimate() -> None:
    known = calibrated_by([measured("l4", 1.5)])
    found = estimate_step(own_step(measured("l4", 1.0)).setup, known)
    assert found.has_data
    assert found.seconds_low < (found.seconds or 0) < (found.seconds_high or 0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"standing": "invalid"}, "it has no step time that counts"),
        ({"metrics": {}}, "it has no step time that counts"),
    ],
)
def test_a_result_that_says_nothing_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=f"case case-1 cannot calibrate an estimate: {says}"):
        calibrated_by([measured("h200", 1.0).model_copy(update=changes)])
    with pytest.raises(DataError, match="is no chip of the catalog"):
        calibrated_by([measured("h200", 1.0, accelerator=None)])


def ceilings(chip: str | None, flops_per_second: float) -> PeakDocument:
    task = MatmulTask(
        name="bf16 square 4096", precision="bf16", m=4096, n=4096, k=4096, layout="nt"
    )
    seconds = 2 * 4096**3 / flops_per_second
    reading = PeakReading(
        group="square", label="matmul", task=task, runs=3, seconds=(seconds, seconds, seconds)
    )
    return PeakDocument(
        trnbench_version="0.1.0",
        started_at="2026-11-24T00:00:00Z",
        status="finished",
        reason=None,
        model="llama3-8b",
        tokens=4096,
        accelerator=chip,
        devices_per_chip=1,
        environment=None,
        planned_products=(),
        readings=(reading,),
    )


def test_ceilings_serve_a_chip_without_steps_and_say_so() -> None:
    setup = own_step(measured("l4", 1.0)).setup
    assert estimate_step(setup).seconds is None
    fast = estimate_step(setup, calibrated_by([], [ceilings("l4", 100e12)]))
    slow = estimate_step(setup, calibrated_by([], [ceilings("l4", 50e12)]))
    assert fast.seconds is not None
    assert slow.seconds is not None
    assert slow.seconds > fast.seconds
    assert "its ceilings, which you measured" in fast.basis
    assert (fast.seconds_high or 0) / fast.seconds_low > 2


def test_ceilings_of_a_chip_with_published_steps_change_nothing() -> None:
    known = calibrated_by([], [ceilings("h200", 500e12)])
    assert known == calibration()


def test_ceilings_of_a_processor_are_refused() -> None:
    with pytest.raises(DataError, match="ceilings of a chip in no datasheet"):
        calibrated_by([], [ceilings(None, 1e12)])
