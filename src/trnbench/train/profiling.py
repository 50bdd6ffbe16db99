"""Where the time of training steps goes, by torch's profiler: each operator's own, and a trace.

The steps are those that `train` runs, and they are timed without the profiler as well, so that
what the profiler itself costs can be told.
"""

import gc
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, record_function

from trnbench.train.assemble import make_stream
from trnbench.train.backends.base import Backend
from trnbench.train.channel import Channel
from trnbench.train.loop import (
    StepOutcomes,
    StepTokens,
    Timed,
    TrainingStep,
    prepare_tokens,
    timed_block,
)
from trnbench.train.objective import Trainable
from trnbench.train.spans import Span, share_out
from trnbench.wire import Finished, OperatorTime, Phase, Profiled, ProfileQuestion

WINDOW = "trnbench: profiled steps"
STEP = "trnbench: step"
_MARKS = (WINDOW, STEP)

_OPTIMIZER = ("Optimizer.", "aten::_foreach_")
"""How torch's own marks around an optimizer's step begin (torch.optim.Optimizer, 2.13), and what
works on all weights at once: the clipping, made one by one where the device has no such kernel."""

_OPERATOR = re.compile(r"[a-z_]\w*::\w+")

_MICROSECOND = 1e-6


class Row(NamedTuple):
    """What times are gathered by."""

    name: str
    within: str | None


def profile_steps(
    question: ProfileQuestion, objective: Trainable, backend: Backend, channel: Channel
) -> None:
    """Warm up, time steps, profile as many, and send what came of it.

    One more step than is counted runs under the profiler, before the others: what its start costs
    falls on that one.
    """
    order = question.order
    step = TrainingStep(objective, order, backend)
    stream = make_stream(order)

    def tokens(steps: int) -> list[StepTokens]:
        return prepare_tokens(stream, order, step.steps_done, steps, backend)

    def timed(run: Any = step.run) -> Timed:
        return timed_block(run, tokens(question.steps), backend.synchronize)

    for _ in range(question.warmup_steps):
        channel.send(Phase, name="train")  # a word before each: the first may compile for long
        timed_block(step.run, tokens(1), backend.synchronize)
    backend.forbid_recompiles()
    with _uncollected():
        plain = timed()
        channel.send(Phase, name="train")
        with torch.profiler.profile(
            activities=_activities(backend), **backend.profiler_options(question.capture)
        ) as profiler:
            timed_block(step.run, tokens(1), backend.synchronize)
            prepared = tokens(question.steps)
            with record_function(WINDOW):
                profiled = timed_block(_marked(step), prepared, backend.synchronize)
    channel.send(Phase, name="teardown")
    events = profiler.events()
    window = next(event.time_range for event in events if event.name == WINDOW)
    save_trace(profiler, question.trace)
    channel.send(
        Profiled,
        warmup_steps=question.warmup_steps,
        steps=question.steps,
        plain_seconds=plain.seconds,
        profiled_seconds=profiled.seconds,
        window_seconds=(window.end - window.start) * _MICROSECOND,
        operators=operator_times(events, window.start, window.end),
    )
    channel.send(Finished, steps=step.steps_done)


def operator_times(events: Iterable[Any], begin: float, end: float) -> list[OperatorTime]:
    """Return each operator's own time in a window, by the profiler's events.

    Args:
        events: as torch's profiler gives them, times in microseconds.
        begin: of the window.
        end: of the window.
    """
    kept = [e for e in events if not e.is_async and e.name not in _MARKS]
    host = [event for event in kept if _is_host(event)]
    device = [event for event in kept if not _is_host(event) and not event.is_user_annotation]
    launchers = {event.id: event for event in host if not event.linked_correlation_id}
    rows = {id(event): _row(event, launchers) for event in (*host, *device)}
    own = {
        is_host: share_out(
            (
                Span(_lane(e), e.time_range.start, e.time_range.end, rows[id(e)])
                for e in (host if is_host else device)
            ),
            begin,
            end,
        )
        for is_host in (True, False)
    }
    inside = {
        is_host: Counter(
            rows[id(e)]
            for e in (host if is_host else device)
            if begin <= e.time_range.start <= end
        )
        for is_host in (True, False)
    }
    found = sorted({row for part in own.values() for row in part}, key=str)
    return [
        OperatorTime(
            name=row.name,
            within="optimizer" if row.within else None,
            calls=inside[True][row] or inside[False][row],
            host_seconds=own[True].get(row, 0.0) * _MICROSECOND,
            device_seconds=own[False].get(row, 0.0) * _MICROSECOND if device else None,
        )
        for row in found
    ]


def save_trace(profiler: Any, path: str) -> None:
    """Write the trace as JSON; where a vendor's exporter took torch's own, the events as they are.

    torch gives its trace away once (`Trace is already saved`).
    """
    try:
        profiler.export_chrome_trace(path)
    except RuntimeError as error:
        if "already saved" not in str(error):
            raise
        profiler.events().export_chrome_trace(path)


def _activities(backend: Backend) -> list[ProfilerActivity]:
    own = backend.profiler_activity
    return [ProfilerActivity.CPU, *([getattr(ProfilerActivity, own)] if own else [])]


def _marked(step: TrainingStep) -> Any:
    """Return what runs a step under a mark, by which it is found in the trace."""

    def run(tokens: StepTokens, outcomes: StepOutcomes) -> None:
        with record_function(STEP):
            step.run(tokens, outcomes)

    return run


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python's collector out of what is timed, as in a measurement."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _is_host(event: Any) -> bool:
    return bool(event.device_type == torch.autograd.DeviceType.CPU)


def _lane(event: Any) -> tuple[int, int]:
    """Return a thread of the host, or a stream of a device."""
    if _is_host(event):
        return (0, event.thread)
    return (event.device_index, event.device_resource_id)


def _row(event: Any, launchers: dict[int, Any]) -> Row:
    """Return what an event's time is counted for: of a kernel, the operator that launched it."""
    if _is_host(event):
        return Row(event.name, _within(event))
    launcher = launchers.get(event.linked_correlation_id)
    if launcher is None:
        return Row(event.name, None)
    name = launcher.name if _OPERATOR.fullmatch(launcher.name) else event.name
    return Row(name, _within(launcher))


def _within(event: Any) -> str | None:
    """Tell whether an operator was called by the optimizer's step, or by one on all weights."""
    while event is not None:
        if event.name.startswith(_OPTIMIZER):
            return "optimizer"
        event = event.cpu_parent
    return None
