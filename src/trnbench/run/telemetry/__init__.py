"""What devices and host report beside a run: one file a source, one line here."""

from collections.abc import Callable, Mapping

from trnbench.run.telemetry.base import Absent, Source, Subject
from trnbench.run.telemetry.host import HostSource
from trnbench.run.telemetry.neuron_monitor import NeuronMonitorSource
from trnbench.run.telemetry.nvml import NvmlSource
from trnbench.run.telemetry.rapl import RaplSource

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
