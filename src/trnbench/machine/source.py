"""What a source of readings must be able to do, and what each value that it may give counts."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trnbench.schema.measurement import Reading

QUANTITIES: Mapping[str, str] = {
    # Load.
    "cpu_share": "busy part of all processors since the last reading, 0 to 1",
    "load_average": "runnable processes, mean of the last minute",
    "utilization_share": "part of the source's own window in which the device worked, 0 to 1",
    "runtime_busy_cpus": "processors that the device's runtimes keep busy, one at full load is 1",
    "foreign_processes": "processes on the device that are not of this run",
    # Memory.
    "memory_used_bytes": "memory in use: of the host (host), of the device (all others)",
    "memory_tensors_bytes": "device memory of tensors",
    "memory_model_code_bytes": "device memory of compiled code",
    "memory_constants_bytes": "device memory of constants",
    "memory_runtime_bytes": "device memory of the device's runtime",
    "memory_scratchpad_bytes": "device memory of the compiled code's scratchpad",
    "memory_host_bytes": "host memory that the device's runtime holds for the run",
    "memory_system_bytes": "host memory in use by all processes, as the device's tool reports it",
    # Heat, power, clocks.
    "temperature_celsius": "the device's own sensor; of the host, its hottest sensor",
    "power_watts": "power now, or mean since the last reading where only energy is counted",
    "power_limit_watts": "the power cap in force",
    "energy_joules": "energy since this source was opened, never falling",
    "core_clock_hertz": "clock of the device's processors",
    "memory_clock_hertz": "clock of the device's memory",
    # Work and errors.
    "executions_completed": "executions that succeeded, in this report's period",
    "executions_failed": "executions that did not, in this report's period",
    "numerical_errors": "executions that met a numerical error, in this report's period",
    "latency_p50_seconds": "median time of an execution; of several ranks, the slowest's",
    "device_latency_p50_seconds": "of that, the time on the device",
    "flops_per_second": "operations a second, as the device's counters tell",
    "ecc_corrected": "memory errors that the device corrected, by its own counter",
    "ecc_uncorrected": "memory errors that it could not correct, by its own counter",
    "unreadable_lines": "lines of the source that were no report, since it was opened",
}
"""Every name that a reading's `values` may have. Units are suffixes; a count has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The run beside which is read, as far as the sources must know it."""

    worker_pids: tuple[int, ...] = ()
    """Leaders of the workers' sessions: what runs on a device outside of them is foreign."""
    first_device: int = 0
    """Of those that the run can see, the first that it drives."""
    device_count: int | None = None
    """Devices that the run drives, from that one on; None: all."""
    period_seconds: float = 1.0
    """How often a source that runs by itself reports."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """The worker's: its `CUDA_VISIBLE_DEVICES`, its `PATH`."""
    neuron_tag_filter: str = ".*"
    """Which Neuron processes are the run's: an expression on their `NEURON_PROCESS_TAG`."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a source is not here."""

    reason: str


class Source(Protocol):
    """Something that reports beside a run. It is opened by its entry in `SOURCES`."""

    name: str

    def read(self, at_seconds: float) -> list[Reading]:
        """Return what there is to be said now.

        It never waits and never raises: what goes wrong is a reading that is not valid. A value
        that cannot be had is left out.
        """
        ...

    def close(self) -> None:
        """Let go of what was opened."""
        ...


def reading(
    source: str,
    at_seconds: float,
    values: dict[str, float],
    *,
    device: int | None = None,
    note: str | None = None,
    flags: Iterable[str] = (),
    is_valid: bool = True,
) -> Reading:
    """Return a reading; without a device it is of the whole machine."""
    return Reading(
        at_seconds=at_seconds,
        source=source,
        device=device,
        is_valid=is_valid,
        note=note,
        values=values,
        flags=list(flags),
    )


def failure(source: str, at_seconds: float, why: str, device: int | None = None) -> Reading:
    """Return the reading that says why there is none."""
    return reading(source, at_seconds, {}, device=device, note=why, is_valid=False)
