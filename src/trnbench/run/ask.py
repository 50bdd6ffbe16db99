"""One question to the training interpreter: a worker that answers with one record and is ended."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, get_args

from trnbench.redact import scrub
from trnbench.run.outcomes import End
from trnbench.run.watch import Clock
from trnbench.run.worker import Job, converse, worker_command
from trnbench.schema.errors import ConfigError, TrnbenchError, UnavailableError
from trnbench.wire import Described, FailureReason, Inventory, Probe

PYTHON_HINT = "name an interpreter that has torch with `--python PATH`"

OTHERS_CODE = {"describe": "while the model was imported, built and tried"}
"""Tasks that run code which is not ours, and what it was doing."""
OTHERS_HINT = "importing and building it must come to an end, and leave the process alone"

Answer = TypeVar("Answer", Inventory, Probe, Described)


def ask_worker(
    python: str,
    task: str,
    kind: type[Answer],
    seconds: float,
    clock: Clock = time.perf_counter,
    variables: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Answer:
    """Start a worker for one task and return the record that it answers with.

    Args:
        python: the interpreter.
        task: what it shall do, in the words of `train/entry.py`.
        kind: the record that answers.
        seconds: after which it hangs.
        clock: of those seconds.
        variables: on top of our own.
        file: what the task is about, where it is about something.

    Raises:
        ConfigError: the interpreter cannot be started, or the user's model cannot be trained.
        UnavailableError: it cannot do it, hangs, dies, or is no Python.
    """
    began = clock()

    def look() -> None:
        if clock() - began > seconds:
            raise End("hung", f"no answer within {seconds:.0f} seconds")

    with Job([worker_command(python, task, file)], [variables or {}]) as job:
        try:
            for _, record in converse(
                job, backend=None, hang=math.inf, hang_hint="", clock=clock, look=look
            ):
                if isinstance(record, kind):
                    return record
            end = End("died", "it ended without an answer")
        except End as early:
            end = early
        said = scrub(job.last_words().strip()).splitlines()
    raise _error_of(end, python, task, f"; it last said: {said[-1][:200]}" if said else "")


def _error_of(end: End, python: str, task: str, last: str) -> TrnbenchError:
    if end.status == "bad_model":
        return ConfigError(scrub(end.reason), hint=end.hint or "")
    if end.status in get_args(FailureReason):
        return UnavailableError(scrub(end.reason), hint=end.hint or PYTHON_HINT)
    if task in OTHERS_CODE:
        how = end.reason if end.status == "hung" else "it ended without an answer"
        return ConfigError(f"{how} {OTHERS_CODE[task]}{last}", hint=OTHERS_HINT)
    return UnavailableError(
        f"{python}: did not answer as a Python with torch does{last}", hint=PYTHON_HINT
    )
