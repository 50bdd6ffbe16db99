"""What devices and host report beside a run: one file a source, one line here."""

from collections.abc import Callable, Mapping

from trnbench.run.telemetry.base import Absent, Source, Subject
from trnbench.run.telemetry.host import HostSource
from trnbench.run.telemetry.nvml import NvmlSource
from trnbench.run.telemetry.rapl import RaplSource

SOURCES: Mapping[str, Callable[[Subject], Source | Absent]] = {
    "host": HostSource.open,
    "rapl": RaplSource.open,
    "nvml": NvmlSource.open,
}


def open_sources(
    subject: Subject, sources: Mapping[str, Callable[[Subject], Source | Absent]] = SOURCES
) -> dict[str, Source | Absent]:
    """Open every source, for a `Recorder` to take over; one that is not here says why."""
    return {name: open_source(subject) for name, open_source in sources.items()}
