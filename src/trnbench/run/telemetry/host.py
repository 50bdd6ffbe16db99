"""The host's own figures through psutil: processors, memory, load, and its hottest sensor."""

import math
from typing import Any

import psutil

from trnbench.run.telemetry.base import Subject
from trnbench.schema.records import Reading

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
        return [
            Reading(
                at_seconds=at_seconds,
                source=self.name,
                device=None,
                is_valid=True,
                note=None,
                values=values,
                flags=[],
            )
        ]

    def close(self) -> None:
        """Nothing is held."""

    def _cpu_share(self) -> dict[str, float]:
        busy, total = self._processor_seconds()
        spent, passed = busy - self._last_busy, total - self._last_total
        if passed <= 0:
            return {}  # within one tick of the kernel's clock nothing can be told
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
