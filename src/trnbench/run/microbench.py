"""Measures a device's ceilings: workers are started, heard, and gone; each figure is kept at once.

Single things are timed by one worker, collectives by one a device, which must not be busy with
anything else; on Neuron the vendor's own tool times them, before a worker claims a core.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from trnbench.catalog.backends import backend_of
from trnbench.errors import ConfigError, DataError, RunError
from trnbench.machine.neuron import TOOL, find_nccom_test, time_collective
from trnbench.plan.microbench import Part, Planned
from trnbench.protocol.orders import CollectiveTask, Microbench
from trnbench.protocol.records import ChildRecord, Environment, PeakPoint
from trnbench.redact import redact
from trnbench.run.outcomes import End
from trnbench.run.store import StorageFull, write_whole
from trnbench.run.watch import Clock, Interruption, LoadWatch
from trnbench.run.worker import converse, start
from trnbench.schema.measurement import Watch
from trnbench.schema.microbench import PeakDocument, PeakReading

PEAK_FILE = "peak.json"
HANG_SECONDS = 600.0
"""As `measure.hang_seconds` of a run."""
HANG_HINT = (
    f"if that is no hang, ask for things that take less than {HANG_SECONDS:g} s each: a smaller "
    "--model, --sequence-length, --batch, --square, --array-mib or --message-mib"
)

Told = Callable[[PeakReading], None]
Variables = Callable[[Microbench], Mapping[str, str]]


class PeakFolder:
    """The folder of one `peak.json`."""

    def __init__(self, path: Path) -> None:
        """Make it.

        Raises:
            ConfigError: it cannot be written, or holds such a file already.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / PEAK_FILE).touch(exist_ok=False)
        except FileExistsError:
            raise ConfigError(
                f"{path}: holds a {PEAK_FILE} already, which is never overwritten",
                hint="name another folder with `-o`, or print it again with `--from`",
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be written: {error.strerror}",
                hint="name another folder with `-o`",
            ) from error

    def write(self, document: PeakDocument) -> None:
        """Keep what is known so far.

        Raises:
            RunError: the disk is full; what was written before stands.
        """
        try:
            write_whole(self.path / PEAK_FILE, document.model_dump_json(indent=1))
        except StorageFull as full:
            raise RunError(
                f"{self.path}: the disk is full: {full}", hint="free some, or name another with -o"
            ) from full


def read_peak(folder: Path) -> PeakDocument:
    """Read a folder's document.

    Raises:
        DataError: there is none, or it is none of this version's.
    """
    path = folder if folder.name == PEAK_FILE else folder / PEAK_FILE
    try:
        return PeakDocument.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}",
            hint="name a folder that `trnbench peak` wrote",
        ) from error
    except ValueError as error:
        raise DataError(
            f"{path}: is no peak.json of this version: {_first_fault(error)}",
            hint="it was changed or cut off, or a newer trnbench wrote it: measure again",
        ) from error


def _first_fault(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:120]
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"


class PeakRun:
    """Has the parts measured one after another, and keeps the document up to date."""

    def __init__(
        self,
        document: PeakDocument,
        folder: PeakFolder,
        *,
        python: str,
        variables: Variables,
        interruption: Interruption,
        told: Told,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.document = document
        self._folder = folder
        self._python = python
        self._variables = variables
        self._interruption = interruption
        self._told = told
        self._clock = clock
        self._watches: list[Watch] = []
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

    def measure_by_tool(self, planned: Sequence[Planned], ranks: int) -> None:
        """Have the vendor's tool time collectives; where there is none, that is the reason told."""
        tool = find_nccom_test() if planned else None
        for each in planned:
            if self._interruption.signal is not None:
                return  # `measure` says so
            task = each.task
            timed: float | str = f"{TOOL} is not here: it comes with aws-neuronx-tools"
            if tool is not None and isinstance(task, CollectiveTask):
                timed = time_collective(tool, task, ranks)
            self._add(
                PeakReading(
                    group=each.group,
                    label=each.label,
                    task=task,
                    ranks=ranks,
                    source="nccom-test",
                    runs=None,
                    seconds=(timed,) if isinstance(timed, float) else (),
                    reason=redact(timed) if isinstance(timed, str) else None,
                )
            )

    def _measure(self, part: Part) -> None:
        planned = {each.task.name: each for each in part.planned}
        with tempfile.TemporaryDirectory() as folder:
            tasks = _of_ranks(part.task, Path(folder))
            with start(self._python, tasks, list(map(self._variables, tasks))) as job:
                load = LoadWatch(job.pids, self._clock)
                for rank, record in converse(
                    job,
                    backend=part.task.backend,
                    hang=HANG_SECONDS,
                    hang_hint=HANG_HINT,
                    clock=self._clock,
                    check=self._interruption.check,
                ):
                    if rank == 0:
                        self._hear(record, planned, load, part.task.ranks)

    def _hear(
        self, record: ChildRecord, planned: Mapping[str, Planned], load: LoadWatch, ranks: int
    ) -> None:
        if isinstance(record, Environment) and self.document.environment is None:
            self._keep(environment=record)
        elif isinstance(record, PeakPoint) and record.name in planned:
            self._watch(load)
            self._take(planned[record.name], record, ranks)

    def _watch(self, load: LoadWatch) -> None:
        """Keep what others did since the last time, while workers can still be told apart."""
        seen = load.look(self._clock(), "measure")
        if seen is None:
            return
        self._watches.append(seen)
        used = sum(watch.foreign_cpu_share * watch.seconds for watch in self._watches)
        share = used / sum(watch.seconds for watch in self._watches)
        self.document = self.document.model_copy(update={"foreign_cpu_share": share})

    def _take(self, planned: Planned, point: PeakPoint, ranks: int) -> None:
        reading = PeakReading(
            group=planned.group,
            label=planned.label,
            task=planned.task,
            count=planned.count,
            ranks=ranks,
            runs=point.runs or None,
            seconds=tuple(point.seconds),
            reason=None if point.reason is None else redact(point.reason),
        )
        self._add(reading)

    def _add(self, reading: PeakReading) -> None:
        """Keep one more reading, and tell whoever watches."""
        self._keep(readings=(*self.document.readings, reading))
        self._told(reading)

    def _keep(self, **changed: object) -> None:
        self.document = self.document.model_copy(update=changed)
        self._folder.write(self.document)


def _of_ranks(first: Microbench, folder: Path) -> list[Microbench]:
    """Return the task of each rank: a device for each, and a file by which they meet."""
    if first.ranks == 1:
        return [first]
    meeting = str(folder / "ranks")
    return [
        replace(
            first,
            rank=rank,
            rendezvous=meeting,
            device_index=None if backend_of(first.backend).is_host else rank,
        )
        for rank in range(first.ranks)
    ]
