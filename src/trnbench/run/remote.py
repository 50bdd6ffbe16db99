"""Ranks on another node, as `Job` sees them beside those that it started itself."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from trnbench.process import LineTooLongError
from trnbench.protocol.nodes import (
    EndRanks,
    FromLeader,
    Look,
    Looked,
    RankExited,
    RankLine,
    RankOverflow,
    RanksEnded,
    ToRanks,
)
from trnbench.run.job import LOST

LOOK_SECONDS = 6.0
"""How long a node has to say how its ranks are: their stacks take three seconds at most."""

END_SECONDS = 25.0
"""How long a node has to end its ranks, beyond their time of grace: a driver holds a killed one."""


class Sender(Protocol):
    """The way to the other nodes."""

    def send(self, node: int, frame: FromLeader) -> None:
        """Send a node a frame."""
        ...

    def pump(self) -> set[tuple[int, int]]:
        """Take in what came; return the ranks that sent something, as (node, rank of the node)."""
        ...

    def pump_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Take in what comes until something holds, or for so long."""
        ...

    @property
    def descriptors(self) -> list[int]:
        """What to wait on for something from the nodes."""
        ...


class RemoteRanks:
    """The ranks of one launch on another node."""

    def __init__(self, nodes: Sender, node: int, launch: int, count: int) -> None:
        self.nodes = nodes
        self.node = node
        self.launch = launch
        self.workers = [RemoteWorker(self, rank) for rank in range(count)]
        self.is_over = False
        self._looked: deque[Looked] = deque()
        self._is_ending = False
        self._has_ended = False

    def take(self, frame: Any) -> None:
        """Take in what the node sent of this launch."""
        match frame:
            case RankLine():
                self.workers[frame.rank].lines.append(frame.line.encode() + b"\n")
            case RankOverflow():
                self.workers[frame.rank].has_overflown = True
            case RankExited():
                worker = self.workers[frame.rank]
                worker.exit_code, worker.output = frame.exit_code, frame.output
                self.is_over = all(each.exit_code is not None for each in self.workers)
            case Looked():
                self._looked.append(frame)
            case RanksEnded():
                self._has_ended = self.is_over = True

    def lose(self, reason: str) -> None:
        """Take note that the node is lost, and with it its ranks."""
        self.is_over = self._has_ended = True
        for worker in self.workers:
            if worker.exit_code is None:
                worker.exit_code, worker.lost = LOST, reason

    def send(self, line: bytes) -> None:
        """Send each rank of the node a line."""
        text = line.decode().rstrip("\n")
        self.nodes.send(self.node, ToRanks(launch=self.launch, line=text))

    def look(self, *, stacks: bool = False) -> Looked | None:
        """Return how the ranks are; None if the node does not say."""
        if self._has_ended:
            return None
        self._looked.clear()
        self.nodes.send(self.node, Look(launch=self.launch, stacks=stacks))
        self.nodes.pump_until(lambda: bool(self._looked) or self._has_ended, LOOK_SECONDS)
        return self._looked.popleft() if self._looked else None

    def begin_end(self, grace_seconds: float) -> None:
        """Ask the node to end the ranks."""
        if not self._is_ending:
            self._is_ending = True
            frame = EndRanks(launch=self.launch, grace_seconds=grace_seconds)
            self.nodes.send(self.node, frame)

    def end(self, grace_seconds: float) -> None:
        """Wait until no process of the ranks is left."""
        self.begin_end(grace_seconds)
        self.nodes.pump_until(lambda: self._has_ended, grace_seconds + END_SECONDS)


class RemoteWorker:
    """One rank on another node: what `Job` needs of a `Child`."""

    def __init__(self, ranks: RemoteRanks, rank: int) -> None:
        self.ranks = ranks
        self.rank = rank
        self.exit_code: int | None = None
        self.lines: list[bytes] = []
        self.output = ""
        self.has_overflown = False
        self.lost: str | None = None

    @property
    def descriptors(self) -> list[int]:
        """None of its own: `Nodes` has one for all ranks of a node, or of all."""
        return []

    def read_lines(self) -> list[bytes]:
        """Return what came since the last time."""
        if self.has_overflown:
            self.has_overflown = False
            raise LineTooLongError
        lines, self.lines = self.lines, []
        return lines

    def read_output(self) -> None:
        """Do nothing: its node reads what it prints."""

    def output_tail(self, since: int = 0) -> str:
        """Return the end of what it printed."""
        if self.exit_code is None and (looked := self.ranks.look()) is not None:
            return looked.outputs[self.rank]
        return self.output
