"""The CPU's own part of the contract: threads, instruction set, the process's peak."""

import mmap
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import (
    CpuBackend,
    _peak_resident_bytes,
    keep_freed_memory,
)
from trnbench.train.software import processor_name


def test_the_threads_asked_for_are_the_threads_in_force() -> None:
    assert CpuBackend.open(Claim(threads=2)).settings()["threads"] == "2"
    assert CpuBackend.open(Claim(threads=None)).settings()["threads"] == "2"
    assert CpuBackend.open(Claim(threads=1)).settings()["threads"] == "1"


def test_the_peak_is_the_resident_set_of_this_process() -> None:
    backend = CpuBackend.open(Claim(threads=1))
    backend.reset_peak_memory()
    peak, counted = backend.peak_memory_bytes()
    assert counted == "process_rss"
    assert peak == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


def test_a_reset_forgets_what_was_given_back() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"this system does not let a process forget its peak: {error.strerror}")
    backend = CpuBackend.open(Claim(threads=1))
    # Pages of its own: the C library would serve a tensor from memory that this process has freed
    # before and that it keeps, and the resident set would neither grow nor shrink.
    pages = 2**16
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as used:
        used[:: mmap.PAGESIZE] = b"\1" * pages
    high, _ = backend.peak_memory_bytes()
    backend.reset_peak_memory()
    low, _ = backend.peak_memory_bytes()
    assert high is not None
    assert low is not None
    assert high - low >= 0.9 * pages * mmap.PAGESIZE


def test_the_processor_is_named_as_linux_names_it() -> None:
    told = Path("/proc/cpuinfo")
    if not told.exists():
        pytest.skip("no /proc/cpuinfo on this system")
    assert f": {CpuBackend(Claim()).device_name()}\n" in told.read_text()


def test_where_there_is_no_proc_the_portable_figures_serve(tmp_path: Path) -> None:
    portable = _peak_resident_bytes(tmp_path / "none")
    assert portable == pytest.approx(_peak_resident_bytes(Path("/proc/self/status")), rel=0.2)
    assert processor_name(tmp_path / "none") in (platform.processor(), platform.machine())


def test_a_processor_without_a_model_name_is_named_by_its_architecture(tmp_path: Path) -> None:
    # As on AWS's own Arm machines.
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nBogoMIPS\t: 243.75\nCPU part\t: 0xd4f\n")
    assert processor_name(told) in (platform.processor(), platform.machine())


def test_memory_that_is_freed_is_kept_for_the_next_step_where_the_c_library_is_glibc() -> None:
    if "glibc" not in platform.libc_ver()[0]:
        assert not keep_freed_memory()
        return
    program = (
        "import resource, sys\n"
        "import torch\n"
        "from trnbench.train.backends.cpu import keep_freed_memory\n"
        "if sys.argv[1] == 'kept':\n"
        "    assert keep_freed_memory()\n"
        "def step():\n"
        "    a = torch.ones(2**21); b = torch.ones(2**22); del a; c = torch.ones(2**21)\n"
        "for _ in range(3): step()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(3): step()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    faults = int(
        subprocess.run(
            [sys.executable, "-c", program, "kept"], capture_output=True, text=True, check=True
        ).stdout
    )
    # Three steps take 96 MiB, which is 24,576 pages; a heap that still grows clears some.
    assert faults < 24_576 / 2
