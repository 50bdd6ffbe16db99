"""Inside an allocation of several machines: which process leads, and what the others do."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from trnbench.run.allocation import Allocation
    from trnbench.run.nodes import Nodes


def enter_allocation(*, is_of_one_node: bool = False) -> "Allocation":
    """Return this process's place among those that a launcher started.

    Args:
        is_of_one_node: whether what follows is done on node 0 alone.

    Raises:
        ConfigError: the launcher's variables contradict each other.
        Exit: with code 0, where another process does the work of this one.
    """
    from trnbench.run.allocation import find_allocation

    place = find_allocation(os.environ)
    if not place.leads_node:
        who, why = f"local rank {place.local_rank}", "local rank 0 works for the whole node"
    elif is_of_one_node and not place.is_first:
        who, why = f"node {place.node_rank} of {place.nodes}", "node 0 does this alone"
    else:
        return place
    sys.stderr.write(f"trnbench: {who} leaves: {why} ({place.engine})\n")
    raise typer.Exit(0)


@contextlib.contextmanager
def joined_nodes(place: "Allocation", python: str) -> "Iterator[Nodes | None]":
    """Lead the other nodes, which leave with this process's exit code; None where there are none.

    Raises:
        Exit: another process leads, and this one has followed it to its end.
    """
    if place.nodes == 1:
        yield None
        return
    if not place.is_first:
        from trnbench.run.node import follow

        raise typer.Exit(follow(place, python))
    from trnbench.run.nodes import Nodes

    with Nodes(place, python) as nodes:
        yield nodes
