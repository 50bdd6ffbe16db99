"""One line of `neuron-monitor` to readings. Pure, and lenient: what is not known is left out.

A reading of a core has the core's load and memory; the reading without a device has the sums over
all processes that the tool's filter takes. Neuron reports no power, temperature or clock.

Source: Neuron Monitor User Guide, Neuron SDK 2.32,
https://awsdocs-neuron.readthedocs-hosted.com/en/latest/tools/neuron-sys-tools/neuron-monitor-user-guide.html,
and public captures, which differ from it: see `tests/data/neuron/README.md`. Read 2026-11-23.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from trnbench.machine.source import reading
from trnbench.schema.measurement import Reading

NAME = "neuron-monitor"

_LARGEST = 1e21
"""No figure of a machine is larger: what is, is rubbish."""

_ROUNDED_PERCENT = 101.0
"""A full load may be reported as a little more than 100 %."""

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
class _Core:
    """What a report has on one core."""

    values: dict[str, float] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Found:
    """What was found in a report so far."""

    cores: dict[int, _Core] = field(default_factory=dict)
    sums: dict[str, list[float | None]] = field(default_factory=dict)
    """What each process adds; one that is missing makes the sum unknown."""
    values: dict[str, float] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, quantity: str, value: float | None) -> None:
        self.sums.setdefault(quantity, []).append(value)

    def group(self, document: Any, name: str) -> dict[str, Any]:
        """Return a metric group; an empty one if it is missing or tells an error."""
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
        reading(NAME, at_seconds, core.values, device=index, flags=sorted(core.flags))
        for index, core in sorted(found.cores.items())
        if core.values
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
        readings.append(
            reading(
                NAME,
                at_seconds,
                values,
                note=note,
                flags=sorted(found.flags),
                is_valid=bool(values),
            )
        )
    return readings


# --- what a process tells ------------------------------------------------------------------------


def _read_runtime(runtime: Any, found: _Found) -> None:
    report = _part(found.group({"process": runtime}, "process"), "report")
    cores = _read_cores(found.group(report, "neuroncore_counters"), found)
    cores |= _read_memory(found.group(report, "memory_used"), found)
    flags = _read_executions(found.group(report, "execution_stats"), found)
    found.flags |= flags
    for index in cores:
        found.cores[index].flags |= flags
    usage = _part(found.group(report, "neuron_runtime_vcpu_usage"), "vcpu_usage")
    percent = _sum(usage, ("user", "system"))
    found.add("runtime_busy_cpus", None if percent is None else percent / 100)


def _read_cores(group: dict[str, Any], found: _Found) -> set[int]:
    """Take in the cores' load; return which they are."""
    cores = set()
    for index, told in _by_core(_part(group, "neuroncores_in_use")):
        cores.add(index)
        values = found.cores.setdefault(index, _Core()).values
        percent = _number(told.get("neuroncore_utilization"))
        if percent is not None and percent <= _ROUNDED_PERCENT:
            values["utilization_share"] = min(percent / 100, 1.0)
        rate = _first(told, ("flops", "effective_flops"))
        if rate is not None:
            values["flops_per_second"] = rate
    return cores


def _read_memory(group: dict[str, Any], found: _Found) -> set[int]:
    """Take in the memory by core and kind; return which cores it is of."""
    used = _part(group, "neuron_runtime_used_bytes")
    found.add("memory_used_bytes", _number(used.get("neuron_device")))
    found.add("memory_host_bytes", _number(used.get("host")))
    cores = set()
    by_core = _part(_part(used, "usage_breakdown"), "neuroncore_memory_usage")
    for index, told in _by_core(by_core):
        cores.add(index)
        values = found.cores.setdefault(index, _Core()).values
        for key, quantity in _MEMORY_KINDS.items():
            number = _number(told.get(key))
            if number is not None:
                values[quantity] = number
        if _MEMORY_KINDS.keys() == told.keys() and set(_MEMORY_KINDS.values()) <= values.keys():
            values["memory_used_bytes"] = sum(values[name] for name in _MEMORY_KINDS.values())
    return cores


def _read_executions(group: dict[str, Any], found: _Found) -> set[str]:
    """Take in what was executed; return the kinds of errors that there were."""
    summary, errors = _part(group, "execution_summary"), _part(group, "error_summary")
    numerical = _first(errors, ("numerical", "numeric"))
    if numerical is None:
        numerical = _number(summary.get("completed_with_num_err"))
    found.add("executions_completed", _number(summary.get("completed")))
    found.add("executions_failed", _sum(summary, _FAILURES))
    found.add("numerical_errors", numerical)
    latency = _part(group, "latency_stats")
    for kind, quantity in (
        ("total_latency", "latency_p50_seconds"),
        ("device_latency", "device_latency_p50_seconds"),
    ):
        found.add(quantity, _number(_part(latency, kind).get("p50")))
    flags = {f"errors_{name}" for name in _ERRORS if _number(errors.get(name))}
    return flags | ({"numerical_errors"} if numerical else set())


# --- what the whole machine tells ----------------------------------------------------------------


def _read_system(system: dict[str, Any], found: _Found) -> None:
    used = _number(found.group(system, "memory_info").get("memory_used_bytes"))
    if used is not None:
        found.values["memory_system_bytes"] = used
    devices = found.group(system, "neuron_hw_counters").get("neuron_devices")
    for device in devices if isinstance(devices, list) else []:
        if not isinstance(device, dict):
            continue
        corrected = _sum_of_known(device, _CORRECTED)
        uncorrected = _sum_of_known(device, _UNCORRECTED)
        found.add("ecc_corrected", corrected)
        found.add("ecc_uncorrected", uncorrected)
        if uncorrected:
            found.flags.add("ecc_uncorrected")
            number = device.get("neuron_device_index")
            where = number if type(number) is int else "of unknown number"
            found.notes.append(f"uncorrected memory errors on Neuron device {where}")


# --- reading what may be anything ----------------------------------------------------------------


def _part(document: Any, name: str) -> dict[str, Any]:
    part = document.get(name) if isinstance(document, dict) else None
    return part if isinstance(part, dict) else {}


def _by_core(cores: dict[str, Any]) -> Iterable[tuple[int, dict[str, Any]]]:
    for name, told in cores.items():
        if name.isascii() and name.isdecimal() and len(name) < 6 and isinstance(told, dict):
            yield int(name), told


def _number(value: Any) -> float | None:
    """Return a figure that can be one: not negative, not NaN, not endless, no truth value."""
    return float(value) if type(value) in (int, float) and 0 <= value <= _LARGEST else None


def _first(told: dict[str, Any], names: Iterable[str]) -> float | None:
    """Return the figure under the first name that has one."""
    return next((n for name in names if (n := _number(told.get(name))) is not None), None)


def _sum(told: dict[str, Any], names: Iterable[str]) -> float | None:
    """Return the sum of all names' figures, or None if one is missing."""
    numbers = [_number(told.get(name)) for name in names]
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _sum_of_known(told: dict[str, Any], names: Iterable[str]) -> float | None:
    """Return the sum of the figures that are there: older tools count fewer kinds of memory."""
    known = [n for name in names if (n := _number(told.get(name))) is not None]
    return sum(known) if known else None
