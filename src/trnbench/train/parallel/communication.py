"""One rank's time in collectives, from a few steps under torch's profiler after the timed ones.

It includes the wait for ranks that come later: a collective is under way from this rank's call.
"""

import gc
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.profiler import record_function

from trnbench.protocol.parallel import Communication
from trnbench.protocol.records import Phase
from trnbench.train.backends.base import Backend
from trnbench.train.channel import Channel, first_line
from trnbench.train.events import (
    MICROSECOND,
    WINDOW,
    activities_of,
    collective_time_of,
    is_host,
)
from trnbench.train.loop import StepOutcomes, StepTokens

UNSEEN = "torch's profiler showed no collective in these steps"
UNSEEN_DEVICE = "torch's profiler showed no time of the device"

Run = Callable[[StepTokens, StepOutcomes], None]


def profile_communication(
    run: Run,
    prepare: Callable[[int], list[StepTokens]],
    steps: int,
    backend: Backend,
    channel: Channel,
    rank: int,
) -> None:
    """Run one step in which the profiler starts and `steps` more, and send what it saw of them.

    Every rank of the job must call it with as many steps. A failure is said in the record and ends
    nothing: all that was timed is on disk.
    """
    fields: dict[str, Any] = {
        "window_seconds": None, "seconds": None, "exposed_seconds": None, "operations": {},
        "reason": backend.unseen_communication, "transports": backend.transports(),
    }  # fmt: skip
    if fields["reason"] is None:
        try:
            fields.update(_measure(run, prepare, steps, backend, channel))
        except (RuntimeError, MemoryError) as error:
            fields["reason"] = f"these steps failed: {first_line(error)}"
    channel.send(Communication, rank=rank, steps=steps, **fields)


def _measure(
    run: Run,
    prepare: Callable[[int], list[StepTokens]],
    steps: int,
    backend: Backend,
    channel: Channel,
) -> dict[str, Any]:
    prepared = prepare(1 + steps)
    gc.disable()
    try:
        with torch.profiler.profile(activities=activities_of(backend)) as profiler:
            run(prepared[0], StepOutcomes())
            backend.synchronize()
            with record_function(WINDOW):
                for tokens in prepared[1:]:
                    run(tokens, StepOutcomes())
                backend.synchronize()
    finally:
        gc.enable()
    channel.send(Phase, name="teardown")  # reading many events takes a while
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
