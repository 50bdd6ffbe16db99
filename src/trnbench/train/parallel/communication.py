"""One rank's time in collectives, from a few steps under torch's profiler after the timed ones.

It includes the wait for ranks that come later: a collective is under way from this rank's call.
"""

import gc
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.profiler import record_function

from trnbench.protocol.orders import CollectiveTask, WorkOrder
from trnbench.protocol.parallel import ALL_REDUCE_BYTES, AllReduce, Communication
from trnbench.protocol.records import Phase
from trnbench.train.backends.base import Backend
from trnbench.train.channel import Channel
from trnbench.train.data import Stream
from trnbench.train.events import (
    MICROSECOND,
    WINDOW,
    activities_of,
    collective_time_of,
    is_host,
)
from trnbench.train.loop import StepOutcomes, StepTokens, TrainingStep, prepare_tokens
from trnbench.train.microbench import measure_together
from trnbench.train.parallel.mesh import Mesh

UNSEEN = "torch's profiler showed no collective in these steps"
NO_ROOM = "no step under the profiler had room in the budget, or in half a minute"
UNSEEN_DEVICE = "torch's profiler showed no time of the device"

REPEATS, SECONDS_PER_REPEAT = 6, 0.02
"""Of the all-reduce: a quarter of a second in all, or six times as long as one takes."""

UNKNOWN_COMMUNICATION: Mapping[str, Any] = {
    "window_seconds": None, "seconds": None, "exposed_seconds": None, "operations": {},
    "reason": None,
}  # fmt: skip
"""Fields of a `Communication` of which nothing was seen."""


def profile_communication(
    steps: int,
    step: TrainingStep,
    stream: Stream,
    order: WorkOrder,
    backend: Backend,
    mesh: Mesh,
    channel: Channel,
) -> None:
    """Run one step in which the profiler starts and `steps` more, and send what it saw of them.

    Every rank of the job must call it with as many steps.
    """
    reason = backend.unseen_communication or (None if steps else NO_ROOM)
    fields = {**UNKNOWN_COMMUNICATION, "reason": reason, "transports": backend.transports()}
    if reason is None:
        prepared = prepare_tokens(stream, order, step.steps_done, 1 + steps, backend, mesh)
        fields.update(_measure(step, prepared, backend, mesh, channel))
    channel.send(Communication, rank=mesh.rank, steps=steps, **fields)


def time_all_reduce(backend: Backend, mesh: Mesh, channel: Channel) -> None:
    """Time an all-reduce between all ranks, and send it from rank 0; every rank must call it."""
    backend.empty_cache()
    task = CollectiveTask(name="all_reduce", operation="all_reduce", whole_bytes=ALL_REDUCE_BYTES)
    before = network_bytes()
    timed = measure_together(task, backend, mesh.seat.world_size, REPEATS, SECONDS_PER_REPEAT)
    after = network_bytes()
    if mesh.rank == 0:
        channel.send(
            AllReduce,
            ranks=mesh.seat.world_size,
            whole_bytes=ALL_REDUCE_BYTES,
            seconds=timed.seconds,
            network_bytes=None
            if before is None or after is None
            else {kind: after[kind] - before[kind] for kind in before},
        )


def network_bytes(root: Path = Path("/")) -> dict[str, int] | None:
    """Return what this machine's network cards have counted so far; None without one for RDMA.

    Source: Linux, drivers/infiniband/hw/efa/efa_verbs.c (tx_bytes, rx_bytes, and apart from them
    rdma_read_bytes and others, under `hw_counters`); ABI/stable/sysfs-class-infiniband
    (port_xmit_data, port_rcv_data in words of four bytes); ABI/testing/sysfs-class-net-statistics.
    """
    ports = [*root.glob("sys/class/infiniband/*/ports/*")]
    if not ports:
        return None
    words = [file for port in ports for file in port.glob("counters/port_*_data")]
    own = [file for port in ports for file in port.glob("hw_counters/*_bytes")]
    cards = root.glob("sys/class/net/*/statistics/[tr]x_bytes")
    return {
        "rdma": 4 * sum(map(_number, words)) + sum(map(_number, own)),
        "tcp": sum(_number(file) for file in cards if file.parts[-3] != "lo"),
    }


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # some cards refuse some of them
        return 0


def _measure(
    step: TrainingStep,
    prepared: list[StepTokens],
    backend: Backend,
    mesh: Mesh,
    channel: Channel,
) -> dict[str, Any]:
    outcomes = StepOutcomes()
    gc.disable()
    try:
        with torch.profiler.profile(activities=activities_of(backend)) as profiler:
            step.run(prepared[0], outcomes)
            backend.synchronize()
            mesh.barrier()
            channel.send(Phase, name="teardown")  # a sign of life: a step may be long
            with record_function(WINDOW):
                for tokens in prepared[1:]:
                    step.run(tokens, outcomes)
                backend.synchronize()
    finally:
        gc.enable()
    channel.send(Phase, name="teardown")
    return communication_in(profiler.events(), is_asynchronous=backend.is_asynchronous)


def communication_in(events: Iterable[Any], *, is_asynchronous: bool) -> dict[str, Any]:
    """Return what the window's events say, as fields of a `Communication`."""
    events = list(events)
    if is_asynchronous and all(map(is_host, events)):
        return {"reason": UNSEEN_DEVICE}
    window = next(event.time_range for event in events if event.name == WINDOW)
    found = collective_time_of(events)
    if not found.operations:
        return {"reason": UNSEEN}
    return {
        "window_seconds": (window.end - window.start) * MICROSECOND,
        "seconds": found.seconds,
        "exposed_seconds": found.exposed,
        "operations": found.operations,
    }
