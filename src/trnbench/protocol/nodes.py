"""What the leader of a job and its other nodes exchange: one JSON object a line.

The leader is the `trnbench run` on node 0; on every other node one process starts that node's ranks
and passes on what they send. Ranks are counted within their node here. `run/nodes.py` is the
leader's side, `run/node.py` the others'.
"""

import typing
from dataclasses import dataclass
from typing import Literal

from trnbench.protocol.records import FoundDevice

# --- the leader's ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRanks:
    """Start a node's ranks of one launch."""

    kind: Literal["start_ranks"] = "start_ranks"
    launch: int
    """Counts up: what still comes of an earlier one is dropped."""
    tasks: list[str]
    """One a rank, as `orders.encode_task` writes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToRanks:
    """Pass a line on to each rank of the node."""

    kind: Literal["to_ranks"] = "to_ranks"
    launch: int
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Say how the node's ranks are; answered by `Looked`."""

    kind: Literal["look"] = "look"
    launch: int
    stacks: bool
    """Whether each is to write its stacks, which takes seconds if one does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRanks:
    """End the node's ranks of a launch; answered by `RanksEnded`."""

    kind: Literal["end_ranks"] = "end_ranks"
    launch: int
    grace_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The job is over; answered by `Gone`."""

    kind: Literal["bye"] = "bye"
    exit_code: int


# --- the other nodes' -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A node is there, and what it has."""

    kind: Literal["hello"] = "hello"
    node: int
    version: str
    """Of trnbench."""
    facts: dict[str, str]
    """What must be alike on all nodes, by its name."""
    devices: list[FoundDevice]
    reason: str | None = None
    """Why it cannot train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankLine:
    """A rank sent a line."""

    kind: Literal["rank_line"] = "rank_line"
    node: int
    launch: int
    rank: int
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOverflow:
    """A rank sent more than a line can hold without ending one."""

    kind: Literal["rank_overflow"] = "rank_overflow"
    node: int
    launch: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankExited:
    """A rank is gone, and all that it sent was passed on."""

    kind: Literal["rank_exited"] = "rank_exited"
    node: int
    launch: int
    rank: int
    exit_code: int
    output: str
    """The end of what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How a node's ranks are, in order."""

    kind: Literal["looked"] = "looked"
    node: int
    launch: int
    outputs: list[str]
    """The end of what each printed."""
    states: list[str | None]
    """Of each process, where that explains a silence."""
    stacks: list[str]
    """What each wrote; empty where none was asked for."""
    work_seconds: float
    """Processor time of all that the ranks have started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksEnded:
    """No process of a launch is left on the node."""

    kind: Literal["ranks_ended"] = "ranks_ended"
    node: int
    launch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled:
    """The node was asked to stop by a signal."""

    kind: Literal["signalled"] = "signalled"
    node: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The node has left the job, and no process of ours is on it."""

    kind: Literal["gone"] = "gone"
    node: int


# --- what carries the lines -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Nothing comes from a node any more."""

    kind: Literal["lost"] = "lost"
    node: int
    reason: str


FromLeader = StartRanks | ToRanks | Look | EndRanks | Bye

FromNode = (
    Hello | RankLine | RankOverflow | RankExited | Looked | RanksEnded | Signalled | Gone | Lost
)

FROM_LEADER: tuple[type, ...] = typing.get_args(FromLeader)
FROM_NODE: tuple[type, ...] = typing.get_args(FromNode)
