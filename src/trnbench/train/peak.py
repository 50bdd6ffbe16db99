"""The child of `trnbench peak`: one task after another, each told as soon as it is timed.

A task that the device cannot do is told with the reason; the others go on.
"""

import gc
from collections.abc import Callable
from typing import Any

from trnbench.train.backends.base import Backend, Claim
from trnbench.train.channel import Channel
from trnbench.train.collectives import Ranks
from trnbench.train.primitives import make_work
from trnbench.train.repeats import repeat
from trnbench.wire import CollectiveTask, Microbench, PeakPoint, PeakTask


def claim_of(question: Microbench) -> Claim:
    """Return what the tasks ask of a device: one claim serves both arithmetics."""
    return Claim(threads=question.threads, index=question.device_index)


def measure_peaks(question: Microbench, backend: Backend, channel: Channel) -> None:
    """Time every task, and send a point of each; of several ranks the first one sends."""
    with Ranks(question, backend) as ranks:
        for task in question.tasks:
            fields = _measure(task, question, backend, ranks)
            if question.rank == 0:
                channel.send(PeakPoint, name=task.name, **fields)
            gc.collect()
            backend.empty_cache()


def _measure(
    task: PeakTask, question: Microbench, backend: Backend, ranks: Ranks
) -> dict[str, Any]:
    try:
        made = repeat(
            _work(task, backend, ranks),
            backend,
            repeats=question.repeats,
            seconds_per_repeat=question.seconds_per_repeat,
            slowest=ranks.slowest,
        )
    except (RuntimeError, MemoryError) as error:
        if question.ranks > 1:
            raise  # the other ranks are waiting for this one
        return {"runs": 0, "seconds": [], "reason": _said(error, backend)}
    return {"runs": made.runs, "seconds": made.seconds}


def _work(task: PeakTask, backend: Backend, ranks: Ranks) -> Callable[[], object]:
    if isinstance(task, CollectiveTask):
        return ranks.work(task)
    return make_work(backend, task)


def _said(error: Exception, backend: Backend) -> str:
    explained = backend.explain(error)
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
    return f"{explained[1]}: {first}" if explained else first
