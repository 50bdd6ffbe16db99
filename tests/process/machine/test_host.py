"""The computer itself, out of the kernel's files."""

from pathlib import Path

import psutil
import pytest

from tests.pure.machine.places import write, write_firmware
from trnbench.machine.host import look_at_host

MEMINFO = """MemTotal:       65000000 kB
HugePages_Total:    5128
HugePages_Free:     5000
Hugepagesize:       2048 kB
Odd line
"""
X86 = "processor : 0\nmodel name\t: A Fine CPU\nflags\t\t: fpu avx2 avx512f amx_tile amx_bf16\n"
ARM = "processor : 0\nBogoMIPS : 2100.00\nFeatures\t: fp asimd bf16 sve\n"


def test_huge_pages_and_clock_and_nodes_are_read(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    for node in (0, 1):
        write(tmp_path, f"sys/devices/system/node/node{node}/cpulist", "0-3\n")
    host = look_at_host(tmp_path)
    assert (host.huge_pages, host.huge_pages_free) == (5128, 5000)
    assert host.huge_page_bytes == 2 * 2**20
    assert (host.numa_nodes, host.governor) == (2, "powersave")


@pytest.mark.parametrize(
    ("cpuinfo", "flags"),
    [(X86, ("amx_bf16", "amx_tile", "avx2", "avx512f")), (ARM, ("asimd", "bf16")), ("", ())],
)
def test_instructions_that_speed_matrix_products_up_are_kept(
    tmp_path: Path, cpuinfo: str, flags: tuple[str, ...]
) -> None:
    write(tmp_path, "proc/cpuinfo", cpuinfo)
    assert look_at_host(tmp_path).cpu_flags == flags


def test_the_processor_has_the_name_that_the_kernel_gives_it(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", X86)
    assert look_at_host(tmp_path).processor == "A Fine CPU"


def test_what_no_file_says_is_unknown_and_not_zero(tmp_path: Path) -> None:
    host = look_at_host(tmp_path)
    assert (host.huge_pages, host.huge_page_bytes, host.numa_nodes) == (None, None, None)
    assert (host.governor, host.is_ec2, host.instance) == (None, False, None)
    assert host.processor
    assert host.logical_cpus == psutil.cpu_count()


def test_the_firmware_tells_that_this_is_ec2(tmp_path: Path) -> None:
    write_firmware(tmp_path, "Amazon EC2", "trn2.48xlarge")
    host = look_at_host(tmp_path)
    assert (host.is_ec2, host.instance) == (True, "trn2.48xlarge")
