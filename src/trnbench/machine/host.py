"""The computer itself: processor, memory, and what of them decides how fast training runs."""

import math
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from trnbench.machine.look import ROOT, is_container, list_names, read_lines, read_word
from trnbench.machine.source import Subject, reading
from trnbench.schema.measurement import Reading

CPU_FLAGS = (
    "amx_bf16", "amx_tile", "asimd", "avx2", "avx512_bf16", "avx512f", "bf16",
)  # fmt: skip
"""Instruction sets with which a matmul is several times faster."""

_FIRMWARE = "sys/devices/virtual/dmi/id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A computer, whatever is plugged into it."""

    operating_system: str
    architecture: str
    processor: str
    logical_cpus: int
    physical_cores: int | None
    memory_bytes: int
    """Of the machine, or of the container, whose limit the kernel enforces."""
    cpu_flags: tuple[str, ...]
    """Those of `CPU_FLAGS` that it has."""
    numa_nodes: int | None
    governor: str | None
    """What sets the first processor's clock; None in most virtual machines."""
    huge_pages: int | None
    """Reserved."""
    huge_pages_free: int | None
    huge_page_bytes: int | None
    is_ec2: bool
    """Whether the firmware says so."""
    instance: str | None
    """EC2's instance type, where the firmware says it."""
    is_container: bool = False


def look_at_host(root: Path = ROOT) -> Host:
    """Look at this computer."""
    memory = _meminfo(root)
    firmware = root / _FIRMWARE
    page = memory.get("Hugepagesize")
    instructions = _cpuinfo(root, "flags", "Features").split()
    return Host(
        operating_system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        processor=_cpuinfo(root, "model name") or platform.processor() or platform.machine(),
        logical_cpus=psutil.cpu_count() or 1,
        physical_cores=psutil.cpu_count(logical=False),
        memory_bytes=int(min(psutil.virtual_memory().total, memory_limit(root))),
        cpu_flags=tuple(flag for flag in CPU_FLAGS if flag in instructions),
        numa_nodes=len(list_names(root / "sys/devices/system/node", "node[0-9]*")) or None,
        governor=read_word(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        huge_pages=memory.get("HugePages_Total"),
        huge_pages_free=memory.get("HugePages_Free"),
        huge_page_bytes=None if page is None else page * 1024,
        is_ec2=read_word(firmware / "sys_vendor") == "Amazon EC2",
        instance=firmware_instance(firmware),
        is_container=is_container(root),
    )


def memory_limit(root: Path = ROOT) -> float:
    """Return the bytes that the control group of this process may use; infinite without a limit.

    Source: Linux, admin-guide/cgroup-v2.rst, memory.max; cgroup-v1/memory.rst.
    """
    named = {
        kinds: path.lstrip("/")
        for line in read_lines(root / "proc/self/cgroup")
        for _, kinds, path in [line.split(":", 2)]
        if kinds in ("", "memory")
    }
    limits = [math.inf]
    for kinds, file in (("", "memory.max"), ("memory", "memory/memory.limit_in_bytes")):
        top, name = (root / "sys/fs/cgroup" / file).parent, Path(file).name
        inner = top / named.get(kinds, "")
        for folder in (inner, *inner.parents):
            word = read_word(folder / name)
            if word is not None and word.isdigit():
                limits.append(int(word))
            if folder == top:
                break
    return min(limits)


def firmware_instance(firmware: Path) -> str | None:
    """Read the instance type from the firmware's tables, as EC2's Nitro machines carry it."""
    vendor, product = read_word(firmware / "sys_vendor"), read_word(firmware / "product_name")
    if vendor and "Amazon" in vendor and product and "." in product:
        return product
    return None


def _cpuinfo(root: Path, *names: str) -> str:
    """Return what the kernel says of the first processor under one of these names."""
    lines = read_lines(root / "proc/cpuinfo")
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def _meminfo(root: Path) -> dict[str, int]:
    """Return the kernel's figures of memory, each in the unit that it has there."""
    found = {}
    for line in read_lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found


TEMPERATURE_SECONDS = 10.0
"""A machine's sensors move slowly, and asking its firmware for all of them may take long."""

_PLAUSIBLE_CELSIUS = (-40.0, 150.0)
"""A sensor that is not wired says -128, 0 or 255."""


class HostSource:
    """Reads the machine as a whole."""

    name = "host"

    @classmethod
    def open(cls, subject: Subject) -> "HostSource":
        """Open it; a host is always there."""
        return cls(psutil)

    def __init__(self, system: Any) -> None:
        """Take what answers as psutil does."""
        self._system = system
        self._last_busy, self._last_total = self._processor_seconds()
        self._temperature_due_at = -math.inf

    def read(self, at_seconds: float) -> list[Reading]:
        """Return one reading of the whole machine."""
        values = {"memory_used_bytes": float(self._system.virtual_memory().used)}
        values |= self._cpu_share() | self._load_average()
        if at_seconds >= self._temperature_due_at:
            self._temperature_due_at = at_seconds + TEMPERATURE_SECONDS
            values |= self._temperature()
        return [reading(self.name, at_seconds, values)]

    def close(self) -> None:
        """Nothing is held."""

    def _cpu_share(self) -> dict[str, float]:
        busy, total = self._processor_seconds()
        spent, passed = busy - self._last_busy, total - self._last_total
        if passed <= 0:
            return {}  # within one tick of the kernel's clock there is no difference
        self._last_busy, self._last_total = busy, total
        return {"cpu_share": min(max(spent / passed, 0.0), 1.0)}

    def _processor_seconds(self) -> tuple[float, float]:
        """Return the processors' busy time and all of their time, since the machine started."""
        times = self._system.cpu_times()
        guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        total = float(sum(times) - guest)  # guests are counted in user time already
        return total - times.idle - getattr(times, "iowait", 0.0), total

    def _load_average(self) -> dict[str, float]:
        try:
            return {"load_average": float(self._system.getloadavg()[0])}
        except OSError:
            return {}

    def _temperature(self) -> dict[str, float]:
        if not hasattr(self._system, "sensors_temperatures"):
            return {}  # psutil has none on this operating system
        try:
            sensors = self._system.sensors_temperatures()
        except OSError:
            return {}
        low, high = _PLAUSIBLE_CELSIUS
        seen = [
            float(sensor.current)
            for group in sensors.values()
            for sensor in group
            if sensor.current is not None and low < sensor.current < high and sensor.current
        ]
        return {"temperature_celsius": max(seen)} if seen else {}
