"""A job's workers: started, their records yielded as they come, every bad end raised.

The one conversation with workers, for cases, microbenchmarks, profiles and questions, of one rank
or many. Each worker leads a process group of its own, and none is left when the job is over.
"""

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
from trnbench.protocol.orders import Command, Finish, Task, encode_task
from trnbench.protocol.records import CHILD_RECORDS, Block, ChildRecord, Failed, Finished, Phase
from trnbench.run import outcomes
from trnbench.run.outcomes import End
from trnbench.run.watch import Clock, HangWatch

ENTRY = Path(__file__).resolve().parents[1] / "train" / "entry.py"

TICK_SECONDS = 0.2
"""A job in which nothing happens says so this often."""

SETTLE_SECONDS = 2.0
"""How long the other ranks are heard after the first has failed: one that only lost its peer may
have been quicker to say so than the peer's death was to be seen."""

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
    """Nothing came for a moment from any worker."""


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
        """Ranks that have said that they did all they were asked for."""
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
        """Return the job, whose workers run."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left of it."""
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
        """Return what a worker does, as far as it has said."""
        return self._phases[rank]

    def last_words(self, rank: Rank = 0) -> str:
        """Return the end of what a worker and its libraries printed."""
        return self._workers[rank].last_words()

    def events(self) -> Iterator[Event]:
        """Yield what happens, something at least every 0.2 seconds, until every worker is gone."""
        while self._pending or self._running:
            if not self._pending:
                self._listen()
            yield self._pending.popleft()

    def give(self, rank: Rank, task: Task) -> None:
        """Give a worker what it is to do, before any command."""
        self._workers[rank].write(encode_task(task).encode() + b"\n")

    def send(self, command: Command) -> None:
        """Tell all workers what to do next; that one is gone is noticed by `events`."""
        if isinstance(command, Finish):
            self._phases = ["end"] * self.ranks
        for worker in self._workers:
            worker.write(encode(command).encode() + b"\n")

    def heard(self, rank: Rank, record: ChildRecord) -> None:
        """Take note of how far a record says that its worker is."""
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

    def _listen(self) -> None:
        """Wait for a moment, and take note of what happened."""
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
            worker.read_words()
            self._pending.extend(Line(rank, line) for line in lines)
            if not lines and exit_code is not None:
                self._running.remove(rank)
                self._pending.append(Exited(rank, exit_code))
        if not self._pending:
            self._pending.append(Silence())


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
    backend: str | None,
    hang: float,
    hang_hint: str,
    clock: Clock = time.perf_counter,
    look: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Rank, ChildRecord]]:
    """Yield what the job's workers say until they have finished; raise any other end.

    The consumer works between two records, while the worker that sent the first one may wait.

    Args:
        job: of one rank or many.
        backend: whose vendor's error texts may come; None for none.
        hang: seconds without a word from any rank that are a hang, if no compiler is at work.
        hang_hint: what to do about one.
        clock: of hangs.
        look: called after every event, at least every 0.2 seconds; it may raise an `End`.

    Raises:
        End: a worker failed, is gone, sent what is no record, or is of another version; or all
            hang. Of several ranks the one is named whose failure ended the others.
    """
    watch = HangWatch(job.pids, hang, clock())
    for event in job.events():
        if isinstance(event, Line):
            record = _read(job, event)
            watch.heard(clock())
            if isinstance(record, Failed):
                raise _first_cause(job, event.rank, record, backend, clock)
            job.heard(event.rank, record)
            yield event.rank, record
            if len(job.finished) == job.ranks:
                return
        elif isinstance(event, Overflow):
            raise _named(job, event.rank, _endless(job, event.rank))
        elif isinstance(event, Exited) and event.rank not in job.finished:
            raise _first_cause(job, event.rank, event, backend, clock)
        look()
        if watch.is_hung(clock()):
            raise _hang(job, watch.silent_seconds(clock()), hang_hint)
    raise RuntimeError("the workers' events ended without an end")


def _read(job: Job, line: Line) -> ChildRecord:
    try:
        record: ChildRecord = decode(line.text, CHILD_RECORDS)
    except ProtocolError as error:
        words = job.last_words(line.rank)
        raise _named(job, line.rank, outcomes.of_unreadable(line.text, error, words)) from None
    outcomes.require_version(record)
    return record


def _endless(job: Job, rank: Rank) -> End:
    return outcomes.of_garbage("a line without an end", job.last_words(rank))


def _named(job: Job, rank: Rank, end: End) -> End:
    """Say which rank it was, where there are several."""
    if job.ranks == 1:
        return end
    return replace(end, reason=f"rank {rank} of {job.ranks}: {end.reason}")


def _hang(job: Job, silent_seconds: float, hint: str) -> End:
    if job.ranks == 1:
        return outcomes.of_hang(silent_seconds, hint, repr(job.phase()), job.last_words())
    ranks = range(job.ranks)
    phases = ", ".join(f"{job.phase(rank)!r} (rank {rank})" for rank in ranks)
    words = [f"rank {rank}: {job.last_words(rank).strip()}" for rank in ranks]
    return outcomes.of_hang(silent_seconds, hint, phases, "\n".join(words))


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
"""Signals that end a rank whatever its peers do; one whose peer is gone aborts or exits."""


def _first_cause(
    job: Job, rank: Rank, what: Failed | Exited, backend: str | None, clock: Clock
) -> End:
    """Hear how the other ranks end, and return the end that is nobody else's echo."""
    if job.ranks == 1:
        return _end_of(job, rank, what, backend)
    heard = {rank: what}
    deadline = clock() + SETTLE_SECONDS
    for event in job.events():
        if isinstance(event, Exited) and event.rank not in job.finished:
            heard.setdefault(event.rank, event)
        elif isinstance(event, Line):
            with_words = _failure_in(event)
            if with_words is not None:
                heard.setdefault(event.rank, with_words)
        if len(heard) == job.ranks or clock() > deadline:
            break
    ends = {each: _end_of(job, each, said, backend) for each, said in heard.items()}
    first = min(ends, key=lambda each: _doubt(heard[each], ends[each]))
    echoes = [f"rank {each}: {end.reason}" for each, end in ends.items() if each != first]
    detail = "\n".join(filter(None, [ends[first].detail, *echoes]))
    return _named(job, first, replace(ends[first], detail=detail or None))


def _failure_in(line: Line) -> Failed | None:
    try:
        record = decode(line.text, CHILD_RECORDS)
    except ProtocolError:
        return None
    return record if isinstance(record, Failed) else None


def _end_of(job: Job, rank: Rank, what: Failed | Exited, backend: str | None) -> End:
    words = job.last_words(rank)
    if isinstance(what, Failed):
        return outcomes.of_failure(backend, what, words)
    return outcomes.of_death(backend, what.exit_code, words, job.phase(rank))


def _doubt(what: Failed | Exited, end: End) -> int:
    """Return 0 for an end of the rank's own, 2 for one that a lost peer explains, else 1."""
    if isinstance(what, Exited) and what.exit_code in _OWN_DEATHS:
        return 0
    if end.status == "collective_timeout" or _LOST_PEER.search(f"{end.reason}\n{end.detail}"):
        return 2
    return 1 if end.status in ("bug", "died") else 0
