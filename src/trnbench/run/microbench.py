"""Measures a device's peaks: parts one after another, and each figure is kept at once.

One worker times single operations, one a device times collectives; on Neuron the vendor's own tool
times those, before a worker claims a core.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from trnbench.errors import ConfigError, DataError, RunError
from trnbench.machine.neuron import TOOL, find_nccom_test, time_collective
from trnbench.plan.microbench import Part, Planned
from trnbench.protocol.orders import CollectiveTask, Microbench, WorkOrder
from trnbench.protocol.parallel import ALL_REDUCE_BYTES
from trnbench.protocol.records import Environment, FoundDevice, PeakPoint
from trnbench.redact import redact
from trnbench.run.disk import StorageFull, write_whole
from trnbench.run.environment import environment_of_rank, user_cache_folder
from trnbench.run.job import Job
from trnbench.run.meeting import Meeting
from trnbench.run.outcomes import End
from trnbench.run.store import first_fault
from trnbench.run.watch import Interruption, LoadWatch
from trnbench.run.worker import converse
from trnbench.schema.measurement import MeasuredPeak, Watch
from trnbench.schema.microbench import PeakDocument, PeakReading

PEAK_FILE = "peak.json"
PEAKS = Path("peaks")
"""Where `trnbench peak` keeps what it measures, unless it is told another folder."""

HANG_SECONDS = 600.0
"""As `measure.hang_seconds` of a run."""
HANG_HINT = (
    f"if that is no hang, ask for things that take less than {HANG_SECONDS:g} s each: a smaller "
    "--model, --sequence-length, --batch, --square, --array-mib or --message-mib"
)


class PeakRun:
    """Measures parts one after another, and keeps their document up to date in a folder."""

    def __init__(
        self,
        document: PeakDocument,
        folder: Path,
        *,
        python: str,
        interruption: Interruption,
        notify: Callable[[PeakReading], None],
    ) -> None:
        """Make the folder and write the document; `notify` receives each reading.

        Raises:
            ConfigError: the folder cannot be written, or holds such a document already.
            RunError: the disk is full.
        """
        self.document = document
        self._folder = folder
        self._python = python
        self._interruption = interruption
        self._notify = notify
        self._watches: list[Watch] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / PEAK_FILE).touch(exist_ok=False)
        except FileExistsError:
            raise ConfigError(
                f"{folder}: holds a {PEAK_FILE} already, which is never overwritten",
                hint="name another folder with `-o`, or print it again with `--from`",
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot be written: {error.strerror}",
                hint="name another folder with `-o`",
            ) from error
        self._keep(readings=document.readings)

    def measure(self, parts: Sequence[Part]) -> PeakDocument:
        """Measure every part, or as far as it goes, and return the document with its end."""
        try:
            for part in parts:
                self._measure(part)
        except End as end:
            ended = end.outcome(0.0)
            self._keep(status=ended.status, reason=ended.reason, hint=ended.hint)
        else:
            self._keep(status="finished", reason=None)
        return self.document

    def measure_by_tool(self, planned: Sequence[Planned]) -> None:
        """Time collectives by the vendor's tool; where there is none, the readings say so."""
        tool = find_nccom_test() if planned else None
        for each in planned:
            if self._interruption.signal is not None:
                return  # `measure` records it
            task = each.task
            timed: float | str = f"{TOOL} is not here: it comes with aws-neuronx-tools"
            if tool is not None and isinstance(task, CollectiveTask):
                timed = time_collective(tool, task, each.ranks)
            self._add(
                PeakReading(
                    group=each.group,
                    label=each.label,
                    task=task,
                    ranks=each.ranks,
                    source="nccom-test",
                    runs=None,
                    seconds=(timed,) if isinstance(timed, float) else (),
                    reason=redact(timed) if isinstance(timed, str) else None,
                )
            )

    def _measure(self, part: Part) -> None:
        """Measure one part with one worker a rank; rank 0 sends the figures of all."""
        planned = {each.task.name: each for each in part.planned}
        with start_ranks(self._python, part.task, part.ranks) as job:
            load = LoadWatch(job.pids)
            for rank, record in converse(
                job,
                backend=part.task.backend,
                hang=HANG_SECONDS,
                hang_hint=HANG_HINT,
                check=self._interruption.check,
            ):
                if rank != 0:
                    continue
                if isinstance(record, Environment) and self.document.environment is None:
                    self._keep(environment=record)
                elif isinstance(record, PeakPoint) and record.name in planned:
                    self._note_load(load)
                    self._take(planned[record.name], record)

    def _note_load(self, load: LoadWatch) -> None:
        """Keep what others did since the last time, while workers can still be told apart."""
        seen = load.look(time.perf_counter(), "measure")
        if seen is None:
            return
        self._watches.append(seen)
        used = sum(watch.foreign_cpu_share * watch.seconds for watch in self._watches)
        share = used / sum(watch.seconds for watch in self._watches)
        self.document = self.document.model_copy(update={"foreign_cpu_share": share})

    def _take(self, planned: Planned, point: PeakPoint) -> None:
        self._add(
            PeakReading(
                group=planned.group,
                label=planned.label,
                task=planned.task,
                count=planned.count,
                ranks=planned.ranks,
                runs=point.runs or None,
                seconds=tuple(point.seconds),
                reason=None if point.reason is None else redact(point.reason),
            )
        )

    def _add(self, reading: PeakReading) -> None:
        self._keep(readings=(*self.document.readings, reading))
        self._notify(reading)

    def _keep(self, **changed: object) -> None:
        self.document = self.document.model_copy(update=changed)
        try:
            write_whole(self._folder / PEAK_FILE, self.document.model_dump_json(indent=1))
        except StorageFull as full:
            raise RunError(
                f"{self._folder}: the disk is full: {full}",
                hint="free some, or name another with -o",
            ) from full


def start_ranks(python: str, task: Microbench, ranks: int) -> Job:
    """Start a worker for each rank, with its seat."""
    caches = user_cache_folder()
    with Meeting.of(task.backend, ranks) as meeting:
        tasks = [replace(task, seat=seat) for seat in meeting.seats]
        variables = [environment_of_rank(each, each.seat, os.environ, caches) for each in tasks]
        return meeting.start(python, tasks, variables)


def find_all_reduce_peak(
    order: WorkOrder, devices: Iterable[FoundDevice], folders: Path = PEAKS
) -> MeasuredPeak | None:
    """Return the newest all-reduce that `trnbench peak` timed between as many such devices.

    What cannot be read is passed over: no run depends on it.

    Args:
        order: of the job.
        devices: that are here.
        folders: the folder of the folders that `trnbench peak` wrote.
    """
    ranks = order.layout.world_size
    here = {(each.backend, each.device_name) for each in devices if each.backend == order.backend}
    found: list[MeasuredPeak] = []
    for path in folders.glob(f"*/{PEAK_FILE}") if ranks > 1 else ():
        with contextlib.suppress(DataError):
            document = read_peak(path)
            seen = document.environment
            if seen is not None and (seen.backend, seen.device_name) in here:
                found += _all_reduces(document, ranks, path.parent.name)
    return max(found, key=lambda each: each.started_at, default=None)


def _all_reduces(document: PeakDocument, ranks: int, folder: str) -> Iterator[MeasuredPeak]:
    """Yield the all-reduces that a job of so many ranks times too."""
    for reading in document.readings:
        task = reading.task
        if not isinstance(task, CollectiveTask) or task.operation != "all_reduce":
            continue
        if reading.ranks == ranks and task.whole_bytes == ALL_REDUCE_BYTES and reading.seconds:
            yield MeasuredPeak(
                ranks=ranks,
                whole_bytes=task.whole_bytes,
                seconds=median(reading.seconds),
                source=reading.source,
                folder=folder,
                started_at=document.started_at,
            )


def read_peak(folder: Path) -> PeakDocument:
    """Read a folder's document.

    Raises:
        DataError: there is none, or another version wrote it.
    """
    path = folder if folder.name == PEAK_FILE else folder / PEAK_FILE
    try:
        return PeakDocument.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}",
            hint="name a folder that `trnbench peak` wrote",
        ) from error
    except ValidationError as error:
        raise DataError(
            f"{path}: is not a peak.json of this version: {first_fault(error)}",
            hint="it was changed or cut off, or a newer trnbench wrote it: measure again",
        ) from error
