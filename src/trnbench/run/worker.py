"""A job's workers: started, their records yielded as they come, every bad end raised.

The one conversation with workers, for cases, microbenchmarks, profiles and questions, of one rank
or many. Each worker leads a process group of its own, and none is left when the job is over.
"""

import math
import re
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from trnbench.errors import ConfigError
from trnbench.process import Child, LineTooLongError
from trnbench.protocol.codec import ProtocolError, decode, encode
from trnbench.protocol.orders import PROTOCOL_VERSION, Command, Finish, Task, encode_task
from trnbench.protocol.records import (
    CHILD_RECORDS,
    Block,
    ChildRecord,
    Failed,
    Finished,
    Phase,
)
from trnbench.run import outcomes
from trnbench.run.outcomes import End
from trnbench.run.watch import Clock, HangWatch

ENTRY = Path(__file__).resolve().parents[1] / "train" / "entry.py"

TICK_SECONDS = 0.2
"""A job yields an event at least this often."""

SETTLE_SECONDS = 2.0
"""How long the other ranks are read after one has failed: a rank that only lost its peer may have
said so before the peer's death was seen."""

Rank = int


@dataclass(frozen=True, slots=True)
class Line:
    """One whole line that a worker sent on its record pipe."""

    rank: Rank
    text: bytes


@dataclass(frozen=True, slots=True)
class Overflow:
    """A worker sent more than a line can hold without ending one."""

    rank: Rank


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker is gone and all that it sent has been read."""

    rank: Rank
    exit_code: int
    """Negative: the signal that ended it."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No worker sent anything for a moment."""


Event = Line | Overflow | Exited | Silence


class Job:
    """Workers that were started together, one a rank; leaving its `with` block ends them all."""

    def __init__(
        self, commands: Sequence[Sequence[str]], variables: Sequence[Mapping[str, str]] = ()
    ) -> None:
        """Start a worker for each command.

        Args:
            commands: in the order of ranks; the option for the record pipe is added here.
            variables: of each rank's environment, on top of the parent's own.

        Raises:
            ConfigError: an interpreter cannot be started; no worker is left.
        """
        self._workers: list[Child] = []
        self._phases = ["start"] * len(commands)
        self.finished: set[Rank] = set()
        """Ranks that have done their task."""
        self._pending: deque[Event] = deque()
        try:
            for command, added in zip(commands, variables or [{}] * len(commands), strict=True):
                self._workers.append(Child(command, added, lines_option="--records-fd"))
        except OSError as error:
            self.end(0.0)
            raise ConfigError(
                f"{command[0]}: cannot be started: {error.strerror}",
                hint="name a Python interpreter with `--python PATH`",
            ) from error
        self._running = set(range(len(commands)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def ranks(self) -> int:
        """How many workers it has."""
        return len(self._phases)

    @property
    def pids(self) -> list[int]:
        """Of its workers, in the order of ranks."""
        return [worker.pid for worker in self._workers]

    def phase(self, rank: Rank = 0) -> str:
        """Return what a worker is doing, as far as its records say."""
        return self._phases[rank]

    def output_tail(self, rank: Rank = 0) -> str:
        """Return the end of what a worker and its libraries printed."""
        return self._workers[rank].output_tail()

    def give(self, rank: Rank, task: Task) -> None:
        """Send a worker its task."""
        self._workers[rank].write(encode_task(task).encode() + b"\n")

    def send(self, command: Command) -> None:
        """Send all workers a command; `events` shows whether one is gone."""
        if isinstance(command, Finish):
            self._phases = ["end"] * self.ranks
        for worker in self._workers:
            worker.write(encode(command).encode() + b"\n")

    def events(self) -> Iterator[Event]:
        """Yield what happens, at least every `TICK_SECONDS`, until every worker is gone."""
        while self._pending or self._running:
            if not self._pending:
                self._wait()
            yield self._pending.popleft()

    def _wait(self) -> None:
        """Wait for a moment, and queue what happened."""
        running = [(rank, self._workers[rank]) for rank in sorted(self._running)]
        with selectors.DefaultSelector() as selector:
            for _, worker in running:
                for descriptor in worker.descriptors:
                    selector.register(descriptor, selectors.EVENT_READ)
            selector.select(TICK_SECONDS)
        for rank, worker in running:
            exit_code = worker.exit_code  # before reading: all that it sent is there then
            try:
                lines = worker.read_lines()
            except LineTooLongError:
                self._pending.append(Overflow(rank))
                continue
            worker.read_output()
            self._pending.extend(Line(rank, line) for line in lines)
            if not lines and exit_code is not None:
                self._running.remove(rank)
                self._pending.append(Exited(rank, exit_code))
        if not self._pending:
            self._pending.append(Silence())

    def note(self, rank: Rank, record: ChildRecord) -> None:
        """Keep what a record says of its worker's progress."""
        if isinstance(record, Phase):
            self._phases[rank] = record.name
        elif isinstance(record, Block):
            self._phases[rank] = "measure" if record.purpose == "measure" else "warm up"
        elif isinstance(record, Finished):
            self.finished.add(rank)

    def end(self, grace_seconds: float = 3.0) -> None:
        """End the workers and everything that they started, within one time of grace for all."""
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + grace_seconds
        while self._workers:
            self._workers.pop(0).end(max(deadline - time.monotonic(), 0.0))


def start(python: str, tasks: Sequence[Task], variables: Sequence[Mapping[str, str]] = ()) -> Job:
    """Start workers under an interpreter on this machine, one for each task in order of ranks.

    Raises:
        ConfigError: the interpreter cannot be started.
    """
    job = Job([[python, str(ENTRY)]] * len(tasks), variables)
    for rank, task in enumerate(tasks):
        job.give(rank, task)
    return job


def converse(
    job: Job,
    *,
    backend: str | None = None,
    hang: float = math.inf,
    hang_hint: str | None = None,
    clock: Clock = time.perf_counter,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Rank, ChildRecord]]:
    """Yield the records of a job's workers until all have finished; raise any other end.

    The consumer works between two records, while the worker that sent the first one may wait.

    Args:
        job: of one rank or many.
        backend: whose vendor's error texts may come.
        hang: seconds without a record from any rank that are a hang, if no compiler is at work.
        hang_hint: what to do about one; None names `measure.hang_seconds`.
        clock: of hangs.
        check: called after every event, at least every `TICK_SECONDS`; it may raise an `End`.

    Raises:
        End: a worker failed, is gone, sent what is no record, or is of another version; or all
            hang. Of several ranks it names the one whose failure ended the others.
    """
    watch = HangWatch(job.pids, hang, clock())
    for event in job.events():
        match event:
            case Line(rank):
                record = _read(job, event)
                watch.reset(clock())
                if isinstance(record, Failed):
                    raise _first_cause(job, rank, record, backend, clock)
                job.note(rank, record)
                yield rank, record
                if len(job.finished) == job.ranks:
                    return
            case Exited(rank) if rank not in job.finished:
                raise _first_cause(job, rank, event, backend, clock)
            case Overflow(rank):
                raise _garbage(job, rank, "a line without an end")
        check()
        if watch.is_hung(clock()):
            hint = hang_hint or f"if that is no hang, allow more than measure.hang_seconds={hang:g}"
            raise _hang(job, watch.silent_seconds(clock()), hint)
    raise RuntimeError("the workers' events ended without an end")


def _read(job: Job, line: Line) -> ChildRecord:
    try:
        record: ChildRecord = decode(line.text, CHILD_RECORDS)
    except ProtocolError as error:
        what = f"{error}: {line.text[:120].decode(errors='replace')!r}"
        raise _garbage(job, line.rank, what) from None
    version = getattr(record, "wire_version", PROTOCOL_VERSION)
    if version != PROTOCOL_VERSION:
        raise outcomes.of_version(version)
    return record


def _garbage(job: Job, rank: Rank, what: str) -> End:
    return _named(job, rank, outcomes.of_garbage(what, job.output_tail(rank)))


def _named(job: Job, rank: Rank, end: End) -> End:
    """Name the rank, where there are several."""
    if job.ranks == 1:
        return end
    return replace(end, reason=f"rank {rank} of {job.ranks}: {end.reason}")


def _hang(job: Job, silent_seconds: float, hint: str) -> End:
    if job.ranks == 1:
        return outcomes.of_hang(silent_seconds, hint, repr(job.phase()), job.output_tail())
    ranks = range(job.ranks)
    phases = ", ".join(f"{job.phase(rank)!r} (rank {rank})" for rank in ranks)
    output = "\n".join(f"rank {rank}: {job.output_tail(rank).strip()}" for rank in ranks)
    return outcomes.of_hang(silent_seconds, hint, phases, output)


# --- which rank failed first ----------------------------------------------------------------------

_LOST_PEER = re.compile(
    r"connection (closed|reset|refused|was closed)|closed by (remote )?peer|broken pipe"
    r"|remote process exited|socket timeout|peer .*(gone|disconnect)",
    re.IGNORECASE,
)
"""What a rank says that only lost another one.

Sources: gloo/transport/tcp/pair.cc ("Connection closed by peer"); NCCL's ncclRemoteError ("remote
process exited or there was a network error"); errno's own texts. Read 2026-11-30."""

_OWN_DEATHS = {-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE}
"""Signals that end a rank whatever its peers do; a rank whose peer is gone aborts or exits."""


def _first_cause(
    job: Job, rank: Rank, failure: Failed | Exited, backend: str | None, clock: Clock
) -> End:
    """Wait for how the other ranks end, and return the end that no other rank's end explains."""
    if job.ranks == 1:
        return _end_of(job, rank, failure, backend)
    failures = {rank: failure}
    deadline = clock() + SETTLE_SECONDS
    for event in job.events():
        if isinstance(event, Exited) and event.rank not in job.finished:
            failures.setdefault(event.rank, event)
        elif isinstance(event, Line) and (failed := _failure_in(event)):
            failures.setdefault(event.rank, failed)
        if len(failures) == job.ranks or clock() > deadline:
            break
    ends = {each: _end_of(job, each, failures[each], backend) for each in failures}
    first = min(ends, key=lambda each: _dependence(failures[each], ends[each]))
    others = [f"rank {each}: {end.reason}" for each, end in ends.items() if each != first]
    detail = "\n".join(filter(None, [ends[first].detail, *others]))
    return _named(job, first, replace(ends[first], detail=detail or None))


def _failure_in(line: Line) -> Failed | None:
    try:
        failed: Failed = decode(line.text, (Failed,))
    except ProtocolError:
        return None
    return failed


def _end_of(job: Job, rank: Rank, failure: Failed | Exited, backend: str | None) -> End:
    output = job.output_tail(rank)
    if isinstance(failure, Failed):
        return outcomes.of_failure(backend, failure, output)
    return outcomes.of_death(backend, failure.exit_code, output, job.phase(rank))


def _dependence(failure: Failed | Exited, end: End) -> int:
    """Return 0 for an end of the rank's own, 2 for one that a lost peer explains, else 1."""
    if isinstance(failure, Exited) and failure.exit_code in _OWN_DEATHS:
        return 0
    if end.status == "collective_timeout" or _LOST_PEER.search(f"{end.reason}\n{end.detail}"):
        return 2
    return 1 if end.status in ("bug", "died") else 0
