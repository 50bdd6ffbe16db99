"""NVIDIA GPUs, from a stand-in of NVML and from the files of the driver."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.pure.machine.places import write, write_pci
from trnbench.machine.nvidia import look_at_nvidia


class FakeNvml:
    """Some functions of the module pynvml, for two GPUs."""

    class NVMLError(Exception):
        pass

    def __init__(self, **answers: Any) -> None:
        self.is_open = False
        self._answers = {
            "nvmlDeviceGetCount": 2,
            "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=80 * 2**30),
            "nvmlDeviceGetMigMode": [0, 0],
            "nvmlDeviceGetEccMode": [1, 1],
            "nvmlDeviceGetComputeRunningProcesses": [],
            "nvmlSystemGetDriverVersion": "580.65.06",
            "nvmlSystemGetCudaDriverVersion": 13010,
            **answers,
        }

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
        self._say("nvmlInit")
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802 - NVML's name
        self.is_open = False

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802 - NVML's name
        self._say(f"handle {number}")
        return number

    def _say(self, name: str) -> Any:
        answer = self._answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __getattr__(self, name: str) -> Any:
        if name not in self._answers:
            raise AttributeError(name)
        return lambda *arguments: self._say(name)


def test_gpus_driver_and_cuda_are_read(tmp_path: Path) -> None:
    nvml = FakeNvml()
    nvidia = look_at_nvidia(tmp_path, nvml)
    assert [gpu.name for gpu in nvidia.gpus] == ["NVIDIA H100 80GB HBM3"] * 2
    assert nvidia.gpus[0].memory_bytes == 80 * 2**30
    assert (nvidia.gpus[0].is_mig, nvidia.gpus[0].is_ecc) == (False, True)
    assert (nvidia.driver_version, nvidia.cuda_version) == ("580.65.06", "13.1")
    assert not nvml.is_open
    assert json.loads(json.dumps(nvidia.kept())) == nvidia.kept()


def test_what_a_gpu_does_not_tell_is_unknown(tmp_path: Path) -> None:
    refusal = FakeNvml.NVMLError("Not Supported")
    nvidia = look_at_nvidia(
        tmp_path,
        FakeNvml(
            nvmlDeviceGetName=b"Tesla T4",
            nvmlDeviceGetMigMode=refusal,
            nvmlDeviceGetEccMode=refusal,
            nvmlDeviceGetMemoryInfo=refusal,
            nvmlSystemGetCudaDriverVersion=refusal,
        ),
    )
    gpu = nvidia.gpus[0]
    assert (gpu.name, gpu.memory_bytes, gpu.is_mig, gpu.is_ecc) == ("Tesla T4", None, None, None)
    assert nvidia.cuda_version is None


def test_a_process_is_told_by_pid_and_program_and_is_not_kept(tmp_path: Path) -> None:
    processes = [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=2**30)]
    nvidia = look_at_nvidia(
        tmp_path, FakeNvml(nvmlDeviceGetCount=1, nvmlDeviceGetComputeRunningProcesses=processes)
    )
    ours, unseen = nvidia.holders
    assert (ours.device, ours.pid) == ("GPU 0", os.getpid())
    assert ours.program
    assert "/" not in ours.program
    assert (unseen.pid, unseen.program) == (2**30, None)
    assert str(os.getpid()) not in json.dumps(nvidia.kept())


def test_a_gpu_that_fell_off_the_bus_is_missed(tmp_path: Path) -> None:
    for slot in range(2):
        write_pci(tmp_path, f"0000:0{slot}:00.0", "0x10de", "0x2330", "0x030200")
    lost = FakeNvml.NVMLError("GPU is lost")
    nvidia = look_at_nvidia(tmp_path, FakeNvml(**{"handle 1": lost}))
    assert (len(nvidia.gpus), nvidia.pci_devices) == (1, 2)
    assert nvidia.lost == ("GPU 1: GPU is lost",)


def test_a_container_that_was_given_none_of_its_host_s_gpus_has_none(tmp_path: Path) -> None:
    write_pci(tmp_path, "0000:01:00.0", "0x10de", "0x2330", "0x030200")
    write(tmp_path, "proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t NVIDIA L4\n")
    silent = FakeNvml(nvmlInit=FakeNvml.NVMLError("Library Not Found"))
    assert look_at_nvidia(tmp_path, silent).is_here
    write(tmp_path, ".dockerenv")
    hidden = look_at_nvidia(tmp_path, silent)
    assert (hidden.is_here, hidden.is_hidden, hidden.pci_devices) == (False, True, 1)
    write(tmp_path, "dev/nvidia0")
    assert look_at_nvidia(tmp_path, silent).is_here


def test_a_driver_that_does_not_answer_is_told(tmp_path: Path) -> None:
    write_pci(tmp_path, "0000:01:00.0", "0x10de", "0x2330", "0x030200")
    nvidia = look_at_nvidia(
        tmp_path, FakeNvml(nvmlInit=FakeNvml.NVMLError("Driver/library version mismatch"))
    )
    assert nvidia.reason == "NVML: Driver/library version mismatch"
    assert nvidia.is_here


def test_without_nvml_the_driver_s_files_tell_names(tmp_path: Path) -> None:
    information = "proc/driver/nvidia/gpus/0000:01:00.0/information"
    write(tmp_path, information, "Model: \t\t NVIDIA L4\nIRQ: 3\n")
    write(tmp_path, "sys/module/nvidia/version", "570.1\n")
    nvidia = look_at_nvidia(tmp_path, FakeNvml(nvmlInit=FakeNvml.NVMLError("Driver Not Loaded")))
    assert [gpu.name for gpu in nvidia.gpus] == ["NVIDIA L4"]
    assert (nvidia.driver_version, nvidia.is_driver_loaded) == ("570.1", True)


def test_a_machine_without_gpus_never_loads_nvml(tmp_path: Path) -> None:
    write_pci(tmp_path, "0000:01:00.0", "0x10de", "0x10f8", "0x0c0330")  # a USB port of a card
    nvidia = look_at_nvidia(tmp_path)
    assert (nvidia.is_here, nvidia.reason, nvidia.kept()) == (False, None, None)


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    write(tmp_path, "sys/module/nvidia/version", "570.1\n")
    assert look_at_nvidia(tmp_path).reason == "the package nvidia-ml-py is not installed"
