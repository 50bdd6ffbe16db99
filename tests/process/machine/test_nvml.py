"""NVML's figures, from a stand-in for its binding at the seam where the source takes it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from trnbench.machine.nvidia import CLOCK_REASONS, NvmlSource
from trnbench.machine.nvml import visible_indices
from trnbench.machine.source import QUANTITIES, Absent, Subject
from trnbench.schema.measurement import Reading

UUIDS = [f"GPU-{n}{n}aa-{n}" for n in range(4)]
NOT_SUPPORTED = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
LOST = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)


def at_board(answers: dict[str, Any], function: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        answer = answers[function]
        if isinstance(answer, Exception):
            raise answer
        return answer(*arguments) if callable(answer) else answer

    return call


class FakeNvml:
    """Answers as the module `pynvml` does, with its constants and its errors.

    A handle is the index of its GPU. An answer may be a value, a function of the arguments, or
    an exception to be raised; what the test does not change is a quiet GPU of the newest driver.
    """

    def __init__(self, **changes: Any) -> None:
        self.ended = 0
        self.answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetUUID": lambda handle: UUIDS[handle],
            "nvmlDeviceGetName": "NVIDIA H200",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=40),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=2**37, used=2**35, free=0),
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetPowerUsage": 512_000,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTotalEnergyConsumption": 1_000_000,
            "nvmlDeviceGetClockInfo": lambda _, kind: {1: 1755, 2: 3201}[kind],
            "nvmlDeviceGetCurrentClocksEventReasons": 0,
            "nvmlDeviceGetTotalEccErrors": 0,
            "nvmlDeviceGetComputeRunningProcesses": [],
        }
        self.answers |= changes

    def nvmlShutdown(self) -> None:  # noqa: N802 - the binding's own name
        self.ended += 1

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("answers", {}):
            return at_board(self.answers, name)
        if name.startswith("NVML"):
            return getattr(pynvml, name)
        raise AttributeError(name)


def opened(library: Any, **subject: Any) -> NvmlSource:
    source = NvmlSource.open(Subject(**({"environment": {}} | subject)), library)
    assert isinstance(source, NvmlSource)
    return source


def reason(library: Any, **subject: Any) -> str:
    source = NvmlSource.open(Subject(**({"environment": {}} | subject)), library)
    assert isinstance(source, Absent)
    return source.reason


def one_reading(library: Any, **subject: Any) -> Reading:
    (reading,) = opened(library, **subject).read(1.0)
    return reading


def test_every_figure_is_told_in_its_base_unit() -> None:
    reading = one_reading(FakeNvml())
    assert reading.values == pytest.approx(
        {
            "utilization_share": 0.97,
            "memory_used_bytes": 2.0**35,
            "temperature_celsius": 61.0,
            "power_watts": 512.0,
            "power_limit_watts": 700.0,
            "energy_joules": 0.0,
            "core_clock_hertz": 1.755e9,
            "memory_clock_hertz": 3.201e9,
            "ecc_corrected": 0.0,
            "ecc_uncorrected": 0.0,
        }
    )
    assert (reading.source, reading.device, reading.is_valid) == ("nvml", 0, True)
    assert (reading.note, reading.flags) == (None, [])
    assert reading.values.keys() <= QUANTITIES.keys()


# --- what is not there --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no NVIDIA driver"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "no NVIDIA driver"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "NVML: Insufficient Permissions"),
    ],
)
def test_without_a_driver_the_source_is_absent(code: int, said: str) -> None:
    library = FakeNvml(nvmlInit=pynvml.NVMLError(code))
    assert reason(library) == said
    assert library.ended == 0


def test_the_real_binding_opens_or_says_why_not() -> None:
    source = NvmlSource.open(Subject())
    if isinstance(source, Absent):
        assert source.reason
    else:
        assert source.read(0.0)
        source.close()


def test_without_a_gpu_nvml_is_ended_again() -> None:
    library = FakeNvml(nvmlDeviceGetCount=0)
    assert reason(library) == "the run can see no NVIDIA GPU"
    assert library.ended == 1


def test_a_gpu_that_is_lost_does_not_hide_the_others() -> None:
    def handle(index: int) -> int:
        if index == 0:
            raise LOST
        return index

    library = FakeNvml(nvmlDeviceGetCount=2, nvmlDeviceGetHandleByIndex=handle)
    assert opened(library).indices == [1]
    # CUDA does not count it either.
    assert opened(library, environment={"CUDA_VISIBLE_DEVICES": "0"}).indices == [1]


def test_a_gpu_that_cannot_be_opened_makes_the_source_absent() -> None:
    library = FakeNvml(nvmlDeviceGetHandleByIndex=LOST)
    assert reason(library) == "NVML cannot list the GPUs: GPU is lost"
    assert library.ended == 1


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        ("nvmlDeviceGetUtilizationRates", {"utilization_share"}),
        ("nvmlDeviceGetMemoryInfo", {"memory_used_bytes"}),
        ("nvmlDeviceGetTemperature", {"temperature_celsius"}),
        ("nvmlDeviceGetPowerUsage", {"power_watts"}),
        ("nvmlDeviceGetClockInfo", {"core_clock_hertz", "memory_clock_hertz"}),
        ("nvmlDeviceGetTotalEccErrors", {"ecc_corrected", "ecc_uncorrected"}),
    ],
)
def test_a_figure_that_is_not_supported_is_left_out(function: str, missing: set[str]) -> None:
    whole = one_reading(FakeNvml()).values.keys()
    reading = one_reading(FakeNvml(**{function: NOT_SUPPORTED}))
    assert reading.is_valid
    assert reading.values.keys() == whole - missing


def test_a_gpu_that_is_lost_gives_a_reading_without_figures_that_says_so() -> None:
    library = FakeNvml(nvmlDeviceGetCount=2)
    source = opened(library)
    healthy = dict(library.answers)

    def first_is_lost(function: str) -> Callable[..., Any]:
        def call(handle: int, *arguments: Any) -> Any:
            if handle == 0:
                raise LOST
            return at_board(healthy, function)(handle, *arguments)

        return call

    for function in healthy:
        if function.startswith("nvmlDeviceGet") and function != "nvmlDeviceGetCount":
            library.answers[function] = first_is_lost(function)
    lost, fine = source.read(1.0)
    assert (lost.device, lost.is_valid, lost.values) == (0, False, {})
    assert lost.note == "gives no value: GPU is lost"
    assert (fine.device, fine.is_valid) == (1, True)


def test_ending_nvml_twice_is_no_fault() -> None:
    class Ended(FakeNvml):
        def nvmlShutdown(self) -> None:  # noqa: N802 - the binding's own name
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)

    opened(Ended()).close()
    assert reason(Ended(nvmlDeviceGetCount=0))


# --- energy -------------------------------------------------------------------------------------


def test_energy_is_the_counter_s_since_the_opening_and_never_falls() -> None:
    library = FakeNvml()
    source = opened(library)
    energies = []
    for millijoules in (1_500_000, 3_000_000, 200_000, 700_000):
        library.answers["nvmlDeviceGetTotalEnergyConsumption"] = millijoules
        energies.append(source.read(1.0)[0].values["energy_joules"])
    assert energies == [500.0, 2000.0, 2000.0, 2500.0]


def test_a_counter_that_fails_for_once_leaves_its_value_out() -> None:
    library = FakeNvml()
    source = opened(library)
    library.answers["nvmlDeviceGetTotalEnergyConsumption"] = NOT_SUPPORTED
    assert "energy_joules" not in source.read(1.0)[0].values
    library.answers["nvmlDeviceGetTotalEnergyConsumption"] = 4_000_000
    assert source.read(2.0)[0].values["energy_joules"] == 3000.0


def test_without_a_counter_power_is_integrated_and_the_note_says_so() -> None:
    library = FakeNvml(nvmlDeviceGetTotalEnergyConsumption=NOT_SUPPORTED)
    source = opened(library)
    energies = []
    for at_seconds, milliwatts in [(0.0, 100_000), (2.0, 300_000), (3.0, 300_000)]:
        library.answers["nvmlDeviceGetPowerUsage"] = milliwatts
        (reading,) = source.read(at_seconds)
        energies.append(reading.values["energy_joules"])
    assert energies == [0.0, 400.0, 700.0]
    assert reading.note is not None
    assert "trapezoids" in reading.note


def test_across_a_gap_in_the_power_nothing_is_integrated() -> None:
    library = FakeNvml(nvmlDeviceGetTotalEnergyConsumption=NOT_SUPPORTED)
    source = opened(library)
    told = []
    for at_seconds, power in [(0.0, 100_000), (1.0, 100_000), (2.0, LOST), (3.0, 100_000)]:
        library.answers["nvmlDeviceGetPowerUsage"] = power
        told.append(source.read(at_seconds)[0].values.get("energy_joules"))
    assert told == [0.0, 100.0, 100.0, 100.0]


def test_without_counter_and_power_there_is_no_energy() -> None:
    neither = FakeNvml(
        nvmlDeviceGetTotalEnergyConsumption=NOT_SUPPORTED, nvmlDeviceGetPowerUsage=NOT_SUPPORTED
    )
    reading = one_reading(neither)
    assert "energy_joules" not in reading.values
    assert reading.note is None


# --- states -------------------------------------------------------------------------------------


def test_the_reasons_for_the_clocks_are_told_by_name() -> None:
    library = FakeNvml(nvmlDeviceGetCurrentClocksEventReasons=0x4 | 0x40 | 0x1 | 0x8000)
    assert one_reading(library).flags == [
        "clocks_gpu_idle",
        "throttle_sw_power_cap",
        "throttle_hw_thermal",
        "clocks_reason_0x8000",
    ]


def test_the_table_of_reasons_has_every_bit_of_the_binding() -> None:
    assert sum(CLOCK_REASONS) == pynvml.nvmlClocksThrottleReasonAll


def test_an_old_driver_or_binding_is_asked_by_the_older_name() -> None:
    old_driver = FakeNvml(
        nvmlDeviceGetCurrentClocksEventReasons=NOT_SUPPORTED,
        nvmlDeviceGetCurrentClocksThrottleReasons=0x8,
    )
    assert one_reading(old_driver).flags == ["throttle_hw_slowdown"]
    del old_driver.answers["nvmlDeviceGetCurrentClocksEventReasons"]
    assert one_reading(old_driver).flags == ["throttle_hw_slowdown"]


def test_without_reasons_no_flag_is_made_up() -> None:
    assert one_reading(FakeNvml(nvmlDeviceGetCurrentClocksEventReasons=NOT_SUPPORTED)).flags == []


def test_uncorrected_errors_are_a_flag_and_corrected_ones_are_not() -> None:
    def errors(corrected: int, uncorrected: int) -> Callable[..., int]:
        return lambda _, kind, counter: (corrected, uncorrected)[kind]

    mild = one_reading(FakeNvml(nvmlDeviceGetTotalEccErrors=errors(7, 0)))
    assert (mild.values["ecc_corrected"], mild.flags) == (7.0, [])
    bad = one_reading(FakeNvml(nvmlDeviceGetTotalEccErrors=errors(7, 2)))
    assert (bad.values["ecc_uncorrected"], bad.flags) == (2.0, ["ecc_uncorrected"])


# --- neighbours ---------------------------------------------------------------------------------


@pytest.fixture
def worker() -> Iterator[int]:
    """Return the leader of a session of its own, as a worker is."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def pids_of(worker_pid: int | None) -> tuple[int, ...]:
    return () if worker_pid is None else (worker_pid,)


def foreign(worker_pid: int | None, *pids: int) -> float | None:
    processes = [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in pids]
    library = FakeNvml(nvmlDeviceGetComputeRunningProcesses=processes)
    return one_reading(library, worker_pids=pids_of(worker_pid)).values.get("foreign_processes")


def test_processes_outside_of_the_worker_s_session_are_foreign(worker: int) -> None:
    gone = 2**31 - 1
    assert foreign(worker) == 0.0
    assert foreign(worker, worker) == 0.0
    assert foreign(worker, worker, os.getpid(), gone) == 2.0


def test_where_the_worker_is_not_recognised_nothing_is_said_of_the_others(worker: int) -> None:
    assert foreign(worker, os.getpid()) is None
    assert foreign(None, os.getpid()) is None


def test_where_processes_are_not_told_none_are_counted(worker: int) -> None:
    library = FakeNvml(nvmlDeviceGetComputeRunningProcesses=NOT_SUPPORTED)
    assert "foreign_processes" not in one_reading(library, worker_pids=(worker,)).values


# --- which GPUs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, [0, 1, 2, 3]),
        ("2", [2]),
        ("3, 1", [3, 1]),
        ("GPU-22aa-2,GPU-00", [2, 0]),
        ("GPU-", []),  # fits more than one
        ("0,9,1", [0]),
        ("1,1", [1]),
        ("0,-1,2", [0]),
        ("", []),
        ("NoDevFiles", []),
        ("MIG-22aa", []),
    ],
)
def test_only_the_gpus_that_the_run_can_see_are_read(
    visible: str | None, indices: list[int]
) -> None:
    assert visible_indices(visible, UUIDS) == indices
    library = FakeNvml(nvmlDeviceGetCount=4)
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    if indices:
        source = opened(library, environment=environment)
        assert [r.device for r in source.read(0.0)] == indices
    else:
        assert reason(library, environment=environment)


def test_that_nothing_is_visible_or_a_slice_alone_is_told() -> None:
    told = {
        visible: reason(FakeNvml(), environment={"CUDA_VISIBLE_DEVICES": visible})
        for visible in ("", "MIG-GPU-00aa/0/0")
    }
    assert "can see no NVIDIA GPU" in told[""]
    assert "slice of a GPU" in told["MIG-GPU-00aa/0/0"]


def test_of_the_visible_gpus_only_those_are_read_that_the_run_drives() -> None:
    library = FakeNvml(nvmlDeviceGetCount=4)
    assert opened(library, device_count=1).indices == [0]
    assert opened(library, device_count=2, first_device=1).indices == [1, 2]
    environment = {"CUDA_VISIBLE_DEVICES": "3,2,1"}
    assert opened(library, device_count=2, environment=environment).indices == [3, 2]


def test_where_cuda_may_order_different_gpus_its_own_way_all_are_read_and_the_note_says_so() -> (
    None
):
    library = FakeNvml(nvmlDeviceGetCount=2, nvmlDeviceGetName=lambda handle: f"kind {handle}")
    readings = opened(library, environment={"CUDA_VISIBLE_DEVICES": "1"}).read(0.0)
    assert [r.device for r in readings] == [0, 1]
    assert all("CUDA_DEVICE_ORDER" in (r.note or "") for r in readings)


@pytest.mark.parametrize(
    "environment",
    [
        {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        {"CUDA_VISIBLE_DEVICES": "GPU-11aa"},
    ],
)
def test_where_the_order_is_certain_only_the_run_s_are_read(environment: dict[str, str]) -> None:
    library = FakeNvml(
        nvmlDeviceGetCount=2,
        nvmlDeviceGetName=lambda handle: f"kind {handle}".encode(),
    )
    (reading,) = opened(library, environment=environment).read(0.0)
    assert (reading.device, reading.note) == (1, None)
