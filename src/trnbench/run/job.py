"""A job's workers as one: started together, read as they send, ended together.

Reading costs as much as there is to read, whatever the number of ranks: 64 ranks send a block each
between two timed ones.
"""

import contextlib
import operator
import selectors
import signal
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from trnbench.errors import ConfigError
from trnbench.process import Child, Guardian, LineTooLongError
from trnbench.protocol.codec import encode
from trnbench.protocol.orders import Command, Finish, Task, encode_task
from trnbench.protocol.parallel import Seated
from trnbench.protocol.records import Block, ChildRecord, Finished, Phase
from trnbench.run.watch import descendants_cpu_seconds, process_state

if TYPE_CHECKING:
    from trnbench.run.remote import RemoteRanks, RemoteWorker

TICK_SECONDS = 0.2
"""A job yields an event at least this often, and looks for workers that are gone."""

SOON_SECONDS = 0.01
"""A worker that closed its pipes is about to exit."""

STACK_SECONDS = 3.0
"""How long the workers have to write their stacks: each takes milliseconds, on a free processor."""

STACK_SIGNAL = signal.SIGUSR1
"""At which a worker writes the Python stack of each of its threads to standard error."""

Rank = int

LOST = -65_536
"""Instead of an exit code, of ranks whose node is lost; no signal has this number."""

Variables = Mapping[str, str | None]
"""Of a worker, on top of the parent's own; None takes one away."""


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
        self,
        commands: Sequence[Sequence[str]],
        variables: Sequence[Variables] = (),
        descriptors: Mapping[Rank, int] | None = None,
        *,
        remote: "Sequence[RemoteRanks]" = (),
        wake: Sequence[int] = (),
    ) -> None:
        """Start a worker for each command.

        Args:
            commands: in the order of ranks; the option for the record pipe is added here.
            variables: of each rank's environment.
            descriptors: of this process, which a rank inherits under the same number.
            remote: ranks that were started on other nodes, in order after those of this one.
            wake: descriptors of the caller's, on which `events` waits too.

        Raises:
            ConfigError: an interpreter cannot be started; no worker is left.
        """
        self._local: list[Child] = []
        self._remote = list(remote)
        self._phases = ["start"] * (len(commands) + sum(len(each.workers) for each in remote))
        self._progress: Counter[Rank] = Counter()
        self._nodes: dict[Rank, int] = {}
        self.finished: set[Rank] = set()
        """Ranks that have done their task."""
        self._pending: deque[Event] = deque()
        self._selector = selectors.DefaultSelector()
        self._guardian: Guardian | None = None
        try:
            self._guardian = Guardian() if commands else None
            for rank, command in enumerate(commands):
                inherited = (descriptors or {}).get(rank)
                self._local.append(
                    Child(
                        command,
                        variables[rank] if variables else {},
                        lines_option="--records-fd",
                        descriptors=() if inherited is None else (inherited,),
                        guardian=self._guardian,
                    )
                )
        except OSError as error:
            self.end(0.0)
            raise ConfigError(
                f"{command[0]}: cannot be started: {error.strerror}",
                hint="name a Python interpreter with `--python PATH`",
            ) from error
        self._workers: list[Child | RemoteWorker] = [
            *self._local,
            *(worker for each in remote for worker in each.workers),
        ]
        self._running = set(range(self.ranks))
        self._shared: list[int] = []
        """Descriptors of the nodes' connections, each of many ranks."""
        self._watch(wake)
        self._look_at = time.monotonic() + TICK_SECONDS

    def _watch(self, wake: Sequence[int]) -> None:
        """Begin to wait for what the workers send."""
        self._watched: list[list[int]] = [list(worker.descriptors) for worker in self._workers]
        for rank, open_ones in enumerate(self._watched):
            for descriptor in open_ones:
                self._selector.register(descriptor, selectors.EVENT_READ, rank)
        self._watch_nodes()
        for descriptor in wake:
            self._selector.register(descriptor, selectors.EVENT_READ, None)

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
        """Of its workers on this node, in the order of ranks."""
        return [worker.pid for worker in self._local]

    def where(self, ranks: Iterable[Rank]) -> str:
        """Say on which nodes ranks are, after a space; nothing where there is one."""
        if not self._remote:
            return ""
        nodes = sorted({self.node_of(rank) for rank in ranks})
        said = ", ".join(map(str, nodes[:4])) + (" and more" if len(nodes) > 4 else "")
        return f" on node{'s' if len(nodes) > 1 else ''} {said}"

    @property
    def has_several_nodes(self) -> bool:
        """Whether some of its ranks are on other nodes."""
        return bool(self._remote)

    def node_of(self, rank: Rank) -> int:
        """Return the node that a rank is on."""
        worker = self._workers[rank]
        return 0 if isinstance(worker, Child) else worker.ranks.node

    def loss(self, rank: Rank) -> str | None:
        """Return why the node of a rank is lost; None where it is not."""
        worker = self._workers[rank]
        return None if isinstance(worker, Child) else worker.lost

    def phase(self, rank: Rank = 0) -> str:
        """Return what a worker is doing, as far as its records say."""
        return self._phases[rank]

    def node(self, rank: Rank) -> int | None:
        """Return the machine that a worker is on; None where all are on one, or it is not known."""
        if self._remote:
            return self.node_of(rank)
        return self._nodes.get(rank) if len(set(self._nodes.values())) > 1 else None

    def progress(self, rank: Rank) -> int:
        """Return how many phases and blocks a worker has sent."""
        return self._progress[rank]

    def output_tail(self, rank: Rank = 0) -> str:
        """Return the end of what a worker and its libraries printed."""
        return self._workers[rank].output_tail()

    def give(self, rank: Rank, task: Task) -> None:
        """Send a worker of this node its task."""
        self._local[rank].write(encode_task(task).encode() + b"\n")

    def send(self, command: Command) -> None:
        """Send all workers a command; `events` shows whether one is gone."""
        if isinstance(command, Finish):
            self._phases = ["end"] * self.ranks
        self.pass_on(encode(command).encode() + b"\n")

    def pass_on(self, line: bytes) -> None:
        """Send all workers a line, those of other nodes first: it takes longer."""
        for ranks in self._remote:
            ranks.send(line)
        for worker in self._local:
            worker.write(line)

    def note(self, rank: Rank, record: ChildRecord) -> None:
        """Keep what a record says of its worker's progress."""
        self._progress[rank] += isinstance(record, Phase | Block)
        if isinstance(record, Phase):
            self._phases[rank] = record.name
        elif isinstance(record, Block):
            self._phases[rank] = "measure" if record.purpose == "measure" else "warm up"
        elif isinstance(record, Seated):
            self._nodes[rank] = record.node
        elif isinstance(record, Finished):
            self.finished.add(rank)

    @property
    def has_more(self) -> bool:
        """Whether more has happened than `events` has yielded."""
        return bool(self._pending)

    # --- what happens ---------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Yield what happens, at least every `TICK_SECONDS`, until every worker is gone."""
        while self._pending or self._running:
            if not self._pending:
                self._wait()
            yield self._pending.popleft()

    def _wait(self) -> None:
        """Wait for a moment, and queue what happened."""
        pause = max(self._look_at - time.monotonic(), 0.0)
        ready = self._selector.select(pause)
        ranks: set[Rank] = {key.data for key, _ in ready if key.data is not None}
        if self._remote:
            ranks |= self._hear_nodes()
        now = time.monotonic()
        if now < self._look_at:
            for rank in sorted(ranks):
                self._read(rank)
        else:  # not every exit shows on a pipe: a child of the worker may hold its end open
            self._look_at = now + TICK_SECONDS
            for rank in sorted(self._running):
                self._look(rank)
        if not self._pending:
            self._pending.append(Silence())

    def _hear_nodes(self) -> set[Rank]:
        """Take in what came from other nodes; return the ranks that it is of."""
        touched = self._remote[0].nodes.pump()
        self._watch_nodes()
        first, ranks = len(self._local), set()
        for each in self._remote:
            ranks |= {first + rank for node, rank in touched if node == each.node}
            first += len(each.workers)
        if any(self._workers[rank].exit_code is not None for rank in ranks):
            self._look_at = time.monotonic()
        return ranks

    def _watch_nodes(self) -> None:
        """Wait for what the other nodes send, on connections that are open."""
        still_open = self._remote[0].nodes.descriptors if self._remote else []
        for descriptor in [each for each in self._shared if each not in still_open]:
            self._selector.unregister(descriptor)
        for descriptor in [each for each in still_open if each not in self._shared]:
            self._selector.register(descriptor, selectors.EVENT_READ, None)
        self._shared = list(still_open)

    def _look(self, rank: Rank) -> None:
        """Queue what one worker sent, and whether it is gone."""
        exit_code = self._workers[rank].exit_code  # before reading: all that it sent is there then
        if self._read(rank) and exit_code is not None:
            self._running.remove(rank)
            self._unwatch(rank, list(self._watched[rank]))
            self._pending.append(Exited(rank, exit_code))

    def _read(self, rank: Rank) -> bool:
        """Queue what one worker sent; tell whether that was all."""
        worker = self._workers[rank]
        try:
            self._pending.extend(Line(rank, line) for line in worker.read_lines())
        except LineTooLongError:
            self._pending.append(Overflow(rank))
            return False
        worker.read_output()
        still_open = worker.descriptors
        if len(still_open) < len(self._watched[rank]):
            self._unwatch(rank, [each for each in self._watched[rank] if each not in still_open])
        return True

    def _unwatch(self, rank: Rank, closed: Sequence[int]) -> None:
        """Wait no more for what a worker closed."""
        for descriptor in closed:
            self._selector.unregister(descriptor)
            self._watched[rank].remove(descriptor)
        if not self._watched[rank]:
            self._look_at = min(self._look_at, time.monotonic() + SOON_SECONDS)

    # --- a hang ---------------------------------------------------------------------------------

    def stacks(self) -> list[str]:
        """Have every worker write its stacks, and return what each wrote; it may be nothing."""
        for worker in self._local:
            worker.read_output()
        before = [worker.printed_bytes for worker in self._local]
        for worker in self._local:
            worker.signal(STACK_SIGNAL)
        last, deadline = before, time.monotonic() + STACK_SECONDS
        while time.monotonic() < deadline:
            self._wait_for_output(TICK_SECONDS)
            printed = [worker.printed_bytes for worker in self._local]
            if printed == last and all(map(operator.lt, before, printed)):
                break
            last = printed
        written = [
            worker.output_tail(since) for worker, since in zip(self._local, before, strict=True)
        ]
        for ranks in self._remote:
            looked = ranks.look(stacks=True)
            written += looked.stacks if looked else ["" for _ in ranks.workers]
        return written

    def states(self) -> list[str | None]:
        """Return of each worker what its process's state says of a silence; None: nothing."""
        states = [process_state(pid) for pid in self.pids]
        for ranks in self._remote:
            looked = ranks.look()
            states += looked.states if looked else [None for _ in ranks.workers]
        return states

    def work_seconds(self, *pids: int) -> float:
        """Return the processor time of all that the workers, on all nodes, have started."""
        looked = [ranks.look() for ranks in self._remote]
        elsewhere = sum(each.work_seconds for each in looked if each is not None)
        return descendants_cpu_seconds(*pids) + elsewhere

    def _wait_for_output(self, seconds: float) -> None:
        """Read what the workers print within a moment; return as soon as there was any."""
        with selectors.DefaultSelector() as selector:
            for worker in self._local:
                if worker.output_descriptor is not None:
                    selector.register(worker.output_descriptor, selectors.EVENT_READ, worker)
            for key, _ in selector.select(seconds):
                key.data.read_output()

    # --- the end --------------------------------------------------------------------------------

    def end(self, grace_seconds: float = 3.0) -> None:
        """End the workers and everything that they started, within one time of grace for all."""
        for ranks in self._remote:
            ranks.begin_end(grace_seconds)
        for worker in self._local:
            worker.terminate()
        deadline = time.monotonic() + grace_seconds
        with contextlib.closing(self._selector):
            while self._local:
                self._local.pop(0).end(max(deadline - time.monotonic(), 0.0))
        while self._remote:
            self._remote.pop(0).end(max(deadline - time.monotonic(), 0.0))
        if self._guardian is not None:
            self._guardian.close()
            self._guardian = None
