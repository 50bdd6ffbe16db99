"""One line of `neuron-monitor` to readings. Pure, and lenient: what is not known is left out.

A reading of a core has the core's load and memory; the reading without a device has the sums over
all processes that the tool's filter takes. Neuron reports no power, temperature or clock.

Source: Neuron Monitor User Guide, Neuron SDK 2.32,
https://awsdocs-neuron.readthedocs-hosted.com/en/latest/tools/neuron-sys-tools/neuron-monitor-user-guide.html,
and public captures, which differ from it: see `tests/data/neuron/README.md`. Read 2026-11-23.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trnbench.machine.source import reading
from trnbench.schema.measurement import Reading

NAME = "neuron-monitor"

_LARGEST = 1e21
"""No figure of a machine is larger: what is, is rubbish."""

_ROUNDED_PERCENT = 101.0
"""A full load may be reported as a little more than 100 %."""

_PROCESS_FIGURES: Mapping[str, tuple[str, ...]] = {
    "memory_used_bytes": ("memory_used", "neuron_runtime_used_bytes", "neuron_device"),
    "memory_host_bytes": ("memory_used", "neuron_runtime_used_bytes", "host"),
    "executions_completed": ("execution_stats", "execution_summary", "completed"),
    "latency_p50_seconds": ("execution_stats", "latency_stats", "total_latency", "p50"),
    "device_latency_p50_seconds": ("execution_stats", "latency_stats", "device_latency", "p50"),
}
"""Where a process's report has each figure: its metric group, then the keys in it."""

_MEMORY_KINDS = {
    "tensors": "memory_tensors_bytes",
    "model_code": "memory_model_code_bytes",
    "constants": "memory_constants_bytes",
    "runtime_memory": "memory_runtime_bytes",
    "model_shared_scratchpad": "memory_scratchpad_bytes",
}
_FAILURES = ("completed_with_err", "timed_out", "incorrect_input", "failed_to_queue")
_ERRORS = ("generic", "transient", "model", "runtime", "hardware")
_CORRECTED = ("mem_ecc_corrected", "sram_ecc_corrected")
_UNCORRECTED = ("mem_ecc_uncorrected", "sram_ecc_uncorrected")


@dataclass(slots=True)
class _Found:
    """What was found in a report so far."""

    cores: dict[int, dict[str, float]] = field(default_factory=dict)
    core_flags: dict[int, set[str]] = field(default_factory=dict)
    sums: dict[str, list[float | None]] = field(default_factory=dict)
    """What each process adds; one that is missing makes the sum unknown."""
    values: dict[str, float] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, quantity: str, value: float | None) -> None:
        self.sums.setdefault(quantity, []).append(value)

    def group(self, document: Any, name: str) -> dict[str, Any]:
        """Return a metric group; an empty one if it is missing or has an error."""
        group = _part(document, name)
        error = group.get("error")
        if isinstance(error, str) and error:
            self.notes.append(f"{name}: {error[:100]}")
            return {}
        return group


def parse_report(line: str | bytes, at_seconds: float) -> list[Reading] | None:
    """Return a report's readings: cores in order, then the whole; None if it is no report."""
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(report, dict) or not report.keys() & {"neuron_runtime_data", "system_data"}:
        return None
    found = _Found()
    runtimes = report.get("neuron_runtime_data")
    for runtime in runtimes if isinstance(runtimes, list) else []:
        _read_runtime(runtime, found)
    _read_system(_part(report, "system_data"), found)
    return _readings(found, at_seconds)


def _readings(found: _Found, at_seconds: float) -> list[Reading]:
    readings = [
        reading(NAME, at_seconds, values, device=core, flags=sorted(found.core_flags[core]))
        for core, values in sorted(found.cores.items())
        if values
    ]
    values = dict(found.values)
    for quantity, parts in found.sums.items():
        known = [part for part in parts if part is not None]
        if "latency" in quantity and known:
            values[quantity] = max(known)  # a process that has executed nothing has none
        elif len(known) == len(parts):
            values[quantity] = sum(known)
    if values or found.notes:
        note = "; ".join(found.notes[:3]) or None
        flags, is_valid = sorted(found.flags), bool(values)
        readings.append(
            reading(NAME, at_seconds, values, note=note, flags=flags, is_valid=is_valid)
        )
    return readings


# --- of a process --------------------------------------------------------------------------------


def _read_runtime(runtime: Any, found: _Found) -> None:
    report = _part(found.group({"process": runtime}, "process"), "report")
    counters = found.group(report, "neuroncore_counters")
    memory = found.group(report, "memory_used")
    stats = found.group(report, "execution_stats")
    usage = found.group(report, "neuron_runtime_vcpu_usage")
    groups = {"memory_used": memory, "execution_stats": stats}
    for quantity, (*path, key) in _PROCESS_FIGURES.items():
        found.add(quantity, _number(_part(groups, *path).get(key)))
    busy = _known(_part(usage, "vcpu_usage"), ("user", "system"))
    found.add("runtime_busy_cpus", sum(busy) / 100 if len(busy) == 2 else None)
    flags = _read_errors(stats, found)
    found.flags |= flags
    for core, values in _read_cores(counters, memory).items():
        found.cores.setdefault(core, {}).update(values)
        found.core_flags.setdefault(core, set()).update(flags)


def _read_errors(stats: dict[str, Any], found: _Found) -> set[str]:
    """Take in what failed; return the kinds of errors that there were."""
    summary, errors = _part(stats, "execution_summary"), _part(stats, "error_summary")
    failed = _known(summary, _FAILURES)
    found.add("executions_failed", sum(failed) if len(failed) == len(_FAILURES) else None)
    numerical = _known(errors, ("numerical", "numeric"))
    numerical += _known(summary, ("completed_with_num_err",))  # the older place
    found.add("numerical_errors", numerical[0] if numerical else None)
    flags = {f"errors_{name}" for name in _ERRORS if _number(errors.get(name))}
    return flags | ({"numerical_errors"} if numerical and numerical[0] else set())


def _read_cores(counters: dict[str, Any], memory: dict[str, Any]) -> dict[int, dict[str, float]]:
    """Return the load and the memory of a process's cores."""
    cores: dict[int, dict[str, float]] = {}
    for core, figures in _by_core(_part(counters, "neuroncores_in_use")):
        values = cores.setdefault(core, {})
        percent = _number(figures.get("neuroncore_utilization"))
        if percent is not None and percent <= _ROUNDED_PERCENT:
            values["utilization_share"] = min(percent / 100, 1.0)
        for rate in _known(figures, ("flops", "effective_flops"))[:1]:
            values["flops_per_second"] = rate
    by_core = ("neuron_runtime_used_bytes", "usage_breakdown", "neuroncore_memory_usage")
    for core, figures in _by_core(_part(memory, *by_core)):
        kinds = {name: _number(figures.get(key)) for key, name in _MEMORY_KINDS.items()}
        known = {name: size for name, size in kinds.items() if size is not None}
        cores.setdefault(core, {}).update(known)
        if figures.keys() == _MEMORY_KINDS.keys() and len(known) == len(kinds):
            cores[core]["memory_used_bytes"] = sum(known.values())
    return cores


# --- of the whole machine ------------------------------------------------------------------------


def _read_system(system: dict[str, Any], found: _Found) -> None:
    used = _number(found.group(system, "memory_info").get("memory_used_bytes"))
    if used is not None:
        found.values["memory_system_bytes"] = used
    devices = found.group(system, "neuron_hw_counters").get("neuron_devices")
    for device in devices if isinstance(devices, list) else []:
        if not isinstance(device, dict):
            continue
        # Older tools count fewer kinds of memory.
        corrected, uncorrected = _known(device, _CORRECTED), _known(device, _UNCORRECTED)
        found.add("ecc_corrected", sum(corrected) if corrected else None)
        found.add("ecc_uncorrected", sum(uncorrected) if uncorrected else None)
        if sum(uncorrected):
            found.flags.add("ecc_uncorrected")
            number = device.get("neuron_device_index")
            where = number if type(number) is int else "of unknown number"
            found.notes.append(f"uncorrected memory errors on Neuron device {where}")


# --- reading what may be anything ----------------------------------------------------------------


def _part(document: Any, *path: str) -> dict[str, Any]:
    """Return the mapping at a path; an empty one where there is none."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _by_core(cores: dict[str, Any]) -> Iterable[tuple[int, dict[str, Any]]]:
    for name, figures in cores.items():
        if name.isascii() and name.isdecimal() and len(name) < 6 and isinstance(figures, dict):
            yield int(name), figures


def _number(value: Any) -> float | None:
    """Return a figure that can be one: not negative, not NaN, not endless, no truth value."""
    return float(value) if type(value) in (int, float) and 0 <= value <= _LARGEST else None


def _known(figures: dict[str, Any], names: Iterable[str]) -> list[float]:
    """Return the figures that are there, in the order of their names."""
    return [number for name in names if (number := _number(figures.get(name))) is not None]
