"""What the environment asks of the stand-in; a name or value that it does not know is refused."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FAULTS = (
    "busy", "init", "driver", "memory", "hbm", "compiler_killed", "compiler_error", "unsupported",
    "timeout", "aborts", "hangs", "compile_hangs", "crashes_at_end",
)  # fmt: skip

CORE_BYTES = 24 * 1024**3
"""What one logical core of a Trainium2 has."""

_PREFIX = "STAND_IN_"
_OF_THE_TOOLS = ("NEURON_LS", "NEURON_MONITOR", "NEURON_MONITOR_SECONDS")
_CHOICES = {
    "MEMORY": ("nested", "flat", "none"),
    "FALLBACK_SHAPE": ("list", "dict"),
    "KEEP_PARAMETERS": ("0", "1"),
    "COLLECTIVES": ("neuron", "gloo"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The table in the package's docstring, read."""

    op_seconds: float
    flops_per_second: float | None
    eager_compile_seconds: float
    compile_seconds: float
    memory: str
    memory_limit_bytes: int
    cores: Path | None
    visible_cores: str | None
    fallback: tuple[str, ...]
    fallback_shape: str
    fault: str | None
    fault_at: int | None
    keep_parameters: bool
    local_rank: int | None
    collectives: str
    link_bytes_per_second: float | None
    slowness: float
    """By what this rank's device takes longer for everything."""

    @property
    def takes_time(self) -> bool:
        """Whether anything takes time on the device."""
        speeds = (self.op_seconds, self.flops_per_second, self.link_bytes_per_second)
        return any(speeds)


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises:
        ValueError: a STAND_IN_ name or value is not known; a test that misspells one must not pass.
    """
    given = {
        name.removeprefix(_PREFIX): value
        for name, value in environment.items()
        if name.startswith(_PREFIX) and name.removeprefix(_PREFIX) not in _OF_THE_TOOLS
    }
    fault, _, at = given.pop("FAULT", "").partition("@")
    if fault and fault not in FAULTS:
        raise ValueError(f"STAND_IN_FAULT={fault}: one of {', '.join(FAULTS)}")
    fallback = given.pop("FALLBACK", "")
    flops = given.pop("FLOPS_PER_SECOND", "")
    limit = given.pop("MEMORY_LIMIT_BYTES", "")
    link = given.pop("LINK_BYTES_PER_SECOND", "")
    local_rank = environment.get("LOCAL_RANK", "")
    slow_rank, _, factor = given.pop("SLOW_RANK", "").partition("@")
    is_slow = slow_rank != "" and slow_rank == environment.get("RANK")
    cores = given.pop("CORES", "")
    settings = Settings(
        op_seconds=float(given.pop("OP_SECONDS", "0")),
        flops_per_second=float(flops) if flops else None,
        eager_compile_seconds=float(given.pop("EAGER_COMPILE_SECONDS", "0")),
        compile_seconds=float(given.pop("COMPILE_SECONDS", "0")),
        memory=_choice(given, "MEMORY"),
        memory_limit_bytes=int(limit) if limit else CORE_BYTES,
        cores=Path(cores) if cores else None,
        visible_cores=_visible_cores(environment),
        fallback=tuple(name.strip() for name in fallback.split(",") if name.strip()),
        fallback_shape=_choice(given, "FALLBACK_SHAPE"),
        fault=fault or None,
        fault_at=int(at) if at else None,
        keep_parameters=_choice(given, "KEEP_PARAMETERS") == "1",
        local_rank=int(local_rank) if local_rank else None,
        collectives=_choice(given, "COLLECTIVES"),
        link_bytes_per_second=float(link) if link else None,
        slowness=float(factor) if is_slow else 1.0,
    )
    if given:
        raise ValueError(f"unknown settings: {', '.join(_PREFIX + name for name in given)}")
    return settings


def _visible_cores(environment: Mapping[str, str]) -> str | None:
    """Return what the user named, else the core of this rank where a launcher has told both."""
    named = environment.get("NEURON_RT_VISIBLE_CORES")
    is_rank = "LOCAL_RANK" in environment and "LOCAL_WORLD_SIZE" in environment
    return environment["LOCAL_RANK"] if named is None and is_rank else named


def _choice(given: dict[str, str], name: str) -> str:
    """Take one of the values that a setting may have; the first is the default."""
    allowed = _CHOICES[name]
    value = given.pop(name, allowed[0])
    if value not in allowed:
        raise ValueError(f"{_PREFIX}{name}={value}: one of {', '.join(allowed)}")
    return value
