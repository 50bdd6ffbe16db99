"""Reports of `neuron-monitor`: the samples' figures, and that no report whatever can hurt."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.machine.neuron_report import parse_report
from trnbench.machine.source import QUANTITIES
from trnbench.protocol.codec import encode
from trnbench.schema.measurement import Reading, parse_record

DATA = Path(__file__).resolve().parents[2] / "data" / "neuron"
SAMPLE = (DATA / "neuron-monitor.sample.jsonl").read_text().splitlines()
TRN1 = (DATA / "neuron-monitor.trn1-variant.jsonl").read_text().splitlines()
TRAINING = json.loads(SAMPLE[2])


def parsed(line: str) -> list[Reading]:
    readings = parse_report(line, 7.0)
    assert readings is not None
    return readings


def whole(report: Any) -> Reading:
    """Return the reading of all cores together."""
    (reading,) = [r for r in parsed(json.dumps(report)) if r.device is None]
    return reading


def core(report: Any, index: int) -> Reading:
    (reading,) = [r for r in parsed(json.dumps(report)) if r.device == index]
    return reading


def changed(change: Callable[[dict[str, Any]], Any], runtime: int = 0) -> Any:
    """Return the report of steady training with a change in the report of one rank."""
    report = copy.deepcopy(TRAINING)
    change(report["neuron_runtime_data"][runtime]["report"])
    return report


# --- the samples --------------------------------------------------------------------------------


def test_before_any_process_there_is_the_host_s_memory_alone() -> None:
    for line, used in ((SAMPLE[0], 6442450944.0), (TRN1[0], 20591788032.0)):
        (reading,) = parsed(line)
        assert (reading.source, reading.device) == ("neuron-monitor", None)
        assert (reading.is_valid, reading.note) == (True, None)
        assert reading.values == {"memory_system_bytes": used}


def test_while_the_ranks_compile_there_is_no_latency_and_no_load() -> None:
    readings = parsed(SAMPLE[1])
    assert [r.device for r in readings] == [0, 1, 2, 3, None]
    for reading in readings[:-1]:
        assert reading.values == {
            "utilization_share": 0.0,
            "flops_per_second": 0.0,
            "memory_tensors_bytes": 4294967296.0,
            "memory_model_code_bytes": 0.0,
            "memory_constants_bytes": 0.0,
            "memory_runtime_bytes": 1048576.0,
            "memory_scratchpad_bytes": 0.0,
            "memory_used_bytes": 4296015872.0,
        }
    assert "latency_p50_seconds" not in readings[-1].values
    assert readings[-1].values["executions_completed"] == 0.0
    assert readings[-1].values["runtime_busy_cpus"] == pytest.approx(4 * 1.9275)


def test_steady_training_is_told_by_core_and_as_a_whole() -> None:
    *cores, total = parsed(SAMPLE[2])
    assert [r.device for r in cores] == [0, 1, 2, 3]
    assert [r.values["utilization_share"] for r in cores] == pytest.approx(
        [0.9137, 0.9102, 0.9088, 0.9119]
    )
    assert cores[0].values == pytest.approx(
        {
            "utilization_share": 0.9137,
            "flops_per_second": 73.12e12,
            "memory_tensors_bytes": 12884901888.0,
            "memory_model_code_bytes": 176285056.0,
            "memory_constants_bytes": 134217728.0,
            "memory_runtime_bytes": 1048576.0,
            "memory_scratchpad_bytes": 3221225472.0,
            "memory_used_bytes": 16417678720.0,
        }
    )
    assert total.values == pytest.approx(
        {
            "memory_used_bytes": 4 * 16417678720.0,
            "memory_host_bytes": 4 * 6997643264.0,
            "memory_system_bytes": 41875931136.0,
            "executions_completed": 88.0,
            "executions_failed": 0.0,
            "numerical_errors": 0.0,
            "latency_p50_seconds": 0.2216,
            "device_latency_p50_seconds": 0.2204,
            "runtime_busy_cpus": 4 * 0.5435,
            "ecc_corrected": 0.0,
            "ecc_uncorrected": 0.0,
        }
    )
    assert all(r.is_valid and r.note is None and not r.flags for r in [*cores, total])


def test_numerical_errors_are_counted_and_flag_the_rank_that_had_them() -> None:
    readings = parsed(SAMPLE[3])
    total = readings[-1].values
    assert total["numerical_errors"] == 3.0
    assert total["executions_completed"] == 19.0 + 3 * 22.0
    assert total["executions_failed"] == 0.0
    flags = {r.device: r.flags for r in readings}
    assert flags == {0: ["numerical_errors"], 1: [], 2: [], 3: [], None: ["numerical_errors"]}


def test_after_the_processes_are_gone_nothing_is_said_of_cores() -> None:
    (reading,) = parsed(SAMPLE[4])
    assert reading.values == {
        "memory_system_bytes": 7516192768.0,
        "ecc_corrected": 0.0,
        "ecc_uncorrected": 0.0,
    }


def test_power_temperature_and_clock_are_never_told() -> None:
    told = {name for line in SAMPLE + TRN1 for r in parsed(line) for name in r.values}
    assert told <= QUANTITIES.keys()
    assert not {n for n in told if n.endswith(("_watts", "_joules", "_celsius", "_hertz"))}


# --- variants -----------------------------------------------------------------------------------


def test_older_tools_count_no_operations_or_name_them_otherwise() -> None:
    def rename(report: dict[str, Any]) -> None:
        told = report["neuroncore_counters"]["neuroncores_in_use"]["0"]
        told["effective_flops"] = told.pop("flops")

    def remove(report: dict[str, Any]) -> None:
        del report["neuroncore_counters"]["neuroncores_in_use"]["0"]["flops"]

    assert core(changed(rename), 0).values["flops_per_second"] == 73.12e12
    assert "flops_per_second" not in core(changed(remove), 0).values


def test_both_spellings_of_numerical_are_read() -> None:
    def respell(report: dict[str, Any]) -> None:
        errors = report["execution_stats"]["error_summary"]
        del errors["numerical"]
        errors["numeric"] = 5

    def leave_out(report: dict[str, Any]) -> None:
        del report["execution_stats"]["error_summary"]
        report["execution_stats"]["execution_summary"]["completed_with_num_err"] = 2

    assert whole(changed(respell)).values["numerical_errors"] == 5.0
    assert whole(changed(leave_out)).values["numerical_errors"] == 2.0


def test_a_rank_that_has_executed_nothing_leaves_the_others_latency() -> None:
    def make_null(report: dict[str, Any]) -> None:
        report["execution_stats"]["latency_stats"] = {"total_latency": None, "device_latency": None}

    assert whole(changed(make_null, runtime=3)).values["latency_p50_seconds"] == 0.2215


@pytest.mark.parametrize("group", ["execution_stats", "memory_used", "neuroncore_counters"])
def test_a_missing_group_makes_no_partial_sum(group: str) -> None:
    every = whole(TRAINING).values.keys()
    summed = {
        "execution_stats": {"executions_completed", "executions_failed", "numerical_errors"},
        "memory_used": {"memory_used_bytes", "memory_host_bytes"},
        "neuroncore_counters": set(),
    }
    assert whole(changed(lambda r: r.pop(group))).values.keys() == every - summed[group]


def test_a_group_that_tells_an_error_is_not_believed_and_the_error_is_told() -> None:
    def spoil(report: dict[str, Any]) -> None:
        report["memory_used"]["error"] = "cannot read the counters"

    report = changed(spoil)
    assert "memory_used_bytes" not in whole(report).values
    assert whole(report).note == "memory_used: cannot read the counters"
    assert "memory_tensors_bytes" not in core(report, 0).values
    assert core(report, 0).values["utilization_share"] == pytest.approx(0.9137)


def test_a_report_of_nothing_but_an_error_is_not_valid() -> None:
    report = {"neuron_runtime_data": [{"pid": 1, "error": "gone"}], "system_data": {}}
    (reading,) = parsed(json.dumps(report))
    assert (reading.is_valid, reading.values, reading.note) == (False, {}, "process: gone")


def test_memory_errors_are_summed_and_name_their_device() -> None:
    report = copy.deepcopy(TRAINING)
    devices = report["system_data"]["neuron_hw_counters"]["neuron_devices"]
    devices[0]["sram_ecc_corrected"] = 4
    # An older tool counts no corrected errors in SRAM.
    devices.append({"neuron_device_index": 1, "mem_ecc_corrected": 1, "mem_ecc_uncorrected": 2})
    reading = whole(report)
    assert (reading.values["ecc_corrected"], reading.values["ecc_uncorrected"]) == (5.0, 2.0)
    assert reading.flags == ["ecc_uncorrected"]
    assert reading.note == "uncorrected memory errors on Neuron device 1"


def test_a_device_failure_is_a_flag_of_the_rank_that_met_it() -> None:
    def fail(report: dict[str, Any]) -> None:
        report["execution_stats"]["error_summary"]["hardware"] = 1
        report["execution_stats"]["execution_summary"]["timed_out"] = 2

    report = changed(fail, runtime=1)
    assert core(report, 1).flags == ["errors_hardware"]
    assert core(report, 0).flags == []
    assert whole(report).values["executions_failed"] == 2.0


def test_a_load_is_a_share_of_one_though_it_be_rounded_up() -> None:
    def load(percent: float) -> Callable[[dict[str, Any]], Any]:
        def change(report: dict[str, Any]) -> None:
            told = report["neuroncore_counters"]["neuroncores_in_use"]["0"]
            told["neuroncore_utilization"] = percent

        return change

    assert core(changed(load(100.2)), 0).values["utilization_share"] == 1.0
    assert "utilization_share" not in core(changed(load(9137)), 0).values


def test_a_kind_of_memory_that_is_not_known_makes_the_core_s_sum_unknown() -> None:
    def add(report: dict[str, Any]) -> None:
        used = report["memory_used"]["neuron_runtime_used_bytes"]
        used["usage_breakdown"]["neuroncore_memory_usage"]["0"]["collectives"] = 2**30

    assert "memory_used_bytes" not in core(changed(add), 0).values
    assert "memory_used_bytes" in core(changed(add), 1).values


@pytest.mark.parametrize(
    "line",
    [
        "",
        "starting up",
        "[1, 2]",
        "3",
        '{"a": 1}',
        SAMPLE[2][:1000],
        "[" * 100_000,
        b"\xff\xfe\x00",
        '{"system_data": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_report_is_told_from_one(line: str | bytes) -> None:
    assert parse_report(line, 0.0) is None


def test_a_report_that_says_nothing_is_no_reading() -> None:
    assert parse_report('{"system_data": null}', 0.0) == []
    assert parse_report('{"neuron_runtime_data": 3, "system_data": []}', 0.0) == []


# --- anything at all ----------------------------------------------------------------------------

RUBBISH = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.integers(min_value=-(10**400), max_value=10**400),
    st.floats(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["0", "-1", "x", "error", "p50"]), st.floats(), max_size=2),
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Return a report of the samples with keys deleted and values replaced."""
    report = json.loads(draw(st.sampled_from(SAMPLE + TRN1)))
    for _ in range(draw(st.integers(1, 8))):
        place: Any = report
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            below = place[key]
            if isinstance(below, dict | list) and below and draw(st.integers(0, 9)):
                place = below
            elif draw(st.booleans()):
                del place[key]
                break
            else:
                place[key] = draw(RUBBISH)
                break
    return json.dumps(report)


@given(damaged())
def test_a_damaged_report_never_raises_and_every_figure_is_one(line: str) -> None:
    readings = parse_report(line, 1.0) or []
    devices = [reading.device for reading in readings]
    assert len(set(devices)) == len(devices)
    for reading in readings:
        assert parse_record(encode(reading)) == reading  # which no NaN would survive
        assert reading.values.keys() <= QUANTITIES.keys()
        assert all(math.isfinite(value) and value >= 0 for value in reading.values.values())
        assert reading.values.get("utilization_share", 0.0) <= 1.0
        assert reading.is_valid == bool(reading.values)


@given(st.text() | st.binary())
def test_a_line_of_anything_never_raises(line: str | bytes) -> None:
    parse_report(line, 1.0)
