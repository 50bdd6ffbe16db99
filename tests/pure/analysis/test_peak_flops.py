"""The peak behind a utilization: whose it is, or why there is none."""

from dataclasses import replace

import pytest

from tests.builders import make_plan
from tests.pure.run.plans import H100
from trnbench.analysis.peak_flops import find_ceiling, find_peak
from trnbench.catalog.accelerators import accelerators
from trnbench.model.flops import fp8_flops_per_token
from trnbench.protocol.records import Ceiling, CeilingPoint, FoundDevice

ONE_H100 = replace(H100, device_count=1)


def test_a_cpu_has_the_best_of_the_medians_that_were_measured() -> None:
    points = [
        CeilingPoint(size=512, flops_per_second=[1e11, 9e11, 1.1e11]),
        CeilingPoint(size=1024, flops_per_second=[2e11, 2.1e11, 1.9e11]),
    ]
    found = find_peak(make_plan(), [Ceiling(at_seconds=1.0, dtype="float32", points=points)])
    assert found.flops_per_second == 2e11
    assert found.source == "measured in this run: 1024 x 1024 matrix products in float32"


def test_a_cpu_that_was_not_measured_has_no_peak() -> None:
    for ceilings in ([], [Ceiling(at_seconds=1.0, dtype="float32", points=[])]):
        found = find_peak(make_plan(), ceilings)
        assert found.flops_per_second is None
        assert "before" in (found.reason or "")


@pytest.mark.parametrize(("precision", "tflops"), [("bf16", 989.4), ("pure_bf16", 989.4)])
def test_a_known_chip_has_its_makers_dense_figure(precision: str, tflops: float) -> None:
    plan = make_plan({"workload.precision": precision}, found=(ONE_H100,))
    found = find_peak(plan, [])
    assert found.flops_per_second == pytest.approx(tflops * 1e12, rel=1e-3)
    assert found.source is not None
    assert "1 x" in found.source
    assert "h100" in found.source


def test_an_unknown_chip_has_none_and_never_a_neighbours() -> None:
    stranger = FoundDevice(
        backend="cuda", device_name="NVIDIA H100 80GB HBM9", device_count=1, proven=False
    )
    found = find_peak(make_plan(found=(stranger,)), [])
    assert found.flops_per_second is None
    assert "no peak of this device" in (found.reason or "")


def test_every_billed_chip_counts_not_only_those_used() -> None:
    plan = make_plan({"price.instance": "p5.48xlarge", "device": "cuda:0"}, found=(H100,))
    one = find_peak(make_plan(found=(ONE_H100,)), []).flops_per_second
    assert one is not None
    assert plan.device.chips_used == 1
    assert find_peak(plan, []).flops_per_second == pytest.approx(8 * one)
    unnamed = find_peak(make_plan({"device": "cuda:0"}, found=(H100,)), [])
    assert unnamed.flops_per_second == pytest.approx(8 * one)


def test_each_rank_has_its_part_of_a_processor_s_peak() -> None:
    plan, points = make_plan(), [CeilingPoint(size=512, flops_per_second=[1e11])]
    two = plan.model_copy(update={"device": plan.device.model_copy(update={"devices_used": 2})})
    found = find_peak(two, [Ceiling(at_seconds=1.0, dtype="float32", points=points)])
    assert found.flops_per_second == 2e11
    assert "2 x 512 x 512" in (found.source or "")


def test_the_better_of_two_measurements_counts_because_other_work_only_slows() -> None:
    busy, quiet = (
        Ceiling(
            at_seconds=1.0,
            dtype="float32",
            points=[CeilingPoint(size=512, flops_per_second=[rate] * 5)],
        )
        for rate in (1e11, 2e11)
    )
    for ceilings in ([busy, quiet], [quiet, busy]):
        assert find_peak(make_plan(), ceilings).flops_per_second == 2e11


def test_a_chip_has_a_ceiling_beside_its_peak_for_the_devices_that_it_drives() -> None:
    plan = make_plan(found=(ONE_H100,))
    points = [CeilingPoint(size=4096, flops_per_second=[6e14, 7e14, 6.5e14])]
    measured = [Ceiling(at_seconds=1.0, dtype="bfloat16", points=points)]
    assert find_ceiling(plan, measured).flops_per_second == 6.5e14
    assert find_peak(plan, measured).flops_per_second == pytest.approx(989.4e12, rel=1e-3)
    two = plan.device.model_copy(update={"devices_used": 2})
    found = find_ceiling(plan.model_copy(update={"device": two}), measured)
    assert found.flops_per_second == 1.3e15
    assert "2 x 4096 x 4096" in (found.source or "")


def test_work_that_is_partly_fp8_has_the_rate_of_both_parts_one_after_the_other() -> None:
    plan = make_plan({"workload.precision": "fp8"}, found=(ONE_H100,))
    found, chip = find_peak(plan, []), accelerators()[plan.device.accelerator or ""]
    flops, mix = plan.prediction.flops_per_token["matmul-causal-v1"], found.fp8
    assert mix is not None
    assert mix.flops_per_token == fp8_flops_per_token(plan.model.own_shape)
    assert (mix.flops_per_second, mix.other_flops_per_second) == (
        chip.fp8_flops_per_second,
        chip.bf16_flops_per_second,
    )
    ideal_seconds = mix.flops_per_token / mix.flops_per_second + (flops - mix.flops_per_token) / (
        mix.other_flops_per_second
    )
    assert found.flops_per_second == pytest.approx(flops / ideal_seconds, rel=1e-12)
    assert "in fp8 and" in (found.source or "")


def test_a_ceiling_of_fp8_is_made_of_two() -> None:
    plan = make_plan({"workload.precision": "fp8"}, found=(ONE_H100,))
    bf16, fp8 = (
        Ceiling(
            at_seconds=1.0,
            dtype=dtype,
            points=[CeilingPoint(size=4096, flops_per_second=[rate] * 5)],
        )
        for dtype, rate in (("bfloat16", 6e14), ("float8_e4m3fn", 1.2e15))
    )
    found = find_ceiling(plan, [bf16, fp8])
    assert found.flops_per_second is not None
    assert 6e14 < found.flops_per_second < 1.2e15
    assert "float8_e4m3fn" in (found.source or "")
    assert "bfloat16" in (found.source or "")
    for alone in ([bf16], [fp8]):
        assert "before" in (find_ceiling(plan, alone).reason or "")


def test_a_chip_without_a_published_fp8_peak_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan({"workload.precision": "fp8"}, found=(ONE_H100,))
    lacking = {
        plan.device.accelerator: replace(
            accelerators()[plan.device.accelerator or ""], fp8_flops_per_second=None
        )
    }
    monkeypatch.setattr("trnbench.analysis.peak_flops.accelerators", lambda: lacking)
    assert "no fp8 peak" in (find_peak(plan, []).reason or "")


def test_a_ceiling_that_was_left_out_says_so() -> None:
    plan = make_plan({"measure.ceiling": "false"})
    assert "measure.ceiling is off" in (find_ceiling(plan, []).reason or "")
    assert "measure.ceiling is off" in (find_peak(plan, []).reason or "")
    assert "before" in (find_ceiling(make_plan(), []).reason or "")
