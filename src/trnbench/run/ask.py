"""One question to the training interpreter: a worker that answers with one record and is ended."""

import math
import time
from collections.abc import Mapping
from typing import TypeVar, get_args

from trnbench.redact import scrub
from trnbench.run.outcomes import End
from trnbench.run.watch import Clock
from trnbench.run.worker import converse, start
from trnbench.schema.errors import ConfigError, TrnbenchError, UnavailableError
from trnbench.wire import Described, DescribeModel, FailureReason, Inventory, Probe, Task

PYTHON_HINT = "name an interpreter that has torch with `--python PATH`"

OTHERS_HINT = "importing and building it must come to an end, and leave the process alone"

Answer = TypeVar("Answer", Inventory, Probe, Described)


def ask_worker(
    python: str,
    task: Task,
    kind: type[Answer],
    seconds: float,
    clock: Clock = time.perf_counter,
    variables: Mapping[str, str] | None = None,
) -> Answer:
    """Start a worker for one task and return the record that it answers with.

    Args:
        python: the interpreter.
        task: which it answers with one record.
        kind: the record that answers.
        seconds: after which it hangs.
        clock: of those seconds.
        variables: on top of our own.

    Raises:
        ConfigError: the interpreter cannot be started, or the user's model cannot be trained.
        UnavailableError: it cannot do it, hangs, dies, or is no Python.
    """
    began = clock()

    def look() -> None:
        if clock() - began > seconds:
            raise End("hung", f"no answer within {seconds:.0f} seconds")

    answer: Answer | None = None
    with start(python, [task], [variables or {}]) as job:
        try:
            for _, record in converse(
                job, backend=None, hang=math.inf, hang_hint="", clock=clock, look=look
            ):
                if isinstance(record, kind):
                    answer = record
            if answer is not None:
                return answer
            end = End("died", "it ended without an answer")
        except End as early:
            end = early
        said = scrub(job.last_words().strip()).splitlines()
    raise _error_of(end, python, task, f"; it last said: {said[-1][:200]}" if said else "")


def _error_of(end: End, python: str, task: Task, last: str) -> TrnbenchError:
    if end.status == "bad_model":
        return ConfigError(scrub(end.reason), hint=end.hint or "")
    if end.status in get_args(FailureReason):
        return UnavailableError(scrub(end.reason), hint=end.hint or PYTHON_HINT)
    if isinstance(task, DescribeModel):  # it runs code that is not ours
        how = end.reason if end.status == "hung" else "it ended without an answer"
        return ConfigError(
            f"{how} while the model was imported, built and tried{last}", hint=OTHERS_HINT
        )
    return UnavailableError(
        f"{python}: did not answer as a Python with torch does{last}", hint=PYTHON_HINT
    )
