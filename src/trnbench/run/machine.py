"""This machine as the parent sees it, and what the training interpreter finds on it.

Nothing here that could tell whose machine it is: no host name, user, address or account.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from trnbench.run.scrub import scrub
from trnbench.wire import FoundDevice

_DMI = Path("/sys/devices/virtual/dmi/id")

KEPT_VARIABLES = (
    "COLLECTIVE_", "CUDA_", "FI_", "GOMP_", "HIP_", "HSA_", "KMP_", "LOCAL_", "MKL_", "NCCL_",
    "NEURON_", "NKI_", "OMP_", "PJRT_", "PYTORCH_", "RANK", "ROCR_", "TORCH", "WORLD_SIZE", "XLA_",
)  # fmt: skip
"""Prefixes of the environment variables that decide how training runs; no other is recorded."""

_TELLING_WORDS = ("ADDR", "COMM_ID", "HOST", "KEY", "PASSWORD", "SECRET", "TOKEN", "URL")
"""In the name of a variable: its value is a secret, or names a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that a run is made on."""

    operating_system: str
    architecture: str
    processor: str
    logical_cpus: int
    memory_bytes: int
    instance: str | None
    """EC2's instance type, where the firmware says it; no network is asked."""
    variables: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Devices:
    """What the training interpreter can train on, best first."""

    found: tuple[FoundDevice, ...]
    versions: dict[str, str]


def describe_machine() -> Machine:
    """Look at this machine."""
    return Machine(
        operating_system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        processor=_processor_name(),
        logical_cpus=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        instance=_ec2_instance_type(_DMI),
        variables=_kept_variables(os.environ),
    )


def _processor_name() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _ec2_instance_type(dmi: Path) -> str | None:
    """Read the instance type from the firmware's tables, as EC2's Nitro machines carry it."""
    vendor, product = _lines(dmi / "sys_vendor"), _lines(dmi / "product_name")
    if vendor and "Amazon" in vendor[0] and product and "." in product[0]:
        return product[0].strip()
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []  # not Linux, or not readable here: the caller has another way or says unknown


def _kept_variables(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """Keep the variables that decide how training runs, without what tells whose machine it is."""
    return untelling(
        {name: value for name, value in environment.items() if name.startswith(KEPT_VARIABLES)}
    )


def untelling(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables in order, the values that tell whose machine it is removed."""
    kept = {}
    for name, value in sorted(variables.items()):
        is_telling = "/" in value or any(word in name for word in _TELLING_WORDS)
        kept[name] = "(removed)" if is_telling else scrub(value)
    return kept
