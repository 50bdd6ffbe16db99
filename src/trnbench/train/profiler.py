"""Where the time of training steps goes, by torch's profiler: each operator's own, and a trace.

The steps are those of `train`. They are timed without the profiler too, before and after it, so
that its own cost is known.
"""

import gc
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, record_function

from trnbench.protocol.orders import ProfileSteps
from trnbench.protocol.records import Finished, OperatorTime, Phase, Profiled
from trnbench.train.backends.base import Backend
from trnbench.train.build import make_stream
from trnbench.train.channel import Channel
from trnbench.train.loop import StepOutcomes, StepTokens, TrainingStep, prepare_tokens, timed_block
from trnbench.train.objective import Trainable

WINDOW = "trnbench: profiled steps"
STEP = "trnbench: step"
_MARKS = (WINDOW, STEP)

_OPTIMIZER = ("Optimizer.", "aten::_foreach_")
"""How torch's marks around an optimizer's step begin (torch.optim.Optimizer, 2.13), and operators
on all weights at once, as clipping uses."""

_OPERATOR = re.compile(r"[a-z_]\w*::\w+")

_MICROSECOND = 1e-6

Key = TypeVar("Key", bound=Hashable)


class Span(NamedTuple, Generic[Key]):
    """An interval on one lane: a thread, or a stream."""

    lane: Hashable
    begin: float
    end: float
    key: Key


class Row(NamedTuple):
    """An operator, and whether the optimizer's step called it."""

    name: str
    is_optimizers: bool


def profile_steps(
    task: ProfileSteps, objective: Trainable, backend: Backend, channel: Channel
) -> None:
    """Warm up, time steps, profile as many, time as many again, and send the outcome.

    Under the profiler one more step runs first, which is not counted: the profiler starts in it.
    """
    order = task.order
    step = TrainingStep(objective, order, backend)
    stream = make_stream(order)

    def tokens(steps: int) -> list[StepTokens]:
        return prepare_tokens(stream, order, step.steps_done, steps, backend)

    def plain_seconds() -> float:
        return timed_block(step.run, tokens(task.steps), backend.synchronize).seconds

    def marked(given: StepTokens, outcomes: StepOutcomes) -> None:
        with record_function(STEP):
            step.run(given, outcomes)

    for _ in range(task.warmup_steps):
        channel.send(Phase, name="train")  # before each: the first may compile for long
        timed_block(step.run, tokens(1), backend.synchronize)
    backend.forbid_recompiles()
    activities = [ProfilerActivity.CPU]
    if backend.profiler_activity is not None:
        activities.append(getattr(ProfilerActivity, backend.profiler_activity))
    gc.collect()
    gc.freeze()
    gc.disable()
    before = plain_seconds()
    channel.send(Phase, name="train")
    with torch.profiler.profile(
        activities=activities, **backend.profiler_options(task.capture)
    ) as profiler:
        timed_block(step.run, tokens(1), backend.synchronize)
        prepared = tokens(task.steps)
        with record_function(WINDOW):
            profiled = timed_block(marked, prepared, backend.synchronize)
    channel.send(Phase, name="train")
    after = plain_seconds()
    gc.enable()
    channel.send(Phase, name="teardown")
    events = profiler.events()
    window = next(event.time_range for event in events if event.name == WINDOW)
    save_trace(profiler, task.trace)
    channel.send(
        Profiled,
        warmup_steps=task.warmup_steps,
        steps=task.steps,
        plain_seconds=[before, after],
        profiled_seconds=profiled.seconds,
        window_seconds=(window.end - window.start) * _MICROSECOND,
        operators=operator_times(events, window.start, window.end),
    )
    channel.send(Finished, steps=step.steps_done)


def operator_times(events: Iterable[Any], begin: float, end: float) -> list[OperatorTime]:
    """Return each operator's own time in a window; `begin` and `end` are in microseconds."""
    kept = [e for e in events if not e.is_async and e.name not in _MARKS]
    host = [event for event in kept if _is_host(event)]
    device = [
        event  # no mark that spans kernels, where torch distinguishes them
        for event in kept
        if not _is_host(event) and not getattr(event, "is_user_annotation", False)
    ]
    launchers = {event.id: event for event in host if _linked(event) == 0}
    host_times, host_calls = _gather(host, launchers, begin, end)
    device_times, device_calls = _gather(device, launchers, begin, end)
    return [
        OperatorTime(
            name=row.name,
            within="optimizer" if row.is_optimizers else None,
            calls=host_calls[row] or device_calls[row],
            host_seconds=host_times.get(row, 0.0) * _MICROSECOND,
            device_seconds=device_times.get(row, 0.0) * _MICROSECOND if device else None,
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


def _is_host(event: Any) -> bool:
    return bool(event.device_type == DeviceType.CPU)


def _gather(
    events: list[Any], launchers: Mapping[int | None, Any], begin: float, end: float
) -> tuple[dict[Row, float], Counter[Row]]:
    """Return each row's own time, in microseconds, and its calls in the window."""
    spans = []
    for event in events:
        is_host = _is_host(event)
        lane = (0, event.thread) if is_host else (event.device_index, event.device_resource_id)
        time = event.time_range
        spans.append(Span(lane, time.start, time.end, _row(event, launchers)))
    calls = Counter(span.key for span in spans if begin <= span.begin <= end)
    return share_out(spans, begin, end), calls


def _row(event: Any, launchers: Mapping[int | None, Any]) -> Row:
    """Return the row of an event; a kernel counts for the operator that launched it."""
    if _is_host(event):
        return Row(event.name, _is_optimizers(event))
    launcher = launchers.get(_linked(event))
    if launcher is None:
        return Row(event.name, is_optimizers=False)
    name = launcher.name if _OPERATOR.fullmatch(launcher.name) else event.name
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


def share_out(spans: Iterable[Span[Key]], begin: float, end: float) -> dict[Key, float]:
    """Return each key's time in a window.

    Of a lane's spans, which are nested or apart, the one that began last counts. A moment in which
    several lanes have spans is divided evenly between them, so that the sum is never more than the
    window.
    """
    clipped = [
        Span(span.lane, max(span.begin, begin), min(span.end, end), span.key)
        for span in spans
        if min(span.end, end) > max(span.begin, begin)
    ]
    # What ends goes before what begins; of spans that begin together the outer one goes first.
    marks = sorted(
        [(span.begin, 1, -span.end, number) for number, span in enumerate(clipped)]
        + [(span.end, 0, 0.0, number) for number, span in enumerate(clipped)]
    )
    shares: dict[Key, float] = defaultdict(float)
    open_spans: dict[Hashable, list[int]] = {}
    before = begin
    for moment, is_begin, _, number in marks:
        if moment > before and open_spans:
            share = (moment - before) / len(open_spans)
            for numbers in open_spans.values():
                shares[clipped[numbers[-1]].key] += share
        before = moment
        lane = clipped[number].lane
        if is_begin:
            open_spans.setdefault(lane, []).append(number)
            continue
        open_spans[lane].remove(number)
        if not open_spans[lane]:
            del open_spans[lane]
    return dict(shares)
