"""This node's way to the others by torch's store: a worker that carries lines both ways."""

import os
from collections.abc import Mapping

from trnbench.errors import UnavailableError
from trnbench.process import Child, Guardian
from trnbench.protocol.orders import JoinNodes, encode_task
from trnbench.run.allocation import Allocation
from trnbench.run.environment import WITHOUT_EXTENSIONS
from trnbench.run.rendezvous import resolve
from trnbench.run.worker import ENTRY


def join_task(allocation: Allocation, seconds: float) -> JoinNodes:
    """Return the task of this node's link.

    Raises:
        UnavailableError: the name of node 0 has no IPv4 address within the time.
    """
    address = resolve(allocation, seconds)
    return JoinNodes(
        address=address,
        port=allocation.port or 0,
        node=allocation.node_rank,
        nodes=allocation.nodes,
        is_host=allocation.node_rank == 0 and not allocation.has_store,
        prefix=f"trnbench/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}",
        seconds=seconds,
    )


def start_link(python: str, task: JoinNodes, guardian: Guardian | None = None) -> Child:
    """Start the worker that carries lines to the other nodes.

    Raises:
        UnavailableError: the interpreter cannot be started.
    """
    variables: Mapping[str, str | None] = {**WITHOUT_EXTENSIONS, "OMP_NUM_THREADS": "1"}
    try:
        link = Child(
            [python, str(ENTRY)], variables, lines_option="--records-fd", guardian=guardian
        )
    except OSError as error:
        raise UnavailableError(
            f"{python}: cannot be started: {error.strerror}",
            hint="name a Python interpreter with `--python PATH`",
        ) from error
    link.write(encode_task(task).encode() + b"\n")
    return link
