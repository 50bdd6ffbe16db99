"""The one conversation with a job's workers: records yielded as they come, bad ends raised.

It is that of cases, microbenchmarks, profiles and questions, of one rank or many.
"""

import math
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trnbench.protocol.codec import ProtocolError, decode
from trnbench.protocol.orders import PROTOCOL_VERSION, Task
from trnbench.protocol.records import CHILD_RECORDS, ChildRecord, Failed
from trnbench.run import hang as hangs
from trnbench.run import outcomes
from trnbench.run.job import LOST, Exited, Job, Line, Overflow, Rank, Variables
from trnbench.run.outcomes import End
from trnbench.run.watch import Clock, HangWatch

if TYPE_CHECKING:
    from trnbench.run.remote import RemoteRanks

OUTPUT_CHARACTERS = hangs.OUTPUT_CHARACTERS
"""Of what all ranks printed, in the detail of an end."""

ENTRY = Path(__file__).resolve().parents[1] / "train" / "entry.py"

SETTLE_SECONDS = 2.0
"""How long the other ranks are read after one has failed: a rank that only lost its peer may have
said so before the peer's death was seen."""

NODE_SETTLE_SECONDS = 75.0
"""How long, where ranks of several nodes only lost a peer: that a node is lost shows later."""


def start(
    python: str,
    tasks: Sequence[Task],
    variables: Sequence[Variables] = (),
    descriptors: Mapping[Rank, int] | None = None,
    remote: "Sequence[RemoteRanks]" = (),
) -> Job:
    """Start workers under an interpreter on this machine, one for each task in order of ranks.

    `descriptors` of this process are inherited, each by one rank; `remote` are the ranks after
    those, which other nodes have started.

    Raises:
        ConfigError: the interpreter cannot be started.
    """
    job = Job([[python, str(ENTRY)]] * len(tasks), variables, descriptors, remote=remote)
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
        check: called after what came at once, at least every `TICK_SECONDS`; it may raise an `End`.

    Raises:
        End: a worker failed, is gone, sent what is no record, or is of another version; or all
            hang. Of several ranks it names the one whose failure ended the others.
    """
    watch = HangWatch(job.pids, hang, clock(), job.work_seconds)
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
        if job.has_more:  # 64 ranks send at once
            continue
        check()
        if watch.is_hung(clock()):
            hint = hang_hint or f"if that is no hang, allow more than measure.hang_seconds={hang:g}"
            raise hangs.end_of(job, watch.silent_seconds(clock()), hint)
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
    return named(job, rank, outcomes.of_garbage(what, job.output_tail(rank)))


def named(job: Job, rank: Rank, end: End) -> End:
    """Name the rank, where there are several."""
    if job.ranks == 1:
        return end
    return replace(end, reason=f"rank {rank} of {job.ranks}{_at(job, rank)}: {end.reason}")


def _at(job: Job, rank: Rank) -> str:
    """Name the rank's machine, where there are several."""
    node = job.node(rank)
    return "" if node is None else f" on node {node}"


# --- which rank failed first ----------------------------------------------------------------------

_LOST_PEER = re.compile(
    r"connection (closed|reset|refused|was (likely )?closed)|closed by (remote )?peer|broken pipe"
    r"|remote process exited|ncclRemoteError|socket timeout|peer .*(gone|disconnect)"
    r"|timed out waiting \d+ms for (recv|send) operation|wait timeout after \d+ms"
    r"|client socket has (failed to connect|timed out)",
    re.IGNORECASE,
)
"""What a rank says that only lost another one.

Sources: gloo/transport/tcp/pair.cc ("Connection closed by peer") and unbound_buffer.cc ("Timed out
waiting 8000ms for recv operation"); NCCL's ncclRemoteError ("remote process exited or there was a
network error"); torch's TCPStore and socket.cpp ("Connection was likely closed", "wait timeout
after 300000ms", "The client socket has timed out"); errno's own texts. Read 2026-11-30."""

_OWN_DEATHS = {
    LOST,
    -signal.SIGKILL,
    -signal.SIGSEGV,
    -signal.SIGBUS,
    -signal.SIGILL,
    -signal.SIGFPE,
}
"""Signals that end a rank whatever its peers do; a rank whose peer is gone aborts or exits."""


def _first_cause(
    job: Job, rank: Rank, failure: Failed | Exited, backend: str | None, clock: Clock
) -> End:
    """Wait for how the other ranks end, and return the end that no other rank's end explains.

    How each of the others ended is in its detail.
    """
    if job.ranks == 1:
        return _end_of(job, rank, failure, backend)
    failures = {rank: failure}
    deadline = clock() + SETTLE_SECONDS
    last_deadline = clock() + (NODE_SETTLE_SECONDS if job.has_several_nodes else SETTLE_SECONDS)

    def explains() -> bool:
        """Whether an end is one of a rank's own."""
        return any(
            _dependence(each, _end_of(job, rank, each, backend)) < 2
            for rank, each in failures.items()
        )

    for event in job.events():
        if isinstance(event, Exited) and event.rank not in job.finished:
            failures.setdefault(event.rank, event)
        elif isinstance(event, Line):
            sent = _record_in(event)
            if isinstance(sent, Failed):
                failures.setdefault(event.rank, sent)
            elif sent is not None:
                job.note(event.rank, sent)
        if len(failures.keys() | job.finished) == job.ranks:
            break
        if clock() > deadline and (clock() > last_deadline or explains()):
            break
    ends = {each: _end_of(job, each, failures[each], backend) for each in failures}
    first = min(ends, key=lambda each: _dependence(failures[each], ends[each]))
    detail = "\n".join(filter(None, [ends[first].detail, *_say_others(job, ends, first)]))
    return named(job, first, replace(ends[first], detail=detail or None))


def _record_in(line: Line) -> ChildRecord | None:
    """Return the record of a line; None where it is none."""
    try:
        record: ChildRecord = decode(line.text, CHILD_RECORDS)
    except ProtocolError:
        return None
    return record


def _say_others(job: Job, ends: Mapping[Rank, End], first: Rank) -> Iterator[str]:
    """Say how each other rank failed, or where it was, and its words; those alike are said once."""
    room = OUTPUT_CHARACTERS // job.ranks
    alike: dict[tuple[str, str], list[Rank]] = {}
    for rank in range(job.ranks):
        if rank == first or rank in job.finished:
            continue
        if rank in ends:
            how, words = ends[rank].reason, ends[rank].detail or ""
        else:
            how = f"was still in phase {job.phase(rank)!r} when the job was ended"
            words = job.output_tail(rank)
        alike.setdefault((f"{_at(job, rank)}: {how}", words.strip()[-room:]), []).append(rank)
    for (how, words), ranks in alike.items():
        yield f"{hangs.say_ranks(ranks)}{how}" + (f"\n{words}" if words else "")


def _end_of(job: Job, rank: Rank, failure: Failed | Exited, backend: str | None) -> End:
    if (lost := job.loss(rank)) is not None:
        return outcomes.of_lost_node(job.node_of(rank), lost, job.phase(rank))
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
    return 1 if end.status in ("bug", "died", "device_failure") else 0
