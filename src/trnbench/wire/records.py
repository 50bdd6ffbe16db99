"""All that a worker may send, by kind."""

import typing

from trnbench.wire.inspection import Described, Inventory, Probe
from trnbench.wire.peak import PeakPoint
from trnbench.wire.training import (
    Activity,
    Block,
    Built,
    Ceiling,
    Environment,
    Failed,
    Finished,
    Memory,
    Movement,
    Parity,
    Phase,
    Profiled,
)

ChildRecord = (
    Inventory
    | Probe
    | Described
    | PeakPoint
    | Phase
    | Environment
    | Parity
    | Movement
    | Ceiling
    | Built
    | Block
    | Activity
    | Memory
    | Profiled
    | Finished
    | Failed
)

CHILD_RECORDS: tuple[type, ...] = typing.get_args(ChildRecord)
