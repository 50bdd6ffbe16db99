"""Lines between nodes by torch's store: whole, in order, to the node that they are for."""

import io
import os
import socket
import threading

import pytest

from trnbench.protocol.orders import JoinNodes
from trnbench.train.channel import Channel, KnownFailure
from trnbench.train.parallel.link import Link

LONG = b"x" * 20_000


class Patient(Channel):
    """Waits where a worker would end its process: the tests have one for all nodes."""

    def receive_line(self) -> bytes:
        line = self._commands.readline()
        if not line:
            threading.Event().wait()
        return line


class End:
    """A node's link in a thread of this process, and its parent's ends of the pipes."""

    def __init__(self, task: JoinNodes) -> None:
        records, self._records = os.pipe()
        self._commands, commands = os.pipe()
        self.told = os.fdopen(records, "rb")
        self._tell = os.fdopen(commands, "wb")
        pipes = os.fdopen(self._records, "wb"), os.fdopen(self._commands, "rb")
        self.link = Link(task, Patient(*pipes))
        self.link.start()
        threading.Thread(target=self.link.send, daemon=True).start()

    def tell(self, line: bytes) -> None:
        self._tell.write(line + b"\n")
        self._tell.flush()


ENDS: list[End] = []
"""They outlive the tests: a link whose pipe is closed ends its process."""


@pytest.fixture(scope="module")
def ends() -> list[End]:
    """Three nodes; their threads end with this process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tasks = [join(node, port, is_host=node == 0) for node in range(3)]
    ENDS.extend(End(task) for task in tasks)
    return ENDS


def join(node: int, port: int, *, is_host: bool, seconds: float = 60.0) -> JoinNodes:
    return JoinNodes(
        address="127.0.0.1",
        port=port,
        node=node,
        nodes=3,
        is_host=is_host,
        prefix="test",
        seconds=seconds,
    )


def test_lines_come_whole_and_in_order_to_the_node_that_they_are_for(ends: list[End]) -> None:
    leader, first, second = ends
    for number in range(20):
        leader.tell(b"1 for one %d " % number + LONG)
        leader.tell(b"2 for two %d" % number)
    for number in range(20):
        assert first.told.readline() == b"for one %d " % number + LONG + b"\n"
        assert second.told.readline() == b"for two %d\n" % number

    for number in range(20):
        first.tell(b"from one %d" % number)
        second.tell(b"from two %d " % number + LONG)
    heard = [leader.told.readline() for _ in range(40)]
    assert [line for line in heard if b"one" in line] == [
        b"from one %d\n" % number for number in range(20)
    ]
    assert [line for line in heard if b"two" in line] == [
        b"from two %d " % number + LONG + b"\n" for number in range(20)
    ]


def test_a_port_that_nobody_opens_is_said() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        task = join(1, closed.getsockname()[1], is_host=False, seconds=0.5)
        with pytest.raises(KnownFailure, match=r"node 0's port \d+ did not answer within 0.5 s"):
            Link(task, Channel(io.BytesIO(), io.BytesIO()))
