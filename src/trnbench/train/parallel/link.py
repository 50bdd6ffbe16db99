"""Lines between the parents of a job's nodes, by torch's TCPStore.

The worker of node 0 opens the store, unless a launcher's own is there. Every line is a value under
a key that counts up, which its reader deletes. Each thread has a connection of its own: one that
waits holds it.
"""

import contextlib
import datetime
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from trnbench.protocol.codec import encode
from trnbench.protocol.nodes import Lost
from trnbench.protocol.orders import JoinNodes
from trnbench.protocol.records import Failed
from trnbench.train.channel import Channel, KnownFailure, describe_failure, first_line

BEAT_SECONDS = 5.0
"""Between the signs of life that each node leaves in the store."""

SILENT_SECONDS = 60.0
"""Without one, a node is lost: its machine is off, or nothing reaches it."""

PATIENCE = datetime.timedelta(days=30)

UP = "up"


class Link:
    """This node's connections to the store."""

    def __init__(self, task: JoinNodes, channel: Channel) -> None:
        self._task = task
        self._channel = channel
        self._lock = threading.Lock()
        self._writer = self._connect(is_host=task.is_host)
        self._reader = self._connect()
        self._beats = self._connect()

    def start(self) -> None:
        """Begin to receive lines, and to leave and look for signs of life."""
        for work in (self._receive, self._beat):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    def send(self) -> None:
        """Send what the parent writes, until it closes the pipe, which ends this process."""
        counts: dict[str, int] = {}
        while True:
            line = self._channel.receive_line().rstrip(b"\n")
            if self._task.node:
                number = self._writer.add(UP, 1)
                self._writer.set(f"{UP}/{number}", line)
                continue
            node, _, text = line.partition(b" ")
            where = f"down/{node.decode()}"
            counts[where] = counts.get(where, 0) + 1
            self._writer.set(f"{where}/{counts[where]}", text)

    def _receive(self) -> None:
        where = f"down/{self._task.node}" if self._task.node else UP
        number = 0
        while True:
            number += 1
            line = self._reader.get(f"{where}/{number}")
            self._reader.delete_key(f"{where}/{number}")
            with self._lock:
                self._channel.pass_on(line)

    def _beat(self) -> None:
        task, beat = self._task, 0
        watched = [0] if task.node else [*range(1, task.nodes)]
        seen = {node: (b"", time.monotonic()) for node in watched}
        while True:
            beat += 1
            self._beats.set(f"beat/{task.node}", str(beat))
            for node in watched:
                key = f"beat/{node}"
                value = self._beats.get(key) if self._beats.check([key]) else b""
                now = time.monotonic()
                if value != seen[node][0]:
                    seen[node] = value, now
                elif value and now - seen[node][1] > SILENT_SECONDS:
                    self._lose(node)
                    watched.remove(node)
                    break
            time.sleep(BEAT_SECONDS)

    def _lose(self, node: int) -> None:
        reason = f"no sign of life for {SILENT_SECONDS:.0f} s"
        with self._lock:
            self._channel.pass_on(encode(Lost(node=node, reason=reason)).encode())

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do a thread's work; its end ends the process, with a record that says why."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the parent reports it, whatever it is
            with self._lock, contextlib.suppress(OSError):
                self._channel.send(Failed, **describe_failure(error))
            os._exit(1)

    def _connect(self, *, is_host: bool = False) -> Any:
        import torch.distributed as dist  # here: the worker's other tasks need no torch to begin

        task = self._task
        try:
            store = dist.TCPStore(  # type: ignore[attr-defined]
                task.address,
                task.port,
                task.nodes,
                is_master=is_host,
                wait_for_workers=False,
                timeout=datetime.timedelta(seconds=task.seconds),
            )
        except (RuntimeError, OSError) as error:  # torch's own classes are RuntimeErrors
            what = "cannot be opened" if is_host else f"did not answer within {task.seconds:g} s"
            raise KnownFailure(
                f"node 0's port {task.port} {what}: {first_line(error)}", reason="unavailable"
            ) from error
        store.set_timeout(PATIENCE)
        return dist.PrefixStore(task.prefix, store)  # type: ignore[attr-defined]


def carry(task: JoinNodes, channel: Channel) -> None:
    """Join the other nodes' links, and carry lines both ways; it never returns."""
    link = Link(task, channel)
    link.start()
    link.send()
