"""Where the time of training steps goes, by torch's profiler: each operator's own, and a trace.

The steps are those of `train`. They are timed without the profiler too, before and after it, so
that its own cost is known.
"""

import contextlib
import gc
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch.profiler import record_function

from trnbench.protocol.orders import ProfileSteps
from trnbench.protocol.parallel import Communication
from trnbench.protocol.records import OperatorTime, Phase, Profiled
from trnbench.train.backends.base import Backend
from trnbench.train.build import make_stream
from trnbench.train.channel import Channel
from trnbench.train.events import (
    MICROSECOND,
    OPERATOR,
    WINDOW,
    activities_of,
    is_collective,
    is_host,
    lane_of,
    level_of,
    without_annotations,
)
from trnbench.train.loop import StepOutcomes, StepTokens, TrainingStep, prepare_tokens, timed_block
from trnbench.train.objective import Trainable
from trnbench.train.parallel.communication import UNKNOWN_COMMUNICATION, communication_in
from trnbench.train.parallel.mesh import Mesh
from trnbench.train.spans import Level, Span, share_out

STEP = "trnbench: step"
_MARKS = (WINDOW, STEP)

_OPTIMIZER = ("Optimizer.", "aten::_foreach_")
"""How torch's marks around an optimizer's step begin (torch.optim.Optimizer, 2.13), and operators
on all weights at once, as clipping uses."""


class Row(NamedTuple):
    """An operator, and whether the optimizer's step called it."""

    name: str
    is_optimizers: bool


def profile_steps(
    task: ProfileSteps, objective: Trainable, backend: Backend, mesh: Mesh, channel: Channel
) -> int:
    """Warm up, time steps, profile as many, time as many again, and send the outcome.

    Under the profiler one more step runs first, which is not counted: the profiler starts in it.
    Of several ranks the first one is profiled and sends; the others run the same steps.

    Returns the steps that were made.
    """
    order = task.order
    step = TrainingStep(objective, order, backend, mesh)
    stream = make_stream(order)

    def tokens(steps: int) -> list[StepTokens]:
        return prepare_tokens(stream, order, step.steps_done, steps, backend, mesh)

    def plain_seconds() -> float:
        prepared = tokens(task.steps)
        return timed_block(step.run, prepared, backend.synchronize, meet=mesh.barrier).seconds

    def marked(given: StepTokens, outcomes: StepOutcomes) -> None:
        with record_function(STEP):
            step.run(given, outcomes)

    for _ in range(task.warmup_steps):
        channel.send(Phase, name="train")  # before each: the first may compile for long
        timed_block(step.run, tokens(1), backend.synchronize)
    backend.forbid_recompiles()
    gc.collect()
    gc.freeze()
    gc.disable()
    before = plain_seconds()
    channel.send(Phase, name="train")
    with _profiler(task, backend, mesh) as profiler:
        timed_block(step.run, tokens(1), backend.synchronize)
        prepared = tokens(task.steps)
        mesh.barrier()
        with record_function(WINDOW):
            profiled = timed_block(marked, prepared, backend.synchronize)
    channel.send(Phase, name="train")
    after = plain_seconds()
    gc.enable()
    channel.send(Phase, name="teardown")
    if profiler is not None:
        _send(task, profiler, (before, profiled.seconds, after), backend, mesh, channel)
    return step.steps_done


def _profiler(
    task: ProfileSteps, backend: Backend, mesh: Mesh
) -> contextlib.AbstractContextManager[Any]:
    """Return torch's profiler; of several ranks, for the first one alone."""
    if mesh.rank != 0:
        return contextlib.nullcontext()
    return torch.profiler.profile(
        activities=activities_of(backend), **backend.profiler_options(task.capture)
    )


def _send(
    task: ProfileSteps,
    profiler: Any,
    seconds: tuple[float, float, float],
    backend: Backend,
    mesh: Mesh,
    channel: Channel,
) -> None:
    """Save the trace and send what is in it; `seconds` are before the profiler, under and after."""
    before, profiled, after = seconds
    events = profiler.events()
    window = next(event.time_range for event in events if event.name == WINDOW)
    save_trace(profiler, task.trace)
    if not mesh.is_alone:
        found = communication_in(events, is_asynchronous=backend.is_asynchronous)
        channel.send(
            Communication, rank=mesh.rank, steps=task.steps, **{**UNKNOWN_COMMUNICATION, **found}
        )
    channel.send(
        Profiled,
        warmup_steps=task.warmup_steps,
        steps=task.steps,
        plain_seconds=[before, after],
        profiled_seconds=profiled,
        window_seconds=(window.end - window.start) * MICROSECOND,
        operators=operator_times(events, window.start, window.end),
    )


def operator_times(events: Iterable[Any], begin: float, end: float) -> list[OperatorTime]:
    """Return each operator's own time in a window; `begin` and `end` are in microseconds."""
    kept = [
        event
        for event in events
        if event.name not in _MARKS and (not event.is_async or is_collective(event.name))
    ]
    host = [event for event in kept if is_host(event)]
    device = without_annotations(kept)
    launchers = {event.id: event for event in host if _linked(event) == 0}
    host_times, host_calls = _gather(host, launchers, begin, end)
    device_times, device_calls = _gather(device, launchers, begin, end)
    return [
        OperatorTime(
            name=row.name,
            within="optimizer" if row.is_optimizers else None,
            calls=host_calls[row] or device_calls[row],
            host_seconds=host_times.get(row, 0.0) * MICROSECOND,
            device_seconds=device_times.get(row, 0.0) * MICROSECOND if device else None,
        )
        for row in sorted({*host_times, *device_times})
    ]


def save_trace(profiler: Any, path: str) -> None:
    """Write the trace as JSON; torch has none where a vendor's exporter has taken it already."""
    try:
        profiler.export_chrome_trace(path)
    except RuntimeError as error:
        if "already saved" not in str(error):
            raise
        profiler.events().export_chrome_trace(path)


def _gather(
    events: list[Any], launchers: Mapping[int | None, Any], begin: float, end: float
) -> tuple[dict[Row, float], Counter[Row]]:
    """Return each row's own time, in microseconds, and its calls in the window."""
    # A mark may span the wait for a collective, and none other than that is known to.
    has_collectives = any(is_collective(event.name) for event in events)
    spans = [
        Span(
            lane_of(event),
            event.time_range.start,
            event.time_range.end,
            _row(event, launchers),
            level_of(event) if has_collectives and is_host(event) else Level.WORK,
        )
        for event in events
    ]
    calls = Counter(span.key for span in spans if begin <= span.begin <= end)
    return share_out(spans, begin, end), calls


def _row(event: Any, launchers: Mapping[int | None, Any]) -> Row:
    """Return the row of an event; a kernel counts for the operator that launched it."""
    if is_host(event):
        return Row(event.name, _is_optimizers(event))
    launcher = launchers.get(_linked(event))
    if launcher is None:
        return Row(event.name, is_optimizers=False)
    name = launcher.name if OPERATOR.fullmatch(launcher.name) else event.name
    return Row(name, _is_optimizers(launcher))


def _linked(event: Any) -> int | None:
    """Return the number of a kernel's launcher, 0 for an operator, None in an older torch."""
    return getattr(event, "linked_correlation_id", None)


def _is_optimizers(event: Any) -> bool:
    while event is not None:
        if event.name.startswith(_OPTIMIZER):
            return True
        event = event.cpu_parent
    return False
