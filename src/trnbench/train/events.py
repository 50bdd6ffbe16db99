"""Events of torch's profiler as spans: their lanes, and which are collectives or work."""

import re
from collections.abc import Hashable, Iterable
from typing import Any

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity

from trnbench.train.backends.base import Backend
from trnbench.train.spans import CollectiveTime, Level, Span, collective_time

WINDOW = "trnbench: profiled steps"
MICROSECOND = 1e-6

OPERATOR = re.compile(r"[a-z_]\w*::\w+")

_COLLECTIVE = re.compile(r"(gloo|nccl|rccl|xccl):|(nccl|rccl)(Dev)?Kernel")
"""Work of a process group, and kernels of NCCL and RCCL, by how their names begin (torch 2.13,
torch/csrc/distributed/c10d; NCCL 2.28)."""

_CALL = re.compile(r"(c10d|_c10d_functional)::")
"""Calls that hand a collective to a process group, with copies of their own, or wait for it."""

_COMPILED = "CompiledFxGraph"
"""In the mark around a graph that Inductor compiled."""


def activities_of(backend: Backend) -> list[ProfilerActivity]:
    """Return what the profiler is to record: the host, and the device where it can."""
    activities = [ProfilerActivity.CPU]
    if backend.profiler_activity is not None:
        activities.append(getattr(ProfilerActivity, backend.profiler_activity))
    return activities


def is_host(event: Any) -> bool:
    """Tell an event of the host from one of a device."""
    return bool(event.device_type == DeviceType.CPU)


def is_collective(name: str) -> bool:
    """Tell whether a process group's work or a kernel of this name is a collective."""
    return _COLLECTIVE.match(name) is not None


def lane_of(event: Any) -> Hashable:
    """Return the thread or the stream of an event.

    A collective of the host is the work of another thread than it began in: it has its own lane.
    """
    if not is_host(event):
        return event.device_index, event.device_resource_id
    return ("collective", event.id) if event.is_async else (0, event.thread)


def level_of(event: Any) -> Level:
    """Return what an event is; on the host, a mark may span a wait for a collective."""
    if is_collective(event.name) or _CALL.match(event.name):
        return Level.COLLECTIVE
    if not is_host(event) or OPERATOR.fullmatch(event.name) or _COMPILED in event.name:
        return Level.WORK
    return Level.MARK


def without_annotations(events: Iterable[Any]) -> list[Any]:
    """Return a device's events without marks that span kernels, where torch tells them apart."""
    return [
        event
        for event in events
        if not is_host(event) and not getattr(event, "is_user_annotation", False)
    ]


def collective_time_of(events: Iterable[Any]) -> CollectiveTime:
    """Return the seconds of collectives in the window: by the device's events where it has any."""
    events = [event for event in events if not event.is_async or is_collective(event.name)]
    window = next(event.time_range for event in events if event.name == WINDOW)
    seen = without_annotations(events) or [event for event in events if event.name != WINDOW]
    spans = [
        Span(
            lane_of(event),
            event.time_range.start,
            event.time_range.end,
            event.name.partition("(")[0],  # of a kernel, without its parameters
            level_of(event),
        )
        for event in seen
    ]
    found = collective_time(spans, window.start, window.end)
    return CollectiveTime(
        found.seconds * MICROSECOND,
        found.exposed * MICROSECOND,
        {
            name: seconds * MICROSECOND
            for name, seconds in found.operations.items()
            if is_collective(name)
        },
    )
