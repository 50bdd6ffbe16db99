"""Where the ranks of a job meet: a port that the parent binds, and each rank's seat.

The parent listens on the port before any rank starts and rank 0 inherits the socket, so that no
other process can take the port in between: two jobs that each looked for a free port and bound it
later have met each other.
"""

import contextlib
import random
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from trnbench.catalog.backends import backend_of
from trnbench.errors import UnavailableError
from trnbench.protocol.orders import Task
from trnbench.protocol.parallel import ALONE, Seat
from trnbench.run.job import Job, Variables
from trnbench.run.worker import start

if TYPE_CHECKING:
    from trnbench.run.nodes import Nodes

LOOPBACK = "127.0.0.1"
"""An address, not a name: the Neuron runtime takes no other."""

FIXED_PORTS = range(20_000, 32_768)
"""Below those that Linux gives out by itself, from which a runtime may take its own."""

_TRIES = 200


class Meeting:
    """The seats of a job's ranks, and the listening socket of rank 0's store, on this machine."""

    def __init__(
        self,
        ranks: int,
        *,
        nodes: int = 1,
        address: str | None = None,
        has_own_ports: bool = False,
    ) -> None:
        """Take a port, if there are several ranks.

        Args:
            ranks: of the job.
            nodes: that they are on, as many on each, in order.
            address: of this machine, by which the others reach it; None on one machine.
            has_own_ports: whether the device's runtime opens ports of its own, beside the store's.

        Raises:
            UnavailableError: no port can be had.
        """
        address = address or LOOPBACK
        self._socket = _listening(address, has_own_ports, ranks) if ranks > 1 else None
        self.seats = [ALONE]
        """In the order of ranks."""
        if self._socket is not None:
            port, descriptor = self._socket.getsockname()[1], self._socket.fileno()
            each = ranks // nodes
            self.seats = [
                Seat(
                    rank=rank,
                    local_rank=rank % each,
                    world_size=ranks,
                    local_world_size=each,
                    node=rank // each,
                    address=address,
                    port=port,
                    store_descriptor=descriptor if rank == 0 else None,
                )
                for rank in range(ranks)
            ]

    @classmethod
    def of(cls, backend: str, ranks: int, nodes: int = 1, address: str | None = None) -> Self:
        """Return the meeting of ranks whose devices are of this kind."""
        has_own_ports = bool(backend_of(backend).launch_variables)
        return cls(ranks, nodes=nodes, address=address, has_own_ports=has_own_ports)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        python: str,
        tasks: Sequence[Task],
        variables: Sequence[Variables],
        others: "Nodes | None" = None,
    ) -> Job:
        """Start the ranks with their tasks, and leave the socket to rank 0.

        `variables` are of this node's ranks; `others` start theirs.

        Raises:
            ConfigError: the interpreter cannot be started.
        """
        held = {} if self._socket is None else {0: self._socket.fileno()}
        own, rest = tasks[: len(variables)], tasks[len(variables) :]
        with contextlib.closing(self):
            remote = others.start_ranks(rest, len(own)) if others is not None and rest else []
            try:
                return start(python, own, variables, held, remote)
            except BaseException:
                for ranks in remote:
                    ranks.end(0.0)
                raise

    def close(self) -> None:
        """Close our copy of the socket."""
        if self._socket is not None:
            self._socket.close()


def bound(seats: Sequence[Seat], processors: Sequence[str | None]) -> list[Seat]:
    """Give each seat the processors near its device; those beyond the end are not known."""
    near = [*processors, *[None] * len(seats)]
    return [replace(seat, processors=near[seat.local_rank]) for seat in seats]


def _listening(address: str, has_own_ports: bool, ranks: int) -> socket.socket:
    """Return a socket that listens at an address of this machine."""
    ports = random.sample(FIXED_PORTS, _TRIES) if has_own_ports else [0]
    refused: OSError | None = None
    for port in ports:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.bind((address, port))
            listening.listen(max(2 * ranks, socket.SOMAXCONN))
        except OSError as error:
            listening.close()
            refused = error
        else:
            return listening
    raise UnavailableError(
        f"the {ranks} ranks have no port on {address} to meet at: {refused}",
        hint="is its interface up (`ip addr`; that of 127.0.0.1 is lo), and are there free ports?",
    )
