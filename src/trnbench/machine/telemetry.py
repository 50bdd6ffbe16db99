"""All sources in one loop: each is read when due, a failure is reported once, nothing is raised.

It runs in the parent. How long it takes is measured, and a slow source lowers the beat instead of
taking a larger part of the parent's time.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping

from trnbench.machine.host import HostSource
from trnbench.machine.neuron_monitor import NeuronMonitorSource
from trnbench.machine.nvidia import NvmlSource
from trnbench.machine.rapl import RaplSource
from trnbench.machine.source import Absent, Source, Subject, failure
from trnbench.schema.measurement import Reading

MAX_SHARE = 0.02
"""Reading takes at most this part of the time: after a slow turn the next one comes later."""

MAX_PAUSE_SECONDS = 30.0
"""However slow a turn was, the next one comes after this pause."""


class Recorder:
    """Reads sources beside a run; whoever polls writes down what it returns."""

    def __init__(
        self,
        sources: Mapping[str, Source | Absent],
        period_seconds: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take the sources over: `close` closes them."""
        self._period_seconds = period_seconds
        self._clock = clock
        self._sources = {n: s for n, s in sources.items() if not isinstance(s, Absent)}
        self._absent = {n: s for n, s in sources.items() if isinstance(s, Absent)}
        self._reported: dict[tuple[str, int | None], str | None] = {}
        self._due_at = -math.inf

    def poll(self, at_seconds: float) -> list[Reading]:
        """Return the readings that are due now; none if it is too soon."""
        if at_seconds < self._due_at:
            return []
        began = self._clock()
        readings = [failure(n, at_seconds, a.reason) for n, a in self._absent.items()]
        self._absent = {}
        for name, source in list(self._sources.items()):
            readings += [r for r in self._read(name, source, at_seconds) if self._is_news(r)]
        cost = self._clock() - began
        pause = max(self._period_seconds, min(cost / MAX_SHARE, MAX_PAUSE_SECONDS))
        self._due_at = at_seconds + pause
        return readings

    def close(self) -> None:
        """Close every source."""
        for source in self._sources.values():
            self._close(source)
        self._sources = {}

    def _read(self, name: str, source: Source, at_seconds: float) -> list[Reading]:
        try:
            return [_writable(reading) for reading in source.read(at_seconds)]
        except Exception as error:  # noqa: BLE001 - no fault in a source may end a measurement
            del self._sources[name]
            self._close(source)
            why = f"failed and is not read any more: {type(error).__name__}: {error}"
            return [failure(name, at_seconds, why[:200])]

    def _close(self, source: Source) -> None:
        with contextlib.suppress(Exception):  # it is not read again
            source.close()

    def _is_news(self, reading: Reading) -> bool:
        """Whether a reading is valid, or a failure that this device did not just report."""
        key = (reading.source, reading.device)
        if reading.is_valid:
            self._reported.pop(key, None)
            return True
        if key in self._reported and self._reported[key] == reading.note:
            return False
        self._reported[key] = reading.note
        return True


def _writable(reading: Reading) -> Reading:
    """Leave out what is not a finite number: a record could not be written with it."""
    if all(map(math.isfinite, reading.values.values())):
        return reading
    values = {name: value for name, value in reading.values.items() if math.isfinite(value)}
    return dataclasses.replace(reading, values=values)


Opener = Callable[[Subject], Source | Absent]

SOURCES: Mapping[str, Opener] = {
    "host": HostSource.open,
    "rapl": RaplSource.open,
    "nvml": NvmlSource.open,
    "neuron-monitor": NeuronMonitorSource.open,
}


def open_sources(
    subject: Subject, sources: Mapping[str, Opener] = SOURCES
) -> dict[str, Source | Absent]:
    """Open every source, for a `Recorder` to take over; one that is not here says why."""
    opened: dict[str, Source | Absent] = {}
    for name, open_source in sources.items():
        try:
            opened[name] = open_source(subject)
        except Exception as error:  # noqa: BLE001 - no fault in a source may end a measurement
            opened[name] = Absent(f"cannot be opened: {type(error).__name__}: {error}"[:200])
    return opened
