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
from typing import Self

from trnbench.catalog.backends import backend_of
from trnbench.errors import UnavailableError
from trnbench.protocol.orders import Task
from trnbench.protocol.parallel import ALONE, Seat
from trnbench.run.job import Job, Variables
from trnbench.run.worker import start

LOOPBACK = "127.0.0.1"
"""An address, not a name: the Neuron runtime takes no other."""

FIXED_PORTS = range(20_000, 32_768)
"""Below those that Linux gives out by itself, from which a runtime may take its own."""

_TRIES = 200


class Meeting:
    """The seats of a job's ranks on this machine, and the listening socket of rank 0's store."""

    def __init__(self, ranks: int, *, has_own_ports: bool = False) -> None:
        """Take a port, if there are several ranks.

        Args:
            ranks: of the job, all on this machine.
            has_own_ports: whether the device's runtime opens ports of its own, beside the store's.

        Raises:
            UnavailableError: no port can be had.
        """
        self._socket = _listening(has_own_ports, ranks) if ranks > 1 else None
        self.seats = [ALONE]
        """In the order of ranks."""
        if self._socket is not None:
            port, descriptor = self._socket.getsockname()[1], self._socket.fileno()
            self.seats = [
                Seat(
                    rank=rank,
                    local_rank=rank,
                    world_size=ranks,
                    local_world_size=ranks,
                    address=LOOPBACK,
                    port=port,
                    store_descriptor=descriptor if rank == 0 else None,
                )
                for rank in range(ranks)
            ]

    @classmethod
    def of(cls, backend: str, ranks: int) -> Self:
        """Return the meeting of ranks whose devices are of this kind."""
        return cls(ranks, has_own_ports=bool(backend_of(backend).launch_variables))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, python: str, tasks: Sequence[Task], variables: Sequence[Variables]) -> Job:
        """Start the ranks with their tasks, and leave the socket to rank 0.

        Raises:
            ConfigError: the interpreter cannot be started.
        """
        held = {} if self._socket is None else {0: self._socket.fileno()}
        with contextlib.closing(self):
            return start(python, tasks, variables, held)

    def close(self) -> None:
        """Close our copy of the socket."""
        if self._socket is not None:
            self._socket.close()


def bound(seats: Sequence[Seat], processors: Sequence[str | None]) -> list[Seat]:
    """Give each seat the processors near its device; those beyond the end are not known."""
    near = [*processors, *[None] * len(seats)]
    return [replace(seat, processors=near[seat.local_rank]) for seat in seats]


def _listening(has_own_ports: bool, ranks: int) -> socket.socket:
    """Return a socket that listens on the loopback interface."""
    ports = random.sample(FIXED_PORTS, _TRIES) if has_own_ports else [0]
    refused: OSError | None = None
    for port in ports:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.bind((LOOPBACK, port))
            listening.listen(max(2 * ranks, socket.SOMAXCONN))
        except OSError as error:
            listening.close()
            refused = error
        else:
            return listening
    raise UnavailableError(
        f"the {ranks} ranks have no port on {LOOPBACK} to meet at: {refused}",
        hint="is the loopback interface up (`ip addr show lo`), and are there free ports?",
    )
